/** A YAML file -> everything the gateway needs, or every mistake in it. */
import { open } from 'node:fs/promises'
import path from 'node:path'
import type { Application } from '../asgi/protocol.ts'
import { hasCode, reason } from '../runtime/errors.ts'
import { Compiler, type Leaf, type Loaded } from './compile.ts'
import type { Config } from './config.ts'
import { Report, type Diagnostic } from './diagnostics.ts'
import { readDocument } from './document.ts'
import type { Environment } from './environment.ts'
import { ApplicationReader, type NamedReference } from './grammar.ts'
import { handlerModules } from './handler-modules.ts'
import { checkLayerFiles } from './layer.ts'
import { ListenReader, namedIn, type Listening } from './listen.ts'
import { reportMisplaced } from './misplaced.ts'
import { found, type ConfigNode, type MapNode } from './nodes.ts'
import { inside, protocolTypes, type Plan, type Reference } from './plan.ts'
import { References, type UserFactory } from './references.ts'
import type { Registry } from './registry.ts'
import { readSettings, type Settings } from './settings.ts'
import { Source } from './source.ts'
import { reportUnreachable } from './unreachable.ts'
import { readWorkers } from './workers.ts'

const largestFile = 1024 * 1024

export interface LoadOptions extends Registry {
  readonly environment: Environment
  /** Where a relative file is looked for. Default: the process's working folder. */
  readonly folder?: string
}

/** What can be said of a file without loading a single handler. */
export interface ReadResult {
  readonly diagnostics: readonly Diagnostic[]
  /** The routing tree; as much of it as could be read. */
  readonly plan?: Plan
  /** Undefined when there is an error. */
  readonly settings?: Settings & Listening
}

export interface LoadResult {
  /** In the order of the file: errors and warnings. */
  readonly diagnostics: readonly Diagnostic[]
  readonly plan?: Plan
  /** Undefined when there is an error. */
  readonly config?: Config
  /** What the last of a resolution's rules stands for. */
  leafOf(rule: object): Leaf | undefined
}

/** Reads and checks the file, but loads nothing that it names. */
export async function readConfig(file: string, options: LoadOptions): Promise<ReadResult> {
  const { report, plan, settings, listening } = await check(file, options)
  return {
    diagnostics: report.diagnostics,
    ...(plan && { plan }),
    ...(settings && listening && !report.failed && { settings: { ...settings, ...listening } }),
  }
}

/** Reads and checks the file, loads what it names, and puts the application together. Never throws for what is in the file. */
export async function loadConfig(file: string, options: LoadOptions): Promise<LoadResult> {
  const checked = await check(file, options)
  const { report, root, plan, settings, listening, base, references } = checked
  handlerModules.refresh()
  const modules = new References(base)
  const loaded = await loadReferences(report, references, modules)
  const mayPass = (part: Plan) => part.kind !== 'reference' || loaded.applications.get(part)?.resolve !== undefined
  if (plan) reportUnreachable(report, plan, mayPass)
  if (plan) reportMisplaced(report, plan, Object.keys(listening?.listen ?? {}), loaded)
  const none: LoadResult = { diagnostics: report.diagnostics, leafOf: () => undefined, ...(plan && { plan }) }
  if (report.failed || !plan || !settings || !listening) return none
  const compiler = new Compiler(report, loaded)
  const application = compiler.root(plan, Object.keys(listening.listen))
  const node = root?.entries.get('workers')?.value
  const workers = readWorkers(report, settings.workers, node, { plan, application })
  const { diagnostics } = report
  if (report.failed) return { ...none, diagnostics }
  const config: Config = freezeDeep({
    file: fullPath(file, options),
    base,
    data: path.resolve(base, settings.data),
    listen: listening.listen,
    http: listening.http,
    layer: settings.layer,
    workers,
    journal: settings.journal,
    sync: settings.sync,
    admin: settings.admin,
    closeTimeout: settings.closeTimeout,
    drainTimeout: settings.drainTimeout,
    log: settings.log,
    application,
    lifespan: lifespanOf(plan, modules),
    blocking: modules.blocking,
  })
  return { diagnostics, plan, config, leafOf: (rule) => compiler.leafOf(rule) }
}

interface CheckedFile {
  readonly report: Report
  readonly base: string
  readonly references: readonly NamedReference[]
  readonly root?: MapNode
  readonly plan?: Plan
  readonly settings?: Settings
  readonly listening?: Listening
}

async function check(file: string, options: LoadOptions): Promise<CheckedFile> {
  const full = fullPath(file, options)
  const base = path.dirname(full)
  const { report, ready } = await readSource(file, full)
  const root = ready ? readDocument(report, options.environment) : undefined
  if (root?.kind !== 'map') {
    if (root && root.kind !== 'broken') {
      report.error(root.offset, [], `found ${found(root)}, expected a map with listen and application`)
    }
    return { report, base, references: [] }
  }
  const settings = readSettings(report, root)
  const listen = root.entries.get('listen')
  const application = root.entries.get('application')
  const protocols = namedIn(listen?.value, options.definitions)
  const reader = new ApplicationReader(report, options)
  const plan = application && reader.read({ node: inPlace(application), path: ['application'], protocols })
  const cluster = settings?.layer.kind === 'redis' && settings.layer.options.cluster === true
  const listening = listen && new ListenReader(report, options.definitions, base).read(inPlace(listen), plan, cluster)
  const layer = root.entries.get('layer')
  if (settings && layer) checkLayerFiles(report, base, settings.layer, layer.value)
  const { references } = reader
  return {
    report,
    base,
    references,
    root,
    ...(plan && { plan }),
    ...(settings && { settings }),
    ...(listening && { listening }),
  }
}

const fullPath = (file: string, { folder }: LoadOptions): string =>
  path.resolve(...(folder === undefined ? [] : [folder]), file)
const inPlace = ({ value }: { readonly value: ConfigNode }): ConfigNode => value

/** The text of the file; what keeps it from being read is reported at its start. */
async function readSource(file: string, full: string): Promise<{ readonly report: Report; readonly ready: boolean }> {
  const fail = (message: string, text = '', offset = 0) => {
    const report = new Report(new Source(file, text))
    report.error(offset, [], message)
    return { report, ready: false }
  }
  try {
    await using handle = await open(full)
    const bytes = Buffer.alloc(largestFile + 1)
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0)
    if (bytesRead > largestFile) return fail('found a file of more than 1 MiB, expected a smaller one')
    const text = bytes.toString('utf8', 0, bytesRead)
    const valid = Buffer.byteLength(text) === bytesRead && Buffer.from(text).equals(bytes.subarray(0, bytesRead))
    if (!valid)
      return fail('found bytes that are no UTF-8, expected a text file', text, Math.max(text.indexOf('\ufffd'), 0))
    return { report: new Report(new Source(file, text)), ready: true }
  } catch (error) {
    const expected = "expected the gateway's YAML"
    if (hasCode(error, 'ENOENT'))
      return fail(`found no such file, ${expected}: \`npx signalbox init\` writes a first one`)
    if (hasCode(error, 'EISDIR')) return fail(`found a folder, ${expected}`)
    return fail(`found a file that cannot be read: ${reason(error)}`)
  }
}

/** Loads every module that is named, once; each rule that names one that does not load is reported. */
async function loadReferences(
  report: Report,
  named: readonly NamedReference[],
  references: References,
): Promise<Loaded> {
  const applications = new Map<Reference, Application>()
  const factories = new Map<Reference, UserFactory>()
  for (const { reference, makes } of named) {
    const { shown, text, offset, path: place } = reference
    try {
      // One after the other: what a module does while it loads is done in the order of the file.
      if (makes) factories.set(reference, await references.factory(text))
      else {
        applications.set(reference, await references.application(text))
        for (const stray of await references.strays(text)) report.warning(offset, place, `found ${shown}, ${stray}`)
      }
    } catch (error) {
      const hidden = `found ${shown}, which cannot be loaded, expected file.ts#Export or package#Export`
      report.error(offset, place, shown === text ? reason(error) : hidden)
    }
  }
  return { applications, factories }
}

/** Names what the lifespan application is made of, so that two loadings can be compared; empty: there is none. */
function lifespanOf(plan: Plan, modules: References): string {
  const branch = protocolTypes(plan)?.branches.find(({ protocol }) => protocol === 'lifespan')
  const named = (part: Plan): readonly string[] => [
    ...referencesOf(part).map(({ text }) => `${text} of ${modules.moduleOf(text)}`),
    ...inside(part).flatMap(named),
  ]
  return branch ? named(branch.app).join(', ') : ''
}

function referencesOf(part: Plan): readonly Reference[] {
  if (part.kind === 'reference') return [part]
  return part.kind === 'userRouter' || part.kind === 'userMiddleware' ? [part.reference] : []
}

function freezeDeep<T>(value: T): T {
  const plainObject = typeof value === 'object' && value !== null && (Array.isArray(value) || isPlain(value))
  if (!plainObject || Object.isFrozen(value)) return value
  for (const part of Object.values(value)) freezeDeep(part)
  return Object.freeze(value)
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

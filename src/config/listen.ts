/** `listen`: which protocols are served, and their options as their own schemas parse them. */
import { z } from 'zod'
import type { ProtocolDefinition } from '../asgi/definition.ts'
import { once, tlsFiles } from '../runtime/options.ts'
import type { SharedListener } from './config.ts'
import type { Report } from './diagnostics.ts'
import { checkPemPair } from './files.ts'
import { protocolTypeRouterName } from './grammar.ts'
import { found, locate, plain, type ConfigNode, type MapNode } from './nodes.ts'
import { protocolTypes, type Plan } from './plan.ts'
import { withoutNothing } from './settings.ts'
import { didYouMean } from './suggest.ts'
import { oneOf, reportIssues } from './zod-issues.ts'

export interface Listening {
  readonly listen: Readonly<Record<string, unknown>>
  readonly http: SharedListener
}

/** What the protocols without an address of their own share. */
const sharedName = 'http'
const defaultShared: SharedListener = { address: { host: '127.0.0.1', port: 8000 } }

/** The protocols that `listen` names and somebody knows; for the reader of the application. */
export function namedIn(node: ConfigNode | undefined, definitions: readonly ProtocolDefinition[]): readonly string[] {
  const known = definitions.map(({ name }) => name)
  return node?.kind === 'map' ? known.filter((name) => node.entries.has(name)) : []
}

export class ListenReader {
  readonly #report: Report
  readonly #definitions: readonly ProtocolDefinition[]
  readonly #base: string

  constructor(report: Report, definitions: readonly ProtocolDefinition[], base: string) {
    this.#report = report
    this.#definitions = definitions
    this.#base = base
  }

  /** Every entry, and the protocols that only the application names and that need no address of their own. */
  read(node: ConfigNode, plan: Plan | undefined, redisCluster = false): Listening {
    const listen: Record<string, unknown> = {}
    if (node.kind !== 'map' || node.entries.size === 0) {
      if (node.kind !== 'broken') {
        this.#report.error(
          node.offset,
          ['listen'],
          `found ${found(node)}, expected a map of protocols, indented below it: ${oneOf(this.#names)}`,
        )
      }
      return { listen, http: this.#shared(listen) }
    }
    for (const [name, { keyOffset, value }] of node.entries) {
      const definition = this.#definitions.find((known) => known.name === name)
      if (definition) {
        const options = this.#options(definition, value)
        if (options !== undefined) listen[name] = options
      } else {
        const hint = didYouMean(name, this.#names)
        const message = `found ${JSON.stringify(name)}, expected a protocol: ${oneOf(this.#names)}${hint}`
        this.#report.error(keyOffset, ['listen', name], message)
      }
    }
    this.#addRiders(listen, node, plan)
    this.#checkShared(listen, node)
    this.#warnOfIdle(listen, node, plan)
    const http = this.#shared(listen)
    for (const definition of this.#definitions) this.#refuse(definition, listen, { node, http, redisCluster })
    return { listen, http }
  }

  get #names(): readonly string[] {
    return this.#definitions.map(({ name }) => name)
  }

  #options(definition: ProtocolDefinition, written: ConfigNode): unknown {
    const place = ['listen', definition.name]
    if (written.kind === 'broken') return undefined
    // `http:` with nothing behind it takes every default.
    const empty = written.kind === 'scalar' && written.value === null
    const given: ConfigNode = empty ? { kind: 'map', offset: written.offset, entries: new Map() } : written
    const node = withoutNothing(this.#report, given, place)
    const parsed = definition.options.safeParse(plain(node), once)
    if (!parsed.success) {
      reportIssues(this.#report, parsed.error.issues, { node, path: place, schema: definition.options })
      return undefined
    }
    this.#checkFiles(parsed.data, node, place)
    return parsed.data
  }

  #checkFiles(options: unknown, node: ConfigNode, place: readonly string[]): void {
    const { success, data } = z.object({ tls: tlsFiles() }).safeParse(options, once)
    if (!success) return
    checkPemPair(this.#report, this.#base, data.tls, { node, path: place, setting: ['tls'] })
  }

  /** What the application names and `listen` does not: served when it rides on the http listener. */
  #addRiders(listen: Record<string, unknown>, node: MapNode, plan: Plan | undefined): void {
    for (const { protocol, offset, path: place } of (plan && protocolTypes(plan)?.branches) ?? []) {
      const definition = this.#definitions.find(({ name }) => name === protocol)
      if (!definition || node.entries.has(protocol)) continue
      const parsed = definition.options.safeParse({}, once)
      if (parsed.success && ridesAlong(parsed.data) && node.entries.has(sharedName)) listen[protocol] = parsed.data
      else
        this.#report.error(
          offset,
          place,
          `found an application for ${protocol}, expected listen.${protocol}: nothing listens for it`,
        )
    }
  }

  /** What `listen` names and the application does not. The shared address may be there for those that ride on it, or for want of another. */
  #warnOfIdle(listen: Readonly<Record<string, unknown>>, node: MapNode, plan: Plan | undefined): void {
    const branches = plan && protocolTypes(plan)?.branches.map(({ protocol }) => protocol)
    // A branch with a mistake is not among them.
    if (!branches || this.#report.failed) return
    const routed = branches.filter((branch) => branch in listen)
    const isNeeded = routed.length === 0 || routed.some((branch) => ridesAlong(listen[branch]))
    for (const [name, { keyOffset }] of node.entries) {
      if (branches.includes(name) || (name === sharedName && isNeeded)) continue
      const message = `found listen.${name}, and no application for ${name} below ${protocolTypeRouterName}: nothing takes what comes there`
      this.#report.warning(keyOffset, ['listen', name], message)
    }
  }

  #checkShared(listen: Readonly<Record<string, unknown>>, node: MapNode): void {
    if (node.entries.has(sharedName)) return
    for (const [name, options] of Object.entries(listen)) {
      const keyOffset = node.entries.get(name)?.keyOffset
      if (keyOffset === undefined || !ridesAlong(options)) continue
      const message = `found no address for ${name}, expected one, or listen.${sharedName}, whose address it would share`
      this.#report.error(keyOffset, ['listen', name], message)
    }
  }

  #shared(listen: Readonly<Record<string, unknown>>): SharedListener {
    if (isShared(listen[sharedName])) return listen[sharedName]
    const parsed = this.#definitions.find(({ name }) => name === sharedName)?.options.safeParse({}, once)
    return parsed?.success && isShared(parsed.data) ? parsed.data : defaultShared
  }

  #refuse(
    definition: ProtocolDefinition,
    listen: Readonly<Record<string, unknown>>,
    { node, ...shared }: { readonly node: MapNode; readonly http: SharedListener; readonly redisCluster: boolean },
  ): void {
    const { name } = definition
    if (!(name in listen)) return
    for (const refusal of definition.refuse?.(listen[name], shared) ?? []) {
      const path = [name, ...refusal.path]
      // A setting that is left out is pointed at by the nearest that is there.
      const { offset } = locate(node, path, path.length === 1)
      this.#report.error(offset, ['listen', ...path], refusal.message)
    }
  }
}

const isShared = (options: unknown): options is SharedListener =>
  typeof options === 'object' && options !== null && 'address' in options && options.address !== undefined

const ridesAlong = (options: unknown): boolean => typeof options === 'object' && options !== null && !isShared(options)

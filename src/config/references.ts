/** `file.ts#Export` -> the application, router or middleware behind it. Each module is loaded once, until its file changes. */
import { readdir, stat } from 'node:fs/promises'
import { createRequire, registerHooks } from 'node:module'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Application } from '../asgi/protocol.ts'
import { isSyncHandler } from '../runtime/blocking.ts'
import { SignalboxError, hasCode, reason } from '../runtime/errors.ts'
import { lacking, uncalled } from '../runtime/serves.ts'
import { handlerModules } from './handler-modules.ts'
import { loadHint } from './load-hint.ts'
import { didYouMean } from './suggest.ts'
import { oneOf } from './zod-issues.ts'

/** A module that is still busy then is taken for stuck. */
const loadTimeout = 30_000

type Namespace = Readonly<Record<string, unknown>>

/** What a reference names, and where it stands. */
interface Export {
  readonly value: unknown
  readonly url: string
  readonly name: string
}

/** A function of the user's that makes an application: of rules, or of another application. */
export type UserFactory = (...parts: readonly unknown[]) => unknown

export class References {
  readonly #base: string
  readonly #modules = new Map<string, Promise<Namespace>>()
  readonly #loaded = new Map<string, string>()
  readonly #blocking = new Set<string>()

  /** Relative files, and packages, are looked for from this folder. */
  constructor(base: string) {
    this.#base = base
  }

  /** @throws SignalboxError `bad_reference` in words: what was found, what was expected. */
  async application(reference: string): Promise<Application> {
    const { value, url, name } = await this.#export(reference)
    const lack = lacking(value)
    if (lack)
      throw bad(
        `found ${reference}, whose methods are ${lack.found}, expected ${oneOf(lack.expected)}: nothing would handle its events`,
      )
    if (isSyncHandler(value)) {
      // Worker threads are for those who name blocking code.
      const { syncApplication } = await import('../bridge/sync-application.ts')
      this.#blocking.add(url)
      return syncApplication(value, url, name)
    }
    if (typeof value === 'function' && 'asApplication' in value && typeof value.asApplication === 'function') {
      const make = value.asApplication as () => unknown
      const made: unknown = attempt(reference, () => Reflect.apply(make, value, []))
      if (isApplication(made)) return made
      throw bad(`found ${reference}, whose asApplication() gives ${kindOf(made)}, expected an application`)
    }
    if (isApplication(value)) return value
    throw bad(`found ${reference}, which is ${kindOf(value)}, expected a Consumer class or an application function`)
  }

  /** What its class has written for events in other letters than theirs: nothing would ever call it. */
  async strays(reference: string): Promise<readonly string[]> {
    const { written, called } = uncalled((await this.#export(reference)).value)
    return written.flatMap((name) => {
      const hint = didYouMean(name, called)
      return hint === '' ? [] : `whose method ${name} no event calls${hint}`
    })
  }

  /** @throws SignalboxError `bad_reference`. */
  async factory(reference: string): Promise<UserFactory> {
    const { value } = await this.#export(reference)
    if (typeof value === 'function' && !isClass(value)) return value as UserFactory
    throw bad(`found ${reference}, which is ${kindOf(value)}, expected a function that makes an application`)
  }

  /** The module that a reference was found in: its URL, which is another one when the module was loaded again. */
  moduleOf(reference: string): string | undefined {
    return this.#loaded.get(reference)
  }

  /** The modules of the handlers that run on worker threads. */
  get blocking(): readonly string[] {
    return [...this.#blocking]
  }

  async #export(reference: string): Promise<Export> {
    const [file = '', name = ''] = reference.split('#')
    const url = handlerModules.urlOf(await this.#resolve(file))
    const loading = this.#modules.get(url) ?? load(file, url)
    this.#modules.set(url, loading)
    const namespace = await loading
    this.#loaded.set(reference, url)
    if (Object.hasOwn(namespace, name)) return { value: namespace[name], url, name }
    const names = Object.keys(namespace)
    const missing = `found no export ${JSON.stringify(name)} in ${file}`
    if (names.length === 0) throw bad(`${missing}, which exports nothing or only types, expected a class or a function`)
    throw bad(`${missing}, expected one of its exports: ${names.join(', ')}${didYouMean(name, names)}`)
  }

  async #resolve(file: string): Promise<string> {
    if (!/^(?:\.{1,2}(?:[/\\]|$)|file:)/.test(file) && !path.isAbsolute(file)) return this.#resolvePackage(file)
    const full = file.startsWith('file:') ? fileURLToPath(file) : path.resolve(this.#base, file)
    const found = await stat(full).catch(() => undefined)
    if (found?.isFile()) return pathToFileURL(full).href
    if (found) throw bad(`found ${file}, which is no file, expected a .ts or .js file`)
    const siblings = await readdir(path.dirname(full)).catch(() => [])
    const folder = file.slice(0, -path.basename(full).length)
    const hint = didYouMean(
      file,
      siblings.map((sibling) => folder + sibling),
    )
    throw bad(`found ${file}, which does not exist, expected a file relative to the YAML${hint}`)
  }

  #resolvePackage(name: string): string {
    const parentURL = pathToFileURL(path.join(this.#base, 'gateway.yaml')).href
    try {
      return resolveFrom(name, parentURL)
    } catch (error) {
      const why =
        hasCode(error, 'ERR_MODULE_NOT_FOUND') || hasCode(error, 'MODULE_NOT_FOUND')
          ? 'is not installed'
          : reason(error)
      const file = /\.[cm]?[jt]s$/.test(name) ? `; a file begins with ./ as in ./${name}` : ''
      throw bad(`found the package ${name}, which ${why}, expected an installed package or ./file.ts${file}`, error)
    }
  }
}

/** As `import` in a file of that folder would find it. */
function resolveFrom(specifier: string, parentURL: string): string {
  const hooks = register(parentURL)
  if (!hooks) return pathToFileURL(createRequire(parentURL).resolve(specifier)).href
  try {
    return import.meta.resolve(specifier)
  } finally {
    hooks.deregister()
  }
}

/** Undefined in a test runner that has modules of its own, and lets nobody at its resolver. */
function register(parentURL: string): ReturnType<typeof registerHooks> | undefined {
  try {
    return registerHooks({ resolve: (name, context, next) => next(name, { ...context, parentURL }) })
  } catch {
    return undefined
  }
}

async function load(file: string, url: string): Promise<Namespace> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`it was not done after ${loadTimeout / 1000} s`)), loadTimeout)
  try {
    return (await Promise.race([import(url), late.promise])) as Namespace
  } catch (error) {
    handlerModules.failed(url)
    throw bad(
      `found ${file}, which fails to load: ${firstLine(error)}${placeIn(error, url)}, expected it to load${loadHint(error)}`,
      error,
    )
  } finally {
    clearTimeout(timer)
  }
}

/** ` (line 3)`, when the error was thrown in the module itself. */
function placeIn(error: unknown, url: string): string {
  const stack = Error.isError(error) ? (error.stack ?? '') : ''
  for (const name of [url, fileURLToPath(url)]) {
    const after = stack.split(name, 2)[1]
    const line = after === undefined ? undefined : /^(?:\?[^:]*)?:(\d+)/.exec(after)?.[1]
    if (line !== undefined) return ` (line ${line})`
  }
  return ''
}

function attempt<T>(reference: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw bad(`found ${reference}, whose asApplication() throws: ${firstLine(error)}`, error)
  }
}

export function isApplication(value: unknown): value is Application {
  return typeof value === 'function' && !isClass(value)
}

// oxlint-disable-next-line typescript/no-unsafe-function-type -- any function at all is asked for its text
const isClass = (value: Function): boolean => /^class\b/.test(Function.prototype.toString.call(value))

export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'function')
    return isClass(value) ? `the class ${value.name} without asApplication` : 'a function'
  return Array.isArray(value) ? 'a list' : `of type ${typeof value}`
}

const firstLine = (error: unknown): string => reason(error).split('\n', 1)[0] ?? ''
const bad = (message: string, cause?: unknown): SignalboxError =>
  new SignalboxError('bad_reference', message, { cause })

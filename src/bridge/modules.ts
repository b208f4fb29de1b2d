/** Finds what a place names: loads modules once, in whichever thread this is. */
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { SignalboxError, reason } from '../runtime/errors.ts'
import type { Job, Parcel, Place, Target } from './messages.ts'
import { shared } from './shared.ts'

type Namespace = Readonly<Record<string, unknown>>

const require = createRequire(import.meta.url)

export class Modules {
  readonly #loaded = new Map<string, Namespace>()
  readonly #seen = new Map<number, Place>()

  /** Undefined: it is there already. */
  load({ module }: Pick<Place, 'module'>): Promise<void> | undefined {
    if (this.#loaded.has(module)) return undefined
    return this.#import(module)
  }

  /**
   * What the place names. A module that is not there yet is loaded at once, which one that awaits at its top cannot be.
   * @throws SignalboxError `bridge_failed`.
   */
  get(place: Place): unknown {
    const { module, name } = place
    const namespace = this.#loaded.get(module) ?? this.#require(module)
    if (Object.hasOwn(namespace, name)) return namespace[name]
    const names = Object.keys(namespace).join(', ') || 'none'
    const file = fileOf(module)
    throw new SignalboxError(
      'bridge_failed',
      `found no export ${name} in ${file}, expected one of its exports: ${names}`,
    )
  }

  /** The job in a parcel. A place is remembered: the next time its number stands for it. */
  unpack(parcel: Parcel): Job {
    if ('kind' in parcel) return parcel
    const [task, named, args, scope] = parcel
    if (typeof named !== 'number') this.#seen.set(named.id, named)
    const place = typeof named === 'number' ? this.#seen.get(named) : named
    if (place) return { kind: 'call', task, place, args, scope }
    throw new TypeError('a place was called by its number before it was named')
  }

  /** Where a function is, if one of the loaded modules exports it. */
  placeOf(value: unknown): Place | undefined {
    for (const [module, namespace] of this.#loaded) {
      const name = Object.keys(namespace).find((key) => namespace[key] === value)
      if (name !== undefined) return placeOf(module, name)
    }
    return undefined
  }

  async #import(module: string): Promise<void> {
    try {
      this.#loaded.set(module, (await import(module)) as Namespace)
    } catch (error) {
      throw failed(module, error)
    }
  }

  #require(module: string): Namespace {
    try {
      const namespace = require(fileURLToPath(module)) as Namespace
      this.#loaded.set(module, namespace)
      return namespace
    } catch (error) {
      throw failed(module, error)
    }
  }
}

/** `tickets.ts#parse`, for people. */
export function describe({ module, name }: Place): string {
  return `${fileOf(module)}#${name}`
}

/** Names a job in errors. */
export function describeJob(job: Job): string {
  if (job.kind === 'call') return describe(job.place)
  if (job.kind === 'load') return 'loading modules'
  return job.kind === 'event' ? `the handler of ${job.event.type}` : 'the handler'
}

/** What a worker is blocked in, for people. */
export function describeTarget(target: Target): string {
  return target.kind === 'seat' ? `${target.method}()` : `asyncToSync(${describe(target.place)})`
}

const places = shared('places', () => new Map<string, Place>())

/** @throws SignalboxError `bridge_failed` when it is no URL of a file. */
export function placeOf(module: string | URL, name: string): Place {
  const key = `${String(module)}#${name}`
  const known = places.get(key)
  if (known) return known
  const url = String(module)
  if (name === '') throw new SignalboxError('bridge_failed', `found no name for an export of ${url}, expected one`)
  if (!url.startsWith('file:')) {
    const example = "new URL('./thumbnail.ts', import.meta.url)"
    throw new SignalboxError('bridge_failed', `found the module ${url}, expected the URL of a file, such as ${example}`)
  }
  const place = Object.freeze({ id: places.size + 1, module: url, name })
  places.set(key, place)
  return place
}

const fileOf = (module: string): string => path.basename(fileURLToPath(module))

function failed(module: string, error: unknown): SignalboxError {
  const message = `found ${fileOf(module)}, which fails to load in this thread: ${reason(error)}`
  return new SignalboxError('bridge_failed', message, { cause: error })
}

/** Working off a named channel: so many messages at once, tried again later when they fail, given up after the last attempt. */
import type { ConsumeOptions, Work, WorkHandler } from '../asgi/channel-layer.ts'
import type { Event } from '../asgi/protocol.ts'
import type { RetryOptions } from './limits.ts'

/** One message in the hands of a worker. */
export interface Job {
  readonly message: Event
  readonly attempt: number
  /** It was handled. Resolves when that is stored. */
  done(): Promise<void>
  /** Its handler rejected. Resolves when the worker may take the next message, or when it is not to take any. */
  failed(error: unknown, stopped: AbortSignal): Promise<void>
}

/** Resolves when the signal has aborted and every message in hand is settled. */
export async function workOff(
  take: (signal: AbortSignal) => Promise<Job>,
  handler: WorkHandler,
  { signal, concurrency = 1 }: ConsumeOptions,
): Promise<void> {
  const failure = new AbortController()
  const stopped = AbortSignal.any([signal, failure.signal])
  const workOne = async () => {
    while (!stopped.aborted) {
      let job: Job
      try {
        job = await take(stopped)
      } catch (error) {
        if (stopped.aborted) return
        // The layer is closed: none of the others will get anything either.
        failure.abort(error)
        throw error
      }
      await handle(job, handler, { signal, stopped })
    }
  }
  await Promise.all(Array.from({ length: concurrency }, workOne))
}

interface Signals {
  /** The consumer's own. */
  readonly signal: AbortSignal
  /** Also aborted when one of its workers could not go on. */
  readonly stopped: AbortSignal
}

async function handle(job: Job, handler: WorkHandler, { signal, stopped }: Signals): Promise<void> {
  const work: Work = { attempt: job.attempt, signal }
  try {
    await handler(job.message, work)
  } catch (error) {
    await job.failed(error, stopped)
    return
  }
  await job.done()
}

const defaults = { attempts: 5, delay: 1000, maxDelay: 60_000 }

/** More failed messages than this do not wait beside their workers, but hold them. */
const maxWaiting = 100

/** The failed messages of one channel, until they are tried again. */
export class Retries<T> {
  readonly #options: Required<RetryOptions>
  readonly #again: (item: T) => void
  readonly #waiting = new Map<T, NodeJS.Timeout>()
  /** Those who wait for room. */
  readonly #room = new Set<() => void>()

  constructor(options: RetryOptions, again: (item: T) => void) {
    this.#options = { ...defaults, ...options }
    this.#again = again
  }

  get size(): number {
    return this.#waiting.size
  }

  /** Whether the attempt with this number was the last. */
  isLast(attempt: number): boolean {
    return attempt >= this.#options.attempts
  }

  /** Tries the item again when its time has come. Resolves as soon as there is room for another one to wait, or at the signal. */
  async later(item: T, attempt: number, signal: AbortSignal): Promise<void> {
    const delay = Math.min(this.#options.maxDelay, this.#options.delay * 2 ** (attempt - 1))
    const timer = setTimeout(() => this.#due(item), delay)
    this.#waiting.set(item, timer.unref())
    if (this.#waiting.size <= maxWaiting || signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = () => resolve()
    this.#room.add(resolve)
    signal.addEventListener('abort', stop, { once: true })
    await promise
    signal.removeEventListener('abort', stop)
    this.#room.delete(resolve)
  }

  /** Forgets them all, and answers them. */
  clear(): readonly T[] {
    const items = [...this.#waiting.keys()]
    for (const timer of this.#waiting.values()) clearTimeout(timer)
    this.#waiting.clear()
    for (const resolve of this.#room) resolve()
    return items
  }

  #due(item: T): void {
    this.#waiting.delete(item)
    const [resolve] = this.#room
    if (resolve && this.#room.delete(resolve)) resolve()
    this.#again(item)
  }
}

/** The lifespans of a gateway: the one that runs, and after a reload those that older scopes still live by. */
import type { Application, State } from '../asgi/protocol.ts'
import type { InstanceOptions } from '../runtime/instance-options.ts'
import { Lifespan } from './lifespan.ts'

interface LifespansOptions {
  readonly instances: InstanceOptions
  /** The data folder, which every state has. */
  readonly data: string
  /** How long an application may take to start and to end, in milliseconds. */
  readonly startTimeout: number
  readonly closeTimeout: number
  /** Ends the waiting for a start when it aborts. */
  readonly stop: AbortSignal | undefined
}

export class Lifespans {
  readonly #options: LifespansOptions
  readonly #running = new Set<Lifespan>()
  /** What scopes that open now are given. */
  state: State

  constructor(options: LifespansOptions) {
    this.#options = options
    this.state = Object.freeze({ data: options.data })
  }

  /** @throws SignalboxError `lifespan_failed`, or the reason of the signal: then the state is as it was. */
  async start(application: Application): Promise<void> {
    const { instances, data, startTimeout, stop } = this.#options
    stop?.throwIfAborted()
    const own = { ...instances, accounts: undefined, onEnd: () => undefined }
    const lifespan = new Lifespan(application, Object.freeze({ data }), own)
    this.#running.add(lifespan)
    try {
      await unlessStopped(lifespan.startup(startTimeout), stop)
    } catch (error) {
      await this.#end(lifespan)
      throw error
    }
    this.state = Object.freeze(lifespan.state)
  }

  /**
   * Starts that of an application which takes over; those before it shut down when `scopes` says that theirs have ended.
   * @throws SignalboxError `lifespan_failed`: everything is as it was.
   */
  async renew(application: Application, scopes: () => Promise<unknown>): Promise<{ readonly over: Promise<void> }> {
    const before = [...this.#running]
    await this.start(application)
    const end = async () => {
      await scopes()
      for (const lifespan of before.toReversed()) {
        // What started last may need what started before.
        await this.#end(lifespan)
      }
    }
    return { over: end() }
  }

  /** @throws SignalboxError `lifespan_failed`. */
  async end(): Promise<void> {
    for (const lifespan of [...this.#running].toReversed()) {
      // As above.
      await this.#end(lifespan)
    }
  }

  async #end(lifespan: Lifespan): Promise<void> {
    if (this.#running.delete(lifespan)) await lifespan.shutdown(this.#options.closeTimeout)
  }
}

async function unlessStopped<T>(step: Promise<T>, stop: AbortSignal | undefined): Promise<T> {
  if (!stop) return await step
  const { promise: stopped, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(stop.reason)
  stop.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([step, stopped])
  } finally {
    stop.removeEventListener('abort', onAbort)
  }
}

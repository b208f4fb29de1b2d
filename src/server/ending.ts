/** How a gateway comes to its end: what listens drains together, then what that stands on is closed, last opened first. */
import type { Log } from '../asgi/context.ts'
import { reason } from '../runtime/errors.ts'

/** Closes one thing; at the signal, it waits for nothing that is still open there. */
export type Closer = (signal: AbortSignal) => Promise<void>

interface EndingOptions {
  readonly log: Log
  /** Milliseconds until what is open is told to end, and how long that may then take. */
  readonly drainTimeout: number
  readonly closeTimeout: number
  /** How many scopes are open. */
  readonly scopes: () => number
}

export class Ending {
  readonly #options: EndingOptions
  /** Closed first, all at once, so that every protocol stops taking new peers and drains at the same time. */
  readonly #listening: Closer[] = []
  /** Closed after them, last opened first. */
  readonly #beneath: Closer[] = []

  constructor(options: EndingOptions) {
    this.#options = options
  }

  /** What listens, or works on what comes in. */
  listens(closer: Closer): void {
    this.#listening.push(closer)
  }

  /** What the listeners stand on. */
  bears(closer: Closer): void {
    this.#beneath.push(closer)
  }

  /** Resolves with whether everything came to its own end. */
  async come(): Promise<boolean> {
    const signal = AbortSignal.timeout(this.#options.drainTimeout)
    // The first to hear of it: those that are cut are counted before they are.
    const say = () => this.#sayLate()
    signal.addEventListener('abort', say, { once: true })
    // What stands on a host goes first, so that at the deadline its last words are out before the host cuts the sockets.
    const closed = await Promise.all(this.#listening.toReversed().map((close) => this.close(close, signal)))
    const late = signal.aborted
    signal.removeEventListener('abort', say)
    for (const close of this.#beneath.toReversed()) {
      // What was opened last may need what was opened before.
      closed.push(await this.close(close, signal))
    }
    return !late && closed.every(Boolean)
  }

  /** What fails to close keeps nothing else from closing. False: it failed. */
  async close(close: Closer, signal: AbortSignal): Promise<boolean> {
    try {
      await close(signal)
      return true
    } catch (error) {
      this.#options.log.error({ err: error }, `closing: ${reason(error)}`)
      return false
    }
  }

  #sayLate(): void {
    const { log, drainTimeout, closeTimeout, scopes } = this.#options
    const rest = `what is left is told to end, and cut after ${closeTimeout} ms (closeTimeout)`
    log.warn({ scopes: scopes() }, `not over within ${drainTimeout} ms (drainTimeout): ${rest}`)
  }
}

/** When what the main thread has for the worker goes to it: with all that comes until then, as few large batches. */
import { availableParallelism } from 'node:os'
import { atLull } from './lull.ts'

/** Milliseconds for which what comes waits for more at most, when there is no end of it. */
const longest = 2
/** So many calls are enough: while the worker writes them on its own processor, this thread reads what comes next. */
const enough = 48

/**
 * How many calls do not wait for more once the worker has nothing to do; `shared`: other processes of the gateway want processors
 * too. A worker that takes its time from this thread is told seldom and much.
 */
export function enoughCalls(shared: boolean): number {
  return !shared && availableParallelism() > 1 ? enough : Infinity
}

/** Milliseconds for which notes wait for something that they can be written together with. */
const noteDelay = 10

export class Gathering {
  readonly #enough: number
  readonly #send: () => boolean
  /** Somebody waits for what there is. */
  #pressing = false
  #later: NodeJS.Timeout | undefined

  /** `enough`: see `enoughCalls`. `send` sends all that there is, and answers false where it cannot while the worker has the batch before. */
  constructor(enough: number, send: () => boolean) {
    this.#enough = enough
    this.#send = send
  }

  /** There is something that somebody waits for; `calls`: so many, in all. */
  soon(workerIsIdle: boolean, calls = 0): void {
    if (workerIsIdle && calls >= this.#enough) return this.now()
    if (this.#pressing) return
    this.#pressing = true
    if (workerIsIdle) this.#atLull()
  }

  /** There is something that nobody waits for. */
  later(): void {
    // What is gathered by then is not to be cut in two.
    if (!this.#pressing) this.#later ??= setTimeout(() => !this.#pressing && this.now(), noteDelay)
  }

  /** The worker is done with what it had. */
  workerIsIdle(calls: number): void {
    if (!this.#pressing) return
    if (calls >= this.#enough) this.now()
    else this.#atLull()
  }

  now(): void {
    this.stop()
    if (this.#send()) this.#pressing = false
  }

  /** What is to be sent later is not sent by itself. */
  stop(): void {
    clearTimeout(this.#later)
    this.#later = undefined
  }

  #atLull(): void {
    atLull(() => this.now(), longest)
  }
}

/** Something that fails again and again: said once for each reason, and once when it is over. */
import type { Log } from '../asgi/context.ts'
import { reason } from '../runtime/errors.ts'

export class Trouble {
  readonly #log: Log
  readonly #what: string
  #reason: string | undefined

  /** `what` does not go on: "hearing from other processes". */
  constructor(log: Log, what: string) {
    this.#log = log
    this.#what = what
  }

  get lasts(): boolean {
    return this.#reason !== undefined
  }

  failed(error: unknown): void {
    const why = reason(error)
    if (why === this.#reason) return
    this.#reason = why
    this.#log.error({ err: error }, `${this.#what} fails: ${why}`)
  }

  over(): void {
    if (this.#reason === undefined) return
    this.#reason = undefined
    this.#log.info({}, `${this.#what} goes on`)
  }
}

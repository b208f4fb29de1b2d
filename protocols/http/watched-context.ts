/** The context of a scope that says when its channel is opened: from then on messages can come. */
import type { Context } from '../../src/asgi/context.ts'

export class WatchedContext implements Context {
  readonly #context: Context
  readonly #opened: () => void

  constructor(context: Context, opened: () => void) {
    this.#context = context
    this.#opened = opened
  }

  get signal(): Context['signal'] {
    return this.#context.signal
  }

  get layer(): Context['layer'] {
    return this.#context.layer
  }

  get channel(): string {
    const { channel } = this.#context
    this.#opened()
    return channel
  }

  get log(): Context['log'] {
    return this.#context.log
  }

  get timeout(): number | undefined {
    return this.#context.timeout
  }

  routed(route: string): void {
    this.#context.routed?.(route)
  }
}

/** What ends a running gateway, and what must not: signals, and errors that nobody caught. */
import type { Log } from '../asgi/context.ts'
import { reason } from '../runtime/errors.ts'

const ending = ['SIGTERM', 'SIGINT'] as const

/** Listens from its making to its disposal. */
export class EndingSignals implements Disposable {
  readonly #first = Promise.withResolvers<string>()
  readonly #forced = Promise.withResolvers<void>()
  readonly #disposables = new DisposableStack()
  #received = 0

  constructor() {
    for (const name of ending) this.#on(name, () => this.#receive(name))
  }

  /** The name of the first signal that asks for an end. */
  get first(): Promise<string> {
    return this.#first.promise
  }

  /** Resolves at the second one. */
  get forced(): Promise<void> {
    return this.#forced.promise
  }

  /** Runs at each SIGHUP, one after the other. */
  onReload(reload: () => Promise<void>): void {
    let last: Promise<void> = Promise.resolve()
    this.#on('SIGHUP', () => {
      last = last.then(reload)
    })
  }

  /** A handler that forgot a promise must not end everybody else's connections. */
  surviveErrors(log: Log): void {
    this.#on('uncaughtException', (error: unknown) => log.error({ err: error }, `nobody caught: ${reason(error)}`))
    this.#on('unhandledRejection', (error: unknown) => log.error({ err: error }, `nobody caught: ${reason(error)}`))
  }

  [Symbol.dispose](): void {
    this.#disposables.dispose()
  }

  #receive(name: string): void {
    this.#received++
    this.#first.resolve(name)
    if (this.#received > 1) this.#forced.resolve()
  }

  #on(event: string, listener: (argument: unknown) => void): void {
    process.on(event, listener)
    this.#disposables.defer(() => process.off(event, listener))
  }
}

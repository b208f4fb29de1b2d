/** What ends a running gateway, and what must not: signals, and errors that nobody caught. */
import type { Log } from '../asgi/context.ts'
import { reason } from '../runtime/errors.ts'
import type { Primary } from './primary.ts'

const ending = ['SIGTERM', 'SIGINT'] as const

/** Listens from its making to its disposal: to the system, or as one of several processes to the one that started it. */
export class EndingSignals implements Disposable {
  readonly #first = Promise.withResolvers<string>()
  readonly #forced = Promise.withResolvers<void>()
  readonly #disposables = new DisposableStack()
  readonly #stop = new AbortController()
  #received = 0
  #reload: (() => void) | undefined
  #reloadWanted = false

  constructor(primary?: Primary) {
    // A terminal, or whoever ends a service, tells all processes: the others wait for the word of the first.
    for (const name of ending) this.#on(name, () => primary === undefined && this.#receive(name))
    // From the first moment on: nobody's default is to end for it.
    this.#on('SIGHUP', () => primary === undefined && this.#askReload())
    if (!primary) return
    const orders = primary.onOrder((order) => (order.kind === 'close' ? this.#receive(order.why) : this.#askReload()))
    this.#disposables.use(orders)
  }

  /** The name of the first signal that asks for an end. */
  get first(): Promise<string> {
    return this.#first.promise
  }

  /** Aborted at that moment. */
  get stop(): AbortSignal {
    return this.#stop.signal
  }

  /** Resolves at the second one. */
  get forced(): Promise<void> {
    return this.#forced.promise
  }

  /** Called at each SIGHUP from now on, and at once for one that came before. */
  onReload(reload: () => void): void {
    this.#reload = reload
    if (this.#reloadWanted) reload()
  }

  /** A handler that forgot a promise must not end everybody else's connections. */
  surviveErrors(log: Log): void {
    this.#on('uncaughtException', (error: unknown) => log.error({ err: error }, `nobody caught: ${reason(error)}`))
    this.#on('unhandledRejection', (error: unknown) => log.error({ err: error }, `nobody caught: ${reason(error)}`))
  }

  [Symbol.dispose](): void {
    this.#disposables.dispose()
  }

  #askReload(): void {
    if (this.#reload) this.#reload()
    else this.#reloadWanted = true
  }

  #receive(name: string): void {
    this.#received++
    this.#first.resolve(name)
    this.#stop.abort(new Error(`${name} came before it was open`))
    if (this.#received > 1) this.#forced.resolve()
  }

  #on(event: string, listener: (argument: unknown) => void): void {
    process.on(event, listener)
    this.#disposables.defer(() => process.off(event, listener))
  }
}

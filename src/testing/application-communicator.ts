/** Drives an application in process, without a socket: what every protocol's communicator is made of. */
import type { Connection, Delivery, Outcome, Progress, Transport } from '../asgi/adapter.ts'
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { Application, Protocol } from '../asgi/protocol.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { Instance } from '../runtime/instance.ts'
import { defaultMailboxLimits } from '../runtime/instance-options.ts'
import { silentLog } from '../runtime/log.ts'
import { Mailbox } from '../runtime/mailbox.ts'

export interface CommunicatorOptions {
  readonly layer: ChannelLayer
  /** How long a receive waits, in milliseconds. Default 1000. A wait that ends so does not harm the application. */
  readonly timeout?: number
  /** Default 1000 milliseconds. */
  readonly closeTimeout?: number
  readonly log?: Log
}

/** Puts events in, takes events out, and tells how the application ended. */
export class ApplicationCommunicator<P extends Protocol> {
  readonly connection: Connection<P>
  readonly #timeout: number
  readonly #output = new Mailbox<P['send']>()
  #peeked: P['send'] | undefined
  /** What an application that has ended had sent, and nobody has received yet. */
  #left: P['send'][] = []
  readonly #ended = Promise.withResolvers<Outcome>()

  /** `progress` says how far the answer is after each event: what decides between the ends of an application. */
  constructor(
    application: Application<P>,
    scope: P['scope'],
    options: CommunicatorOptions,
    progress: (event: P['send'], before: Progress) => Progress = () => 'finished',
  ) {
    const { layer, timeout = 1000, closeTimeout = 1000, log = silentLog } = options
    this.#timeout = timeout
    let reached: Progress = 'none'
    const transport: Transport<P> = {
      get progress() {
        return reached
      },
      send: (event) => {
        reached = progress(event, reached)
        this.#output.put(event)
      },
      end: (outcome) => {
        this.#left = this.#output.close(
          new SignalboxError('scope_ended', `the application has ended: ${describe(outcome)}`, causeOf(outcome)),
        )
        this.#ended.resolve(outcome)
      },
    }
    this.connection = new Instance(application, scope, transport, {
      layer,
      log,
      closeTimeout,
      limits: defaultMailboxLimits,
    })
  }

  /** Gives the application an event; resolves when it has handled it, rejects when it failed on it. */
  sendInput(event: P['receive'], delivery?: Omit<Delivery, 'handled'>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const handled = (error?: unknown) => (error === undefined ? resolve() : reject(error))
    this.connection.deliver(event, { ...delivery, handled })
    // A caller that only waits for the answer must not be ended by a failure that it sees there.
    promise.catch(() => undefined)
    return promise
  }

  /**
   * The next event that the application sent.
   * @throws SignalboxError `timed_out` after `timeout` milliseconds; the application goes on and nothing is lost.
   * @throws SignalboxError `scope_ended` when it has ended; `cause` is what it raised.
   */
  async receiveOutput(timeout = this.#timeout): Promise<P['send']> {
    const peeked = this.#peeked
    if (peeked) {
      this.#peeked = undefined
      return peeked
    }
    const left = this.#left.shift()
    if (left) return left
    const late = new SignalboxError('timed_out', `the application sent nothing within ${timeout} ms`)
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(late), timeout)
    try {
      return await this.#output.take(controller.signal)
    } finally {
      clearTimeout(timer)
    }
  }

  /** What was sent and not yet received. */
  get pending(): number {
    return this.#output.length + this.#left.length + (this.#peeked ? 1 : 0)
  }

  /** True when the application sends nothing for this long, in milliseconds. What it does send is still there to receive. */
  async receiveNothing(timeout = 50): Promise<boolean> {
    try {
      this.#peeked ??= await this.receiveOutput(timeout)
      return false
    } catch {
      return true
    }
  }

  /** How the application ended, when it has. */
  async wait(): Promise<Outcome> {
    return this.#ended.promise
  }
}

function describe(outcome: Outcome): string {
  return outcome.kind === 'raised' ? `it raised ${String(outcome.error)}` : outcome.kind
}

function causeOf(outcome: Outcome): ErrorOptions {
  return outcome.kind === 'raised' ? { cause: outcome.error } : {}
}

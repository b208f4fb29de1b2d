/** One application call for one scope: its mailbox, its signal, its channel, and the one place that contains its end. */
import type { Connection, Delivery, Handled, Outcome, Transport } from '../asgi/adapter.ts'
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Context, Log } from '../asgi/context.ts'
import type { Application, Event, Protocol } from '../asgi/protocol.ts'
import { SignalboxError, hasCode } from './errors.ts'
import { Mailbox } from './mailbox.ts'
import { routeOf } from './route.ts'

/** What all instances of a gateway share. */
export interface InstanceOptions {
  readonly layer: ChannelLayer
  readonly log: Log
  /** How long an application may go on after its scope ended, in milliseconds. */
  readonly closeTimeout: number
  readonly limits: MailboxLimits
  /** Told once, when the instance has ended. */
  readonly onEnd?: (instance: Instance<Protocol>, outcome: Outcome) => void
}

export interface MailboxLimits {
  /** Events from the peer that may wait before its socket is paused. */
  readonly events: number
  /** Bytes of them. */
  readonly bytes: number
  /** Messages from the channel layer that may wait; more are dropped and counted. */
  readonly messages: number
}

export const defaultMailboxLimits: MailboxLimits = { events: 64, bytes: 1024 * 1024, messages: 100 }

interface Entry {
  readonly event: Event
  readonly delivery: Delivery | undefined
  readonly fromPeer: boolean
}

const nothing = Promise.resolve()
/** One for all scopes: an error is dear to make, and every scope ends with this one. */
const peerGone = new SignalboxError('disconnected', 'the peer is gone')

export class Instance<P extends Protocol> implements Connection<P>, Context {
  readonly scope: P['scope']
  readonly completed: Promise<void>
  ended = false
  readonly #options: InstanceOptions
  readonly #application: Application<P>
  readonly #transport: Transport<P>
  readonly #mailbox = new Mailbox<Entry>()
  readonly #complete: () => void
  #events = 0
  #bytes = 0
  #messages = 0
  #full = false
  #gone = false
  #lastTaken = false
  #handled: Handled | undefined
  #abortReason: Error | undefined
  #controller: AbortController | undefined
  #closeTimer: NodeJS.Timeout | undefined
  #channel: string | undefined
  #log: Log | undefined

  constructor(application: Application<P>, scope: P['scope'], transport: Transport<P>, options: InstanceOptions) {
    this.scope = scope
    this.#transport = transport
    this.#options = options
    this.#application = application
    const { promise, resolve } = Promise.withResolvers<void>()
    this.completed = promise
    this.#complete = resolve
    // A turn later, so that the adapter holds its connection before the application first speaks.
    void nothing.then(() => this.#run())
  }

  deliver(event: P['receive'], delivery?: Delivery): boolean {
    if (this.ended || this.#gone) {
      delivery?.handled?.(overError(this.scope))
      return true
    }
    this.#put(event, delivery)
    if (this.#events >= this.#options.limits.events || this.#bytes >= this.#options.limits.bytes) this.#full = true
    return !this.#full
  }

  disconnect(event?: P['receive']): void {
    if (this.#gone) return
    if (event && !this.ended) this.#put(event, { last: true })
    this.#gone = true
    this.abort(peerGone)
  }

  abort(reason: Error): void {
    if (this.ended || this.#abortReason) return
    this.#abortReason = reason
    this.#controller?.abort(reason)
    this.#closeTimer = setTimeout(() => this.#abandon(), this.#options.closeTimeout)
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#abortReason && !this.#controller.signal.aborted) this.#controller.abort(this.#abortReason)
    return this.#controller.signal
  }

  get layer(): ChannelLayer {
    return this.#options.layer
  }

  get channel(): string {
    this.#channel ??= this.#options.layer.newChannel((message) => this.#deliverMessage(message))
    return this.#channel
  }

  get log(): Log {
    this.#log ??= this.#options.log.child({ scope: this.scope.id, protocol: this.scope.type })
    return this.#log
  }

  readonly #receive = (): Promise<P['receive']> => {
    this.#settle()
    if (this.ended || this.#lastTaken) return Promise.reject(overError(this.scope))
    return this.#mailbox.take().then(this.#taken)
  }

  readonly #taken = ({ event, delivery, fromPeer }: Entry): P['receive'] => {
    if (!fromPeer) {
      this.#messages--
      return event
    }
    this.#events--
    this.#bytes -= delivery?.bytes ?? 0
    if (delivery?.last) this.#lastTaken = true
    if (delivery?.handled) this.#handled = both(this.#handled, delivery.handled)
    const { events, bytes } = this.#options.limits
    if (this.#full && this.#events <= events / 2 && this.#bytes <= bytes / 2) {
      this.#full = false
      this.#transport.resume?.()
    }
    return event
  }

  readonly #send = (event: P['send']): Promise<void> => {
    if (this.#gone || this.ended) return nothing
    try {
      return this.#transport.send(event) ?? nothing
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #put(event: Event, delivery: Delivery | undefined): void {
    this.#events++
    this.#bytes += delivery?.bytes ?? 0
    this.#mailbox.put({ event, delivery, fromPeer: true })
  }

  #deliverMessage(message: Event): boolean {
    if (this.ended || this.#messages >= this.#options.limits.messages) return false
    // Only the peer can say what the peer did: no sender to a group may close every member with `websocket.disconnect`.
    if (message.type.startsWith(`${this.scope.type}.`)) {
      this.log.warn({ type: message.type }, 'a channel layer message with a type of the protocol itself is dropped')
      return false
    }
    this.#messages++
    this.#mailbox.put({ event: message, delivery: undefined, fromPeer: false })
    return true
  }

  /** Contains the application's end, whatever it is: nothing that it throws goes further than here. */
  async #run(): Promise<void> {
    let outcome: Outcome
    try {
      await this.#application(this.scope, this.#receive, this.#send, this)
      outcome = { kind: returned[this.#transport.progress] }
    } catch (error) {
      outcome = { kind: 'raised', error, progress: this.#transport.progress }
    }
    if (this.ended) this.log.warn({ route: this.#route() }, 'an abandoned application has ended after all')
    else this.#end(outcome)
  }

  #abandon(): void {
    if (this.ended) return
    const { id, type } = this.scope
    const route = this.#route()
    this.log.warn(
      { route },
      `the application of ${type} scope ${id}${route && ` (${route})`} did not end within ${this.#options.closeTimeout} ms of its scope: abandoned`,
    )
    this.#end({ kind: 'abandoned' })
  }

  #end(outcome: Outcome): void {
    this.ended = true
    clearTimeout(this.#closeTimer)
    this.#settle(failure(outcome, this.#abortReason))
    if (!this.#mailbox.idle) this.#closeMailbox()
    if (this.#channel !== undefined) this.#closeChannel(this.#channel)
    // An address without a rule is no failure: the adapter gives its protocol's answer, and counts it.
    if (outcome.kind === 'raised' && !hasCode(outcome.error, 'no_route')) this.#logRaised(outcome.error)
    try {
      this.#transport.end(outcome)
    } catch (error) {
      this.log.error({ err: error }, 'the adapter failed to end a scope')
    }
    this.#options.onEnd?.(this as unknown as Instance<Protocol>, outcome) // whoever counts instances is of no protocol
    this.#complete()
  }

  #closeMailbox(): void {
    const unsettled = this.#mailbox.drain().flatMap(({ delivery }) => delivery?.handled ?? [])
    // An error costs as much as all the rest of a small request, and most of these have nobody to tell it to: an application
    // that does not ask for the body of a request leaves it in the mailbox.
    if (unsettled.length === 0 && this.#mailbox.idle) return
    const over = overError(this.scope)
    this.#mailbox.close(over)
    for (const handled of unsettled) handled(over)
  }

  #settle(error?: unknown): void {
    const handled = this.#handled
    if (!handled) return
    this.#handled = undefined
    handled(error)
  }

  #logRaised(error: unknown): void {
    const fields = { err: error, route: this.#route() }
    // What a handler throws because its peer left is no fault of the handler.
    if (this.#abortReason && isAbort(error, this.#abortReason))
      this.log.debug(fields, 'the application was interrupted')
    else this.log.error(fields, 'the application raised')
  }

  #route(): string {
    return routeOf(this.#application, this.scope)
  }

  #closeChannel(channel: string): void {
    this.#options.layer.closeChannel(channel).catch((error: unknown) => {
      this.log.error({ err: error }, 'the channel of an ended scope could not be closed')
    })
  }
}

const returned = { none: 'unanswered', started: 'unfinished', finished: 'finished' } as const

function overError(scope: Protocol['scope']): SignalboxError {
  return new SignalboxError('scope_ended', `${scope.type} scope ${scope.id} is over: there is no further event`)
}

/** What the event in hand is settled with: an application that returned has handled it. */
function failure(outcome: Outcome, abortReason: Error | undefined): unknown {
  if (outcome.kind === 'raised') return outcome.error
  if (outcome.kind === 'abandoned')
    return abortReason ?? new SignalboxError('abandoned', 'the application was abandoned')
  return undefined
}

function isAbort(error: unknown, abortReason: Error): boolean {
  return error === abortReason || (Error.isError(error) && (error.name === 'AbortError' || error.cause === abortReason))
}

/** Two receives that waited at once: both events are handled when the next one is asked for. */
function both(first: Handled | undefined, second: Handled): Handled {
  if (!first) return second
  return (error) => {
    first(error)
    second(error)
  }
}

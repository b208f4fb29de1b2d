/** One application call for one scope: its mailbox, its signal, its channel, and the one place that contains its end. */
import type { Connection, Delivery, Handled, Outcome, Transport } from '../asgi/adapter.ts'
import type { ChannelLayer, Receiver } from '../asgi/channel-layer.ts'
import type { Context, Log } from '../asgi/context.ts'
import type { Application, Event, Protocol, Receive, Send } from '../asgi/protocol.ts'
import { Account } from './account.ts'
import type { Linked } from './chain.ts'
import { both, closeChannel, closeMailbox, failure, ofEvent, overError, ownEnd, peerGone, returned } from './ends.ts'
import { hasCode, isInterruption } from './errors.ts'
import type { InstanceOptions } from './instance-options.ts'
import { Mailbox, type Giver } from './mailbox.ts'
import { Pump, handleSoon, type EventHandler, type Hearer, type Source } from './pump.ts'
import { routeOf } from './route.ts'
import { isPending, nothing, settled } from './settled.ts'

interface Entry {
  readonly event: Event
  readonly delivery: Delivery | undefined
  readonly fromPeer: boolean
}

export class Instance<P extends Protocol>
  implements
    Connection<P>,
    Context,
    Receiver,
    Giver<Entry, P['receive']>,
    Source<P['receive']>,
    Hearer,
    Linked<Instance<Protocol>>
{
  // What every event and every message looks at comes first, and so lies side by side in memory.
  ended = false
  #gone = false
  /** Whether its pump waits for the next event. Known here, so that whoever has one for it need not look at the pump. */
  #idle = false
  /** Whether the application has an event of the peer that it is not done with. */
  #inHand = false
  /** Of the last event, when it was taken. */
  #last: Delivery['last'] = false
  /** Those of the peer, and those of the channel layer, that wait in the mailbox. */
  #events = 0
  #messages = 0
  #pump: Pump<P['receive'], unknown> | undefined
  /** Of the scope. */
  readonly #type: string
  readonly #transport: Transport<P>
  readonly scope: P['scope']
  readonly #options: InstanceOptions
  readonly #application: Application<P>
  readonly #mailbox: Mailbox<Entry, P['receive']>
  readonly #account: Account | undefined
  before: Instance<Protocol> | undefined = undefined
  after: Instance<Protocol> | undefined = undefined
  // Given to the application, until somebody takes the whole instance in its place. Made here: a function that is assigned where it is
  // written V8 makes old, with all that it knows.
  #receive: unknown = () => this.#take()
  #send: unknown = (event: P['send']) => this.send(event)
  /** Made when somebody asks for it: for most scopes nobody does. */
  #completion: PromiseWithResolvers<void> | undefined
  #bytes = 0
  #full = false
  #handled: Handled | undefined
  #abortReason: Error | undefined
  #controller: AbortController | undefined
  #closeTimer: NodeJS.Timeout | undefined
  #channel: string | undefined
  #log: Log | undefined

  /** Whose `receive` this is, asked once; undefined when somebody stands in between, who wants to see every event. */
  static behind<P extends Protocol>(receive: Receive<P>, context: Context): Instance<P> | undefined {
    if (!(#receive in context) || context.#receive !== receive) return undefined
    context.#receive = undefined
    return context as unknown as Instance<P> // it gave this `receive`
  }

  /** Whose `send` this is, asked once; undefined when somebody stands in between, who wants to see what is said. */
  static saying<P extends Protocol>(send: Send<P>, context: Context): Instance<P> | undefined {
    if (!(#send in context) || context.#send !== send) return undefined
    context.#send = undefined
    return context as unknown as Instance<P>
  }

  constructor(application: Application<P>, scope: P['scope'], transport: Transport<P>, options: InstanceOptions) {
    this.scope = scope
    this.#type = scope.type
    this.#transport = transport
    this.#options = options
    this.#application = application
    if (options.accounts) this.#account = new Account(options.accounts, this)
    this.#mailbox = new Mailbox(this)
    // A turn later, so that the adapter holds its connection before the application first speaks.
    void settled.then(() => this.#run())
  }

  get completed(): Promise<void> {
    if (this.ended) return settled
    this.#completion ??= Promise.withResolvers()
    return this.#completion.promise
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
    if (event && !this.ended) this.#put(event, this.#abortReason ? ownEnd : { last: true })
    this.#gone = true
    this.abort(peerGone)
  }

  abort(reason: Error): void {
    if (this.ended || this.#abortReason) return
    this.#abortReason = reason
    this.#controller?.abort(reason)
    // Nothing else will tell whoever waits for messages.
    if (this.#last) {
      this.#mailbox.close(reason)
      if (this.#idle) this.#endPump(reason)
    }
    this.#closeTimer = setTimeout(() => this.#abandon(), this.#options.closeTimeout)
  }

  /** The gateway drains: whoever has handled all that its peer said, and only waits for messages, is told to end. */
  drain(): void {
    if (this.#idle || this.#mailbox.awaited) this.#endWhenDraining()
  }

  /** Whether nothing follows for that reason. */
  #endWhenDraining(): boolean {
    const { drain } = this.#options
    if (!drain?.aborted || this.#last !== 'of the peer') return false
    this.abort(drain.reason)
    return true
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
    this.#channel ??= this.#options.layer.newChannel(this)
    return this.#channel
  }

  get log(): Log {
    if (this.#log) return this.#log
    const { id, type, client } = this.scope
    this.#log = this.#options.log.child({ scope: id, protocol: type, client: client?.[0] })
    return this.#log
  }

  routed(route: string): void {
    if (this.#account) this.#account.rule = route
  }

  /** Calls the handler with each event. */
  handleEach<T>(handler: EventHandler<P['receive'], T>, of: T): Promise<void> {
    const { first } = this.#mailbox
    if (first?.fromPeer && !this.#last && handler.isLast(first.event, of)) return this.#handleLast(handler, of)
    const pump = new Pump(this, handler, of)
    this.#pump = pump
    return pump.over
  }

  /** The only event, which is there already: as a pump would, at less cost. */
  #handleLast<T>(handler: EventHandler<P['receive'], T>, of: T): Promise<void> {
    try {
      const result = handler.handle(this.next() as P['receive'], of) // it is there
      return isPending(result) ? Promise.resolve(result).then(nothing) : settled
    } catch (error) {
      return Promise.reject(error)
    }
  }

  next(): P['receive'] | undefined {
    this.#ask()
    if (this.ended || this.#isOver()) throw this.#whyOver()
    if (this.#events + this.#messages > 0) return this.#mailbox.poll()
    this.#idle = true
    return undefined
  }

  /** Whoever asks for the next event has handled the one before. */
  #ask(): void {
    if (!this.#inHand) return
    this.#inHand = false
    this.#settle()
    this.#account?.asked()
  }

  #take(): Promise<P['receive']> {
    this.#ask()
    if (this.ended || this.#isOver()) return Promise.reject(this.#whyOver())
    return this.#mailbox.take()
  }

  /** After the last event of a peer that is still there come messages, for whoever has a channel. */
  #isOver(): boolean {
    if (!this.#last) return false
    if (this.#last === true || this.#channel === undefined || this.#abortReason !== undefined) return true
    return this.#endWhenDraining()
  }

  /** Whoever only waited for messages is told what whoever waits for one already is told. */
  #whyOver(): Error {
    const interrupted = !this.ended && this.#last === 'of the peer' ? this.#abortReason : undefined
    return interrupted ?? overError(this.scope)
  }

  /** The mailbox gives an entry to the application. */
  give({ event, delivery, fromPeer }: Entry): P['receive'] {
    if (!fromPeer) {
      this.#messages--
      return event
    }
    this.#events--
    this.#inHand = true
    this.#bytes -= delivery?.bytes ?? 0
    if (delivery !== ownEnd) this.#account?.taken(event.type)
    if (delivery?.last) this.#last = delivery.last
    if (delivery?.handled) this.#handled = both(this.#handled, delivery.handled)
    const { events, bytes } = this.#options.limits
    if (this.#full && this.#events <= events / 2 && this.#bytes <= bytes / 2) {
      this.#full = false
      this.#transport.resume?.()
    }
    return event
  }

  /** Says something to the peer; see `Send` of the contract. */
  send(event: P['send']): Promise<void> {
    if (this.#gone || this.ended) return settled
    try {
      return this.#transport.send(event) ?? settled
    } catch (error) {
      return Promise.reject(ofEvent(event, this.scope, error))
    }
  }

  /** See `touchNext`. Whoever is no instance is left out. */
  static touch(all: readonly unknown[]): number {
    const transports: Transport[] = []
    for (const one of all) if (one instanceof Instance) transports.push(one.#transport)
    return transports[0]?.touch?.(transports) ?? 0
  }

  #put(event: Event, delivery: Delivery | undefined): void {
    this.#events++
    if (delivery !== ownEnd) this.#account?.received(event.type)
    this.#bytes += delivery?.bytes ?? 0
    const entry = { event, delivery, fromPeer: true }
    if (this.#idle) this.#push(this.give(entry))
    else this.#mailbox.put(entry)
  }

  /** A message of its channel: answers false when there is no room. */
  deliverMessage(message: Event, capacity: number): boolean {
    if (this.ended) return false
    // Only the peer can say what the peer did: no sender to a group may close every member with `websocket.disconnect`.
    const type = this.#type
    if (message.type[type.length] === '.' && message.type.startsWith(type)) {
      this.log.warn({ type: message.type }, 'a channel layer message with a type of the protocol itself is dropped')
      return false
    }
    if (this.#idle) return this.#push(message)
    if (this.#mailbox.closed || this.#messages >= capacity) return false
    this.#messages++
    this.#mailbox.put({ event: message, delivery: undefined, fromPeer: false })
    return true
  }

  #push(event: P['receive']): true {
    this.#idle = false
    if (this.#pump) handleSoon(this.#pump, event)
    return true
  }

  #endPump(why: Error): void {
    this.#idle = false
    this.#pump?.end(why)
  }

  /** Contains the application's end, whatever it is: nothing that it throws goes further than here. */
  #run(): void {
    let call: Promise<void>
    try {
      call = this.#application(this.scope, this.#receive as Receive<P>, this.#send as Send<P>, this) // nobody has taken them yet
    } catch (error) {
      return this.#hasRaised(error)
    }
    // Who answers this has nothing left to do.
    if (call === settled) return this.#hasReturned()
    if (call === this.#pump?.over) this.#pump.whenOver(this)
    else this.hear(call)
  }

  hear(call: Promise<void>): void {
    // Not awaited: a call that is held for as long as a socket is open should hold as little as it can.
    void Promise.resolve(call).then(
      () => this.#hasReturned(),
      (error: unknown) => this.#hasRaised(error),
    )
  }

  #hasReturned(): void {
    this.#over(returned[this.#transport.progress])
  }

  #hasRaised(error: unknown): void {
    this.#over({ kind: 'raised', error, progress: this.#transport.progress })
  }

  #over(outcome: Outcome): void {
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
    if (this.#closeTimer) clearTimeout(this.#closeTimer)
    this.#settle(failure(outcome, this.#abortReason))
    if (!this.#mailbox.idle) closeMailbox(this.#mailbox, this.scope)
    if (this.#idle) this.#endPump(overError(this.scope))
    if (this.#channel !== undefined) closeChannel(this.#channel, this)
    if (outcome.kind !== 'raised') this.#returned(outcome)
    try {
      this.#transport.end(outcome)
    } catch (error) {
      this.log.error({ err: error }, 'the adapter failed to end a scope')
    }
    // An address without a rule is no failure: the adapter gives its protocol's answer, and counts it.
    if (outcome.kind === 'raised' && !hasCode(outcome.error, 'no_route')) this.#raised(outcome.error)
    this.#options.onEnd?.(this as unknown as Instance<Protocol>, outcome) // whoever counts instances is of no protocol
    this.#completion?.resolve()
  }

  #settle(error?: unknown): void {
    const handled = this.#handled
    if (!handled) return
    this.#handled = undefined
    handled(error)
  }

  /** It returned, or was abandoned, which is in the log already. */
  #returned({ kind }: Outcome): void {
    const stopped = kind === 'finished' || kind === 'abandoned' || this.#abortReason !== undefined
    const owed = !stopped && this.#transport.owesAnswer === true
    if (owed) this.log.error({ route: this.#route() }, 'the application returned without a complete answer')
    this.#account?.ended(kind === 'abandoned' || owed ? 'failed' : 'handled')
  }

  #raised(error: unknown): void {
    // What a handler throws because its peer left is no fault of the handler.
    const interrupted = this.#abortReason !== undefined && isInterruption(error, this.#abortReason)
    this.#account?.ended(interrupted ? 'interrupted' : 'failed')
    if (this.#transport.isReported && !interrupted) return
    const fields = { route: this.#route(), event: this.#account?.event, err: error }
    if (interrupted) this.log.debug(fields, 'the application was interrupted')
    else this.log.error(fields, 'the application raised')
  }

  /** The routing may be another one by now: what the router said comes first. */
  #route(): string {
    return this.#account?.rule ?? routeOf(this.#application, this.scope)
  }
}

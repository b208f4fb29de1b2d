/** The base of every consumer: one object a scope, with a method for each type of event. */
import type { Log } from '../asgi/context.ts'
import type { Application, Event, Protocol, Receive } from '../asgi/protocol.ts'
import type { Async, Kind, Lent, Sync, SyncInstance, ofProtocol } from '../asgi/sync.ts'
import { isSyncHandler, refusePromise } from '../runtime/blocking.ts'
import { reason } from '../runtime/errors.ts'
import type { EventHandler } from '../runtime/pump.ts'
import { expectServed, isListener, serves, servesOf, serving, unwritten, type Serves } from '../runtime/serves.ts'
import { handleEvents, speaker, touchSpeakers } from '../runtime/shortcuts.ts'

/** The groups of a consumer: names, or a function that computes them from the scope. */
export type Groups<P extends Protocol> = readonly string[] | ((scope: P['scope']) => readonly string[])

const none: readonly string[] = []

/** To whom a consumer speaks while it runs. */
interface Speaker<P extends Protocol, K extends Kind> {
  send(event: P['send']): K['sent']
}

/**
 * Handlers are methods named by the type of the event, quoted, so that sender and handler carry the same text:
 * `async 'chat.message'(message) { … }`. Events are handled one at a time, in order. Messages to the consumer's groups and
 * to its own channel are dispatched the same way. What a handler stores on `this` is the scope's own.
 *
 * There are two kinds, with the same methods: asynchronous ones, and those that block (see `SyncConsumer`).
 */
export abstract class Consumer<P extends Protocol, K extends Kind = Async> {
  /** The application of this class: one new instance a scope. */
  static asApplication<P extends Protocol>(this: new () => Consumer<P>): Application<P> {
    if (isSyncHandler(this))
      throw new TypeError(`${this.name} blocks, and so it is no application by itself: ${instead}`)
    const says = servesOf(this)
    const application: Application<P> = (scope, receive, send, context) => {
      if (says) expectServed(says, scope.type, this.name)
      const consumer = new this()
      consumer.#start(scope, context, speaker(send, context))
      return consumer.run(receive)
    }
    return serving(application, says)
  }

  /** Of a class that blocks: called in the worker, with the scope's first event. */
  static open<P extends Protocol>(this: new () => Consumer<P, Sync>, lent: Lent<P>): SyncInstance {
    const says = servesOf(this)
    if (says) expectServed(says, lent.scope.type, this.name)
    const consumer = new this()
    consumer.#start(lent.scope, lent.context, lent)
    const groups = consumer.#groupNames()
    if (groups.length > 0) lent.join(groups)
    return { handle: (event) => consumer.#handle(event) }
  }

  /** A base for one protocol says here whose scopes it takes; this one takes any. */
  static readonly [serves]: Serves | undefined = undefined

  declare readonly [ofProtocol]?: P

  // Three fields, and no object with three: a group message looks at every member, and each object less counts.
  #scope: P['scope'] | undefined
  #context: K['context'] | undefined
  #speaker: Speaker<P, K> | undefined

  /** Joined before the first event is handled, left when the scope ends, however it ends. */
  readonly groups: Groups<P> = none

  /** The type of the scope's last event: the consumer ends when it is handled. Empty: there is none. */
  protected abstract readonly lastEvent: string

  /** What is dispatched when a handler raised and the last event never came, so that clean-up always runs. */
  protected disconnectEvent(_error: unknown): Event | undefined {
    return undefined
  }

  get scope(): P['scope'] {
    return this.#scope ?? notRunning()
  }

  get context(): K['context'] {
    return this.#context ?? notRunning()
  }

  get layer(): K['context']['layer'] {
    return this.context.layer
  }

  /** Carries the scope's id on every line. */
  get log(): Log {
    return this.context.log
  }

  /** Aborted when the peer is gone or the gateway closes. In long blocking work, look at `signal.aborted`. */
  get signal(): K['context']['signal'] {
    return this.context.signal
  }

  /** Says something to the peer; see `Send` of the contract. */
  send(event: P['send']): K['sent'] {
    return (this.#speaker ?? notRunning()).send(event)
  }

  /** Sends a message to every member of a group; each handles it in the method named by `message.type`. */
  groupSend<Message extends Event>(group: string, message: Message): K['groupSent'] {
    return this.layer.groupSend(group, message)
  }

  /** Handles events until the last one. Overridden by consumers whose work is no sequence of events. */
  protected run(this: Consumer<P>, receive: Receive<P>): Promise<void> {
    const anyone = this as unknown as Consumer<Protocol> // the handler is of no protocol
    const begin = () => handleEvents(receive, this.context, Consumer.#handler, anyone)
    return this.joinGroups()?.then(begin) ?? begin()
  }

  /** One for all consumers: an object a scope would be one more to look at for each event. */
  static readonly #handler: EventHandler<Event, Consumer<Protocol>> = {
    isLast: (event, consumer) => consumer.isLast(event),
    handle: (event, consumer) => consumer.dispatch(event),
    touch(consumers) {
      const speakers: unknown[] = []
      for (const consumer of consumers) speakers.push(consumer.#speaker)
      return touchSpeakers(speakers)
    },
    async failed(error, consumer) {
      try {
        const event = consumer.disconnectEvent(error)
        if (event) await consumer.dispatch(event)
      } catch (second) {
        consumer.#logSecond(error, second)
      }
    },
  }

  /** Undefined: it has none. */
  protected joinGroups(this: Consumer<P>): Promise<unknown> | undefined {
    const names = this.#groupNames()
    // Reading the channel's name opens the channel.
    if (names.length === 0) return undefined
    const { layer, channel } = this.context
    return Promise.all(names.map((group) => layer.groupAdd(group, channel)))
  }

  /** Whether the consumer ends with this event. */
  protected isLast(event: Event): boolean {
    return event.type === this.lastEvent
  }

  /**
   * Calls the method named by the event's type, and gives what it gives. A type without a dot reaches nothing; an unknown one
   * is logged, no more.
   * @throws SignalboxError `bad_reference` for a message or a publish of the peer that there is no method for.
   */
  protected dispatch(event: Event): unknown {
    const handler: unknown = event.type.includes('.') ? Reflect.get(this, event.type) : undefined
    if (typeof handler === 'function') return Reflect.apply(handler, this, [event])
    if (!event.type.startsWith(`${this.scope.type}.`)) {
      this.log.warn({ type: event.type }, `${this.constructor.name} has no method for this type of message`)
    } else if (acknowledged.test(event.type)) this.missed(event, `'${event.type}'`)
    return undefined
  }

  /**
   * Called in place of the method that an event is for, when the class has not written it: whoever sent the event must not take it
   * for handled. Those that only want messages, and go on to hear them, get by with one line in the log.
   * @throws SignalboxError `bad_reference`.
   */
  protected missed(event: Event, method: string): void {
    if (this.isLast(event) || !isListener(this, this.scope.type)) throw unwritten(this, method)
    this.unheard(event, method)
  }

  /** The same for an event that nobody takes for handled: it is in the log, no more. */
  protected unheard({ type }: Event, method: string): void {
    const { constructor } = this
    const methods = warned.get(constructor) ?? new Set()
    // Once: any peer can send as many as it likes.
    if (methods.has(method)) return
    warned.set(constructor, methods.add(method))
    this.log.warn({ type }, `${constructor.name} has no method ${method}: what its peers send is lost`)
  }

  #start(scope: P['scope'], context: K['context'], speaker: Speaker<P, K>): void {
    this.#scope = scope
    this.#context = context
    this.#speaker = speaker
  }

  #groupNames(): readonly string[] {
    return typeof this.groups === 'function' ? this.groups(this.scope) : this.groups
  }

  /** True: that was the last one. */
  #handle(event: Event): boolean {
    const over = this.isLast(event)
    try {
      this.#block(event)
      return over
    } catch (error) {
      if (!over) this.#tearDownNow(error)
      throw error
    }
  }

  #tearDownNow(error: unknown): void {
    try {
      const event = this.disconnectEvent(error)
      if (event) this.#block(event)
    } catch (second) {
      this.#logSecond(error, second)
    }
  }

  #block(event: Event): void {
    refusePromise(this.dispatch(event), () => `${this.constructor.name}['${event.type}']`)
  }

  #logSecond(error: unknown, second: unknown): void {
    this.log.error({ err: second }, `the disconnect handler raised too, after: ${reason(error)}`)
  }
}

/** What the log says already that these classes miss. */
const warned = new WeakMap<object, Set<string>>()

/** What a peer takes for handled when nobody says otherwise: all other events have an answer of their own, or only tell something. */
const acknowledged = /\.(?:message|publish)$/

function notRunning(): never {
  throw new TypeError('a consumer has a scope only while it runs: not in its constructor')
}

const instead = "name it in the YAML, or write syncApplication(Class, new URL('./file.ts', import.meta.url))"

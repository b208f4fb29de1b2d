/** The base of every consumer: one object a scope, with a method for each type of event. */
import type { ChannelLayer, GroupSendResult } from '../asgi/channel-layer.ts'
import type { Context, Log } from '../asgi/context.ts'
import type { Application, Event, Protocol, Receive, Send } from '../asgi/protocol.ts'
import { reason } from '../runtime/errors.ts'

/** The groups of a consumer: names, or a function that computes them from the scope. */
export type Groups<P extends Protocol> = readonly string[] | ((scope: P['scope']) => readonly string[])

/**
 * Handlers are methods named by the type of the event, quoted, so that sender and handler carry the same text:
 * `async 'chat.message'(message) { … }`. Events are handled one at a time, in order. Messages to the consumer's groups and
 * to its own channel are dispatched the same way. What a handler stores on `this` is the scope's own.
 */
export abstract class Consumer<P extends Protocol> {
  /** The application of this class: one new instance a scope. */
  static asApplication<P extends Protocol>(this: new () => Consumer<P>): Application<P> {
    return async (scope, receive, send, context) => {
      const consumer = new this()
      consumer.#scope = scope
      consumer.#send = send
      consumer.#context = context
      await consumer.run(receive)
    }
  }

  #scope: P['scope'] | undefined
  #send: Send<P> | undefined
  #context: Context | undefined

  /** Joined before the first event is handled, left when the scope ends, however it ends. */
  readonly groups: Groups<P> = []

  /** The type of the scope's last event: the consumer ends when it is handled. Empty: there is none. */
  protected abstract readonly lastEvent: string

  /** What is dispatched when a handler raised and the last event never came, so that clean-up always runs. */
  protected disconnectEvent(_error: unknown): P['receive'] | undefined {
    return undefined
  }

  get scope(): P['scope'] {
    return started(this.#scope)
  }

  get context(): Context {
    return started(this.#context)
  }

  get layer(): ChannelLayer {
    return this.context.layer
  }

  /** Carries the scope's id on every line. */
  get log(): Log {
    return this.context.log
  }

  /** Aborted when the peer is gone or the gateway closes. */
  get signal(): AbortSignal {
    return this.context.signal
  }

  /** Says something to the peer; see `Send` of the contract. */
  send(event: P['send']): Promise<void> {
    return started(this.#send)(event)
  }

  /** Sends a message to every member of a group; each handles it in the method named by `message.type`. */
  groupSend<Message extends Event>(group: string, message: Message): Promise<GroupSendResult> {
    return this.layer.groupSend(group, message)
  }

  /** Handles events until the last one. Overridden by consumers whose work is no sequence of events. */
  protected async run(receive: Receive<P>): Promise<void> {
    await this.joinGroups()
    let over = false
    try {
      while (!over) {
        // Events of a scope are handled strictly in order.
        const event = await receive()
        over = event.type === this.lastEvent
        await this.dispatch(event)
      }
    } catch (error) {
      if (!over) await this.#tearDown(error)
      throw error
    }
  }

  protected async joinGroups(): Promise<void> {
    const groups = typeof this.groups === 'function' ? this.groups(this.scope) : this.groups
    await Promise.all(groups.map((group) => this.layer.groupAdd(group, this.context.channel)))
  }

  /** Calls the method named by the event's type. A type without a dot reaches nothing; an unknown one is logged, no more. */
  protected async dispatch(event: Event): Promise<void> {
    const handler: unknown = event.type.includes('.') ? Reflect.get(this, event.type) : undefined
    if (typeof handler === 'function') await Reflect.apply(handler, this, [event])
    else if (!event.type.startsWith(`${this.scope.type}.`)) {
      this.log.warn({ type: event.type }, `${this.constructor.name} has no method for this type of message`)
    }
  }

  async #tearDown(error: unknown): Promise<void> {
    const event = this.disconnectEvent(error)
    if (!event) return
    try {
      await this.dispatch(event)
    } catch (second) {
      this.log.error({ err: second }, `the disconnect handler raised too, after: ${reason(error)}`)
    }
  }
}

function started<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('a consumer has a scope only while it runs: not in its constructor')
  return value
}

/** The base of consumers whose handlers block: one object a scope, on one worker thread for all of the scope's life. */
import type { GroupSendResult } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { Event, Protocol } from '../asgi/protocol.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import type { Lent, SyncApplication, SyncContext, SyncInstance, SyncLayer, SyncSignal } from './sync-context.ts'

declare const ofProtocol: unique symbol

/** What the disconnect events of protocols say. */
interface DisconnectFields {
  readonly code: number
  readonly reason: string
}

/** Handlers that block are marked with it. */
const blocking = Symbol.for('signalbox.bridge.blocking')

/**
 * Handlers are methods named by the type of the event, as in `Consumer`, but plain: they compute, query and wait as long as
 * they need, and `send`, `groupSend` and the rest return when they are done. The event loop does not wait with them.
 *
 * @example
 * export class Thumbnails extends SyncConsumer<WebsocketProtocol> {
 *   'websocket.connect'() {
 *     this.send({ type: 'websocket.accept' })
 *   }
 *   'websocket.receive'({ bytes }: WebsocketReceive) {
 *     if (bytes) this.send({ type: 'websocket.send', bytes: shrink(bytes) })
 *   }
 * }
 */
export abstract class SyncConsumer<P extends Protocol> {
  static readonly [blocking]: boolean = true

  /**
   * True: the bytes of an event move to the worker, which costs nothing, instead of being copied, where they have their
   * memory for themselves. They are gone from everywhere else then, such as from the dead letter of an event that failed.
   */
  static readonly moveBytes: boolean = false

  /** Called in the worker, with the scope's first event. */
  static open<P extends Protocol>(this: new () => SyncConsumer<P>, lent: Lent<P>): SyncInstance {
    const consumer = new this()
    consumer.#lent = lent
    const groups = typeof consumer.groups === 'function' ? consumer.groups(lent.scope) : consumer.groups
    if (groups.length > 0) lent.join(groups)
    return { handle: (event) => consumer.#handle(event) }
  }

  /** For the compiler alone: says of which protocol a class is. */
  declare readonly [ofProtocol]?: P

  #lent: Lent<P> | undefined

  /** Joined before the first event is handled, left when the scope ends, however it ends. */
  readonly groups: readonly string[] | ((scope: P['scope']) => readonly string[]) = []

  /** The type of an event to end with. Default: the disconnect event of the protocol, or the end of the scope. */
  protected readonly lastEvent: string = ''

  get scope(): P['scope'] {
    return this.#started.scope
  }

  get context(): SyncContext {
    return this.#started.context
  }

  get layer(): SyncLayer {
    return this.context.layer
  }

  /** Carries the scope's id on every line. */
  get log(): Log {
    return this.context.log
  }

  /** Look at `signal.aborted` in long work. */
  get signal(): SyncSignal {
    return this.context.signal
  }

  send(event: P['send']): void {
    this.#started.send(event)
  }

  /** Sends a message to every member of a group; each handles it in the method named by `message.type`. */
  groupSend<Message extends Event>(group: string, message: Message): GroupSendResult {
    return this.layer.groupSend(group, message)
  }

  /**
   * What is dispatched when a handler raised, so that clean-up always runs: the protocol's own disconnect event, which a
   * protocol without one has no method for.
   */
  protected disconnectEvent(_error: unknown): Event | undefined {
    const event: Event & DisconnectFields = { type: `${this.scope.type}.disconnect`, code: 1011, reason: 'error' }
    return event
  }

  /** Calls the method named by the event's type. A type without a dot reaches nothing; an unknown one is logged, no more. */
  protected dispatch(event: Event): void {
    const handler: unknown = event.type.includes('.') ? Reflect.get(this, event.type) : undefined
    if (typeof handler === 'function') {
      const result: unknown = Reflect.apply(handler, this, [event])
      refusePromise(result, () => `${this.constructor.name}['${event.type}']`)
    } else if (!event.type.startsWith(`${this.scope.type}.`)) {
      this.log.warn({ type: event.type }, `${this.constructor.name} has no method for this type of message`)
    }
  }

  get #started(): Lent<P> {
    if (this.#lent) return this.#lent
    throw new TypeError('a consumer has a scope only while it runs: not in its constructor')
  }

  #handle(event: Event): boolean {
    const over = event.type === this.lastEvent || event.type === `${this.scope.type}.disconnect`
    try {
      this.dispatch(event)
      return over
    } catch (error) {
      if (!over) this.#tearDown(error)
      throw error
    }
  }

  #tearDown(error: unknown): void {
    try {
      const event = this.disconnectEvent(error)
      if (event) this.dispatch(event)
    } catch (second) {
      this.log.error({ err: second }, `the disconnect handler raised too, after: ${reason(error)}`)
    }
  }
}

/** A consumer class for the worker threads. */
export interface SyncConsumerClass<P extends Protocol = Protocol> {
  new (): SyncConsumer<P>
  readonly moveBytes: boolean
}

/**
 * Marks an application that is a plain function as one that blocks, so that it runs on a worker thread.
 *
 * @example
 * export const report = syncHandler<HttpProtocol>((scope, receive, send) => {
 *   send({ type: 'http.response.start', status: 200 })
 *   send({ type: 'http.response.body', body: compute(scope.params) })
 * })
 */
export function syncHandler<P extends Protocol>(application: SyncApplication<P>): SyncApplication<P> {
  return Object.assign(application, { [blocking]: true })
}

interface Openable {
  open(lent: Lent<Protocol>): SyncInstance
}

export function isSyncConsumer(value: unknown): value is SyncConsumerClass & Openable {
  return isSyncHandler(value) && 'open' in value
}

/** Whether it is to run on a worker thread: a SyncConsumer, or a function that `syncHandler` has marked. */
export function isSyncHandler(value: unknown): value is SyncApplication | SyncConsumerClass {
  return typeof value === 'function' && blocking in value
}

/** Blocking code that is not: nobody would wait for it. @throws SignalboxError `bridge_failed`. */
export function refusePromise(result: unknown, what: () => string): void {
  if (typeof result !== 'object' || result === null || !('then' in result) || typeof result.then !== 'function') return
  // What becomes of it is nobody's any more.
  Promise.resolve(result).catch(() => undefined)
  throw new SignalboxError(
    'bridge_failed',
    `${what()} gave a promise, expected a plain function: one that blocks, not an async one`,
  )
}

/** The base of consumers whose handlers block: one object a scope, on one worker thread for all of the scope's life. */
import type { Event, Protocol } from '../asgi/protocol.ts'
import type { Sync } from '../asgi/sync.ts'
import { blocking } from '../runtime/blocking.ts'
import { serves, type Serves } from '../runtime/serves.ts'
import { Consumer } from './consumer.ts'

/** What the disconnect events of protocols say. */
interface DisconnectFields {
  readonly code: number
  readonly reason: string
}

/**
 * Handlers are methods named by the type of the event, as in `Consumer`, but plain: they compute, query and wait as long as
 * they need, and `send`, `groupSend` and the rest return when they are done. The event loop does not wait with them.
 *
 * Each protocol has one with its own conveniences, such as `SyncEmailConsumer`.
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
export abstract class SyncConsumer<P extends Protocol> extends Consumer<P, Sync> {
  static readonly [blocking]: boolean = true
  static override readonly [serves]: Serves | undefined = undefined

  /**
   * True: the bytes of an event move to the worker, which costs nothing, instead of being copied, where they have their
   * memory for themselves. They are gone from everywhere else then, such as from the dead letter of an event that failed.
   */
  static readonly moveBytes: boolean = false

  /** The type of an event to end with. Default: the disconnect event of the protocol, or the end of the scope. */
  protected readonly lastEvent: string = ''

  protected override isLast(event: Event): boolean {
    return super.isLast(event) || event.type === `${this.scope.type}.disconnect`
  }

  /** The protocol's own disconnect event, which a protocol without one has no method for. */
  protected override disconnectEvent(_error: unknown): Event | undefined {
    const event: Event & DisconnectFields = { type: `${this.scope.type}.disconnect`, code: 1011, reason: 'error' }
    return event
  }
}

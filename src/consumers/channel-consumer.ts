/** The bases of the consumers that workers run: one object for each message of a named channel. */
import type { ChannelProtocol } from '../asgi/channel.ts'
import type { Event } from '../asgi/protocol.ts'
import type { Async, Kind, Sync } from '../asgi/sync.ts'
import { blocking } from '../runtime/blocking.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { serves, type Serves } from '../runtime/serves.ts'
import { Consumer } from './consumer.ts'

/**
 * A message is handled by the method named by its type: `async 'image.resize'(message) { … }`. It is done when that returns. When
 * it raises, or when there is no such method, the message is tried again later, and is a dead letter after the last attempt.
 */
export abstract class ChannelConsumer<K extends Kind = Async> extends Consumer<ChannelProtocol, K> {
  static override readonly [serves]: Serves = { protocols: ['channel'] }
  protected override readonly lastEvent: string = ''

  /** The one that this scope was opened for: it was there before any message of a group. */
  protected override isLast(_event: Event): boolean {
    return true
  }

  /** @throws SignalboxError `bad_message`: work that nobody understands must not pass for done. */
  protected override dispatch(event: Event): unknown {
    const handler: unknown = event.type.includes('.') ? Reflect.get(this, event.type) : undefined
    if (typeof handler === 'function') return Reflect.apply(handler, this, [event])
    const { channel } = this.scope
    const message = `${this.constructor.name} has no method for a message of the type ${event.type}, which came on channel ${channel}`
    throw new SignalboxError('bad_message', message)
  }
}

/** The same for work that blocks: on a worker thread, with plain methods. */
export abstract class SyncChannelConsumer extends ChannelConsumer<Sync> {
  static readonly [blocking]: boolean = true
  static readonly moveBytes: boolean = false
}

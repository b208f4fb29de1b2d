/** The base of the consumers that workers run: one object for each message of a named channel. */
import type { ChannelProtocol } from '../asgi/channel.ts'
import type { Event, Receive } from '../asgi/protocol.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { Consumer } from './consumer.ts'

/**
 * A message is handled by the method named by its type: `async 'image.resize'(message) { … }`. It is done when that returns. When
 * it raises, or when there is no such method, the message is tried again later, and is a dead letter after the last attempt.
 */
export abstract class ChannelConsumer extends Consumer<ChannelProtocol> {
  protected override readonly lastEvent: string = ''

  protected override async run(receive: Receive<ChannelProtocol>): Promise<void> {
    await this.joinGroups()
    // The one that this scope was opened for: it was there before any message of a group.
    await this.dispatch(await receive())
  }

  /** @throws SignalboxError `bad_message`: work that nobody understands must not pass for done. */
  protected override async dispatch(event: Event): Promise<void> {
    const handler: unknown = event.type.includes('.') ? Reflect.get(this, event.type) : undefined
    if (typeof handler !== 'function') {
      const { channel } = this.scope
      const message = `${this.constructor.name} has no method for a message of the type ${event.type}, which came on channel ${channel}`
      throw new SignalboxError('bad_message', message)
    }
    await Reflect.apply(handler, this, [event])
  }
}

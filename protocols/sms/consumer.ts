/** The base class of consumers for SMS. */
import { Consumer } from '../../src/consumers/consumer.ts'
import type { SmsMessage, SmsProtocol, SmsStatus } from './scope.ts'

/** What goes with a text. */
export interface SmsExtras {
  /** Up to ten http(s) URLs of pictures and the like. */
  readonly media?: readonly string[]
}

/**
 * One object a message, and one a status report.
 *
 * @example
 * class Echo extends SmsConsumer {
 *   override async message({ body }: SmsMessage) {
 *     await this.reply(`You wrote: ${body}`)
 *   }
 * }
 */
export class SmsConsumer extends Consumer<SmsProtocol> {
  protected get lastEvent(): string {
    return this.scope.kind === 'status' ? 'sms.status' : 'sms.message'
  }

  /** A text came in. Look at `sms.consent` before anything is made of it: it is not empty when the text is STOP or START. */
  message(_sms: SmsMessage): void | Promise<void> {}

  /** News of a text that was sent. */
  status(_status: SmsStatus): void | Promise<void> {}

  /** Answers the message; several replies become several texts, in order. At most 1600 characters each. */
  reply(body: string, extras: SmsExtras = {}): Promise<void> {
    return this.send({ type: 'sms.reply', body, ...extras })
  }

  /** Sends a text to somebody else, from the number that this message came to. */
  sendSms(to: string, body: string, extras: SmsExtras = {}): Promise<void> {
    return this.send({ type: 'sms.send', to, body, ...extras })
  }

  async 'sms.message'(event: SmsMessage): Promise<void> {
    await this.message(event)
  }

  async 'sms.status'(event: SmsStatus): Promise<void> {
    await this.status(event)
  }
}

/** The base classes of consumers for SMS. */
import type { Async, Kind, Sync } from '../../src/asgi/sync.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { blocking } from '../../src/runtime/blocking.ts'
import { serves, type Serves } from '../../src/runtime/serves.ts'
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
export class SmsConsumer<K extends Kind = Async> extends Consumer<SmsProtocol, K> {
  static override readonly [serves]: Serves = { protocols: ['sms'], methods: ['message', 'status'] }
  protected get lastEvent(): string {
    return this.scope.kind === 'status' ? 'sms.status' : 'sms.message'
  }

  /** A text came in; one that a class has no such method for has failed. Look at `sms.consent` before anything is made of it: it is not empty when the text is STOP or START. */
  message(_sms: SmsMessage): void | Promise<void> {}

  /** News of a text that was sent; a class need not have it. */
  status(_status: SmsStatus): void | Promise<void> {}

  /** Answers the message; several replies become several texts, in order. At most 1600 characters each. */
  reply(body: string, extras: SmsExtras = {}): K['sent'] {
    return this.send({ type: 'sms.reply', body, ...extras })
  }

  /** Sends a text to somebody else, from the number that this message came to. */
  sendSms(to: string, body: string, extras: SmsExtras = {}): K['sent'] {
    return this.send({ type: 'sms.send', to, body, ...extras })
  }

  'sms.message'(event: SmsMessage): void | Promise<void> {
    if (this.message === SmsConsumer.prototype.message) return this.missed(event, 'message(sms)')
    return this.message(event)
  }

  'sms.status'(event: SmsStatus): void | Promise<void> {
    return this.status(event)
  }
}

/**
 * The same for handlers that block: on a worker thread, with plain methods.
 *
 * @example
 * export class Stock extends SyncSmsConsumer {
 *   override message({ body }: SmsMessage) {
 *     this.reply(database.prepare('SELECT …').get(body)?.answer ?? 'Never heard of it.')
 *   }
 * }
 */
export class SyncSmsConsumer extends SmsConsumer<Sync> {
  static readonly [blocking]: boolean = true
  static readonly moveBytes: boolean = false
}

/** The base classes of consumers for e-mail. */
import type { Async, Kind, Sync } from '../../src/asgi/sync.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { blocking } from '../../src/runtime/blocking.ts'
import { serves, type Serves } from '../../src/runtime/serves.ts'
import type { EmailMessage, EmailProtocol, EmailReply, EmailSend } from './scope.ts'

/**
 * One object a message and recipient. Returning from `message` is what gives the sender its 250; raising makes the sender
 * come again later.
 *
 * @example
 * class Echo extends EmailConsumer {
 *   override async message({ subject }: EmailMessage) {
 *     await this.reply({ text: `We have your mail about ${subject}.` })
 *   }
 * }
 */
export class EmailConsumer<K extends Kind = Async> extends Consumer<EmailProtocol, K> {
  static override readonly [serves]: Serves = { protocols: ['email'], methods: ['message'] }
  protected readonly lastEvent = 'email.message'

  /** A message came in for `this.scope.recipient`; one that a class has no such method for has failed. Look at `automatic` before anything answers it. */
  message(_email: EmailMessage): void | Promise<void> {}

  /** Answers the sender, threaded; nothing goes out when the message is a robot's. */
  reply(reply: Omit<EmailReply, 'type'>): K['sent'] {
    return this.send({ type: 'email.reply', ...reply })
  }

  /** Sends a new mail, from the address that this message came to. */
  sendMail(mail: Omit<EmailSend, 'type'>): K['sent'] {
    return this.send({ type: 'email.send', ...mail })
  }

  /** Refuses the message, while its sender waits: 5xx for ever, 4xx for now. */
  reject(code = 550, text?: string): K['sent'] {
    return this.send({ type: 'email.reject', code, ...(text !== undefined && { text }) })
  }

  'email.message'(event: EmailMessage): void | Promise<void> {
    if (this.message === EmailConsumer.prototype.message) return this.missed(event, 'message(email)')
    return this.message(event)
  }
}

/**
 * The same for handlers that block: on a worker thread, with plain methods. The 250 waits for `message`, the event loop does not.
 *
 * @example
 * export class Tickets extends SyncEmailConsumer {
 *   override message({ subject, text }: EmailMessage) {
 *     const { id } = database.prepare('INSERT INTO tickets …').get(subject, text)
 *     this.reply({ text: `Ticket ${id}` })
 *   }
 * }
 */
export class SyncEmailConsumer extends EmailConsumer<Sync> {
  static readonly [blocking]: boolean = true
  static readonly moveBytes: boolean = false
}

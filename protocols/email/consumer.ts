/** The base class of consumers for e-mail. */
import { Consumer } from '../../src/consumers/consumer.ts'
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
export class EmailConsumer extends Consumer<EmailProtocol> {
  protected readonly lastEvent = 'email.message'

  /** A message came in for `this.scope.recipient`. Look at `automatic` before anything answers it. */
  message(_email: EmailMessage): void | Promise<void> {}

  /** Answers the sender, threaded; nothing goes out when the message is a robot's. */
  reply(reply: Omit<EmailReply, 'type'>): Promise<void> {
    return this.send({ type: 'email.reply', ...reply })
  }

  /** Sends a new mail, from the address that this message came to. */
  sendMail(mail: Omit<EmailSend, 'type'>): Promise<void> {
    return this.send({ type: 'email.send', ...mail })
  }

  /** Refuses the message, while its sender waits: 5xx for ever, 4xx for now. */
  reject(code = 550, text?: string): Promise<void> {
    return this.send({ type: 'email.reject', code, ...(text !== undefined && { text }) })
  }

  async 'email.message'(event: EmailMessage): Promise<void> {
    await this.message(event)
  }
}

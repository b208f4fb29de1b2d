/** What an application sends: whether it may go out at all, and its way out by the journal. */
import type { Services } from '../../src/asgi/adapter.ts'
import type { StoredRecord } from '../../src/asgi/delivery.ts'
import { SignalboxError, permanent, reason } from '../../src/runtime/errors.ts'
import { unrouted } from '../../src/runtime/unrouted.ts'
import { foldAddress } from './address.ts'
import type { Carrier } from './carriers.ts'
import { composeReply, composeSend, type OutgoingMail } from './compose.ts'
import type { EmailOptions } from './options.ts'
import { ReplyLimit } from './reply-limit.ts'
import type { EmailMessage, EmailProtocol, EmailReply, EmailScope, EmailSend } from './scope.ts'
import type { About, Outbound } from './transport.ts'

/** As the journal keeps it; the mail itself is the record's body. */
interface OutgoingEvent extends Omit<OutgoingMail, 'raw'> {
  readonly type: 'email.outgoing'
}

export class Outgoing implements Outbound {
  readonly #services: Services<EmailProtocol>
  readonly #carrier: Carrier
  readonly #limit: ReplyLimit

  constructor({ replies }: Pick<EmailOptions, 'replies'>, services: Services<EmailProtocol>, carrier: Carrier) {
    this.#services = services
    this.#carrier = carrier
    this.#limit = new ReplyLimit(replies.limit, replies.window)
  }

  async reply(event: EmailReply, about: About): Promise<void> {
    const { scope, message } = about
    // Written first: a mistake in the event is one whoever the mail is from.
    const mail = await composeReply(event, scope, message)
    const why = this.#reasonForSilence(scope, message)
    if (why !== undefined) {
      this.#services.log.info({ scope: scope.id, to: scope.sender, why }, 'no automatic answer is sent')
      return
    }
    await this.#post(mail, event, about)
  }

  async send(event: EmailSend, about: About): Promise<void> {
    const { scope, message } = about
    const mail = await composeSend(event, scope)
    // An automatic mail that makes us write to ourselves comes back as one: the only loop that a `send` can close.
    const own = message.automatic === '' ? undefined : mail.envelope.to.find((address) => this.#isOwn(address, scope))
    if (own !== undefined) {
      this.#services.log.warn({ scope: scope.id, to: own, why: message.automatic }, 'a mail to ourselves is not sent')
      return
    }
    await this.#post(mail, event, about)
  }

  /**
   * Makes one attempt.
   * @throws SignalboxError `send_failed`; `permanent` when the relay will never take it.
   */
  async carry({ event, body }: StoredRecord<EmailProtocol>): Promise<void> {
    const { envelope, messageId } = event as OutgoingEvent // as `#post` made it
    try {
      await this.#carrier.carry({ envelope, messageId, raw: Buffer.from(body ?? []) })
    } catch (cause) {
      const message = `the mail ${messageId} to ${envelope.to.join(', ')} could not be sent: ${reason(cause)}`
      const failed = new SignalboxError('send_failed', message, { cause })
      throw isPermanent(cause) ? permanent(failed) : failed
    }
    this.#services.log.info({ to: envelope.to, messageId }, 'a mail was handed over')
  }

  #reasonForSilence(scope: EmailScope, message: EmailMessage): string | undefined {
    // RFC 3834 2, and 4 for the address: the return path, not what the headers claim.
    if (message.automatic !== '') return message.automatic
    const sender = foldAddress(scope.sender)
    if (!sender) return 'no sender'
    if (this.#isOwn(scope.sender, scope)) return 'own address'
    // A further attempt at one message says what the first has said.
    if ((scope.attempt ?? 1) > 1) return undefined
    return this.#limit.take(sender.address) ? undefined : 'enough answers to this address'
  }

  /** Whether mail to this address comes to this gateway. */
  #isOwn(address: string, scope: EmailScope): boolean {
    const folded = foldAddress(address)
    const recipient = foldAddress(scope.recipient)
    if (!folded || !recipient) return false
    if (folded.address === recipient.address) return true
    const routes = (to: string) => this.#services.resolve({ ...scope, recipient: to, tag: '' }) !== undefined
    // Where rules take any address at all they say nothing about whose it is.
    const takesAll = routes('nobody@nowhere.invalid')
    return takesAll ? folded.domain === recipient.domain : routes(folded.address)
  }

  /**
   * Resolves when it is on disk; it goes out then.
   * @throws SignalboxError `journal_full`, `journal_failed`.
   */
  async #post({ envelope, messageId, raw }: OutgoingMail, said: EmailReply | EmailSend, about: About): Promise<void> {
    const event: OutgoingEvent = { type: 'email.outgoing', envelope, messageId }
    const record = { direction: 'out', scope: unrouted<EmailProtocol>(about.scope), event, body: raw } as const
    await this.#services.journal.accept([about.said ? { ...record, key: about.said.key(said) } : record])
  }
}

/** RFC 5321 4.2.1: 5yz will be no different next time. */
function isPermanent(error: unknown): boolean {
  return Error.isError(error) && 'responseCode' in error && Number(error.responseCode) >= 500
}

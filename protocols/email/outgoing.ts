/** What an application sends: whether it may go out at all, and that it goes out in the end. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Services } from '../../src/asgi/adapter.ts'
import type { Event } from '../../src/asgi/protocol.ts'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import { foldAddress } from './address.ts'
import type { Carrier } from './carriers.ts'
import { composeReply, composeSend, type OutgoingMail } from './compose.ts'
import type { EmailOptions } from './options.ts'
import { ReplyLimit } from './reply-limit.ts'
import type { EmailMessage, EmailProtocol, EmailReply, EmailScope, EmailSend } from './scope.ts'
import type { Outbound } from './transport.ts'

/** An application waits no longer than this, in milliseconds: its own sender waits for it. */
const longestWait = 10_000
/** What may wait for another attempt; more is failed at once. */
const mostWaiting = 1000
const mostWaitingBytes = 64 * 1024 * 1024

type OutgoingOptions = Pick<EmailOptions, 'relayAttempts' | 'relayBackoff' | 'replies'>

export class Outgoing implements Outbound {
  readonly #options: OutgoingOptions
  readonly #services: Services<EmailProtocol>
  readonly #carrier: Carrier
  readonly #limit: ReplyLimit
  readonly #work = new Set<Promise<void>>()
  readonly #closing = new AbortController()
  #waitingBytes = 0

  constructor(options: OutgoingOptions, services: Services<EmailProtocol>, carrier: Carrier) {
    this.#options = options
    this.#services = services
    this.#carrier = carrier
    this.#limit = new ReplyLimit(options.replies.limit, options.replies.window)
  }

  /** Mails that are on their way. */
  get size(): number {
    return this.#work.size
  }

  async reply(event: EmailReply, scope: EmailScope, message: EmailMessage): Promise<void> {
    // Written first: a mistake in the event is one whoever the mail is from.
    const mail = await composeReply(event, scope, message)
    const why = this.#reasonForSilence(scope, message)
    if (why !== undefined) {
      this.#services.log.info({ scope: scope.id, to: scope.sender, why }, 'no automatic answer is sent')
      return
    }
    await this.#post(mail, scope, event)
  }

  async send(event: EmailSend, scope: EmailScope, message: EmailMessage): Promise<void> {
    const mail = await composeSend(event, scope)
    // An automatic mail that makes us write to ourselves comes back as one: the only loop that a `send` can close.
    const own = message.automatic === '' ? undefined : mail.envelope.to.find((address) => this.#isOwn(address, scope))
    if (own !== undefined) {
      this.#services.log.warn({ scope: scope.id, to: own, why: message.automatic }, 'a mail to ourselves is not sent')
      return
    }
    await this.#post(mail, scope, event)
  }

  /** Waiting mails are tried once more; when `signal` aborts, what is left is failed. */
  async close(signal: AbortSignal): Promise<void> {
    this.#closing.abort()
    const cut = () => this.#carrier.close()
    signal.addEventListener('abort', cut, { once: true })
    if (signal.aborted) cut()
    await Promise.all(this.#work)
    signal.removeEventListener('abort', cut)
    this.#carrier.close()
  }

  #reasonForSilence(scope: EmailScope, message: EmailMessage): string | undefined {
    // RFC 3834 2, and 4 for the address: the return path, not what the headers claim.
    if (message.automatic !== '') return message.automatic
    const sender = foldAddress(scope.sender)
    if (!sender) return 'no sender'
    if (this.#isOwn(scope.sender, scope)) return 'own address'
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

  /** Resolves when it is out, when it waits for another attempt, or when it was failed. */
  async #post(mail: OutgoingMail, scope: EmailScope, event: Event): Promise<void> {
    const fail = (cause: unknown) => {
      const message = `the mail ${mail.messageId} to ${mail.envelope.to.join(', ')} could not be sent: ${reason(cause)}`
      this.#services.failed(scope, event, new SignalboxError('send_failed', message, { cause }))
    }
    if (this.#work.size >= mostWaiting || this.#waitingBytes + mail.raw.length > mostWaitingBytes) {
      return fail(new SignalboxError('too_large', 'too much outgoing mail waits for the relay'))
    }
    this.#waitingBytes += mail.raw.length
    const { promise: firstTry, resolve } = Promise.withResolvers<void>()
    const work = this.#carry(mail, resolve)
      .catch(fail)
      .finally(() => {
        this.#waitingBytes -= mail.raw.length
        this.#work.delete(work)
        resolve()
      })
    this.#work.add(work)
    const late = setTimeout(resolve, longestWait)
    await firstTry
    clearTimeout(late)
  }

  async #carry(mail: OutgoingMail, tried: () => void): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= this.#options.relayAttempts || this.#closing.signal.aborted
      try {
        await this.#carrier.carry(mail)
        this.#services.log.info({ to: mail.envelope.to, messageId: mail.messageId }, 'a mail was handed over')
        return
      } catch (error) {
        if (isLast || isPermanent(error)) throw error
        this.#services.log.info({ to: mail.envelope.to, why: reason(error) }, 'a mail waits for another attempt')
        tried()
        await this.#pause(attempt)
      }
    }
  }

  async #pause(attempt: number): Promise<void> {
    const wait = this.#options.relayBackoff * 4 ** (attempt - 1)
    try {
      // Up to a quarter more, so that mails that failed together do not come together again.
      await delay(wait * (1 + Math.random() / 4), undefined, { signal: this.#closing.signal, ref: false })
    } catch {
      // The gateway closes: the last attempt is now.
    }
  }
}

/** RFC 5321 4.2.1: 5yz will be no different next time. */
function isPermanent(error: unknown): boolean {
  return Error.isError(error) && 'responseCode' in error && Number(error.responseCode) >= 500
}

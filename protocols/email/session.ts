/** What is asked at each step of one SMTP session, and what is answered. */
import type { SMTPServerAddress, SMTPServerDataStream, SMTPServerSession } from 'smtp-server'
import type { Services } from '../../src/asgi/adapter.ts'
import type { Resolution } from '../../src/asgi/protocol.ts'
import { foldAddress } from './address.ts'
import { SmtpAnswer, answers } from './answers.ts'
import type { ClientRates } from './client-rates.ts'
import type { Deliveries, NewEmailScope } from './delivery.ts'
import type { Head } from './headers.ts'
import type { EmailOptions } from './options.ts'
import { parseMessage, sightMessage } from './parse.ts'
import { receiveData } from './receive-data.ts'
import type { EmailProtocol } from './scope.ts'
import type { Hold, Spool } from './spool.ts'
import type { Recipient, StoredMessages } from './stored.ts'

/** What all sessions of a listener share. */
export interface SessionParts {
  readonly options: EmailOptions
  readonly services: Services<EmailProtocol>
  readonly hostname: string
  readonly rates: ClientRates
  readonly spool: Spool
  readonly deliveries: Deliveries
  readonly stored: StoredMessages
}

interface Described {
  readonly raw: Buffer
  readonly messageId: string
  readonly head: Head
}

/** A rule that was there at RCPT is not there any more: the journal will find that out, and keep the message. */
const unknown: Resolution = { rules: [], params: {} }

export class Session {
  readonly #parts: SessionParts
  #errors = 0

  constructor(parts: SessionParts) {
    this.#parts = parts
  }

  /** @throws SmtpAnswer */
  mailFrom({ address, args }: SMTPServerAddress, session: SMTPServerSession): void {
    if (address.includes('\ufffd')) throw this.#error(answers.badSender())
    if (needsUtf8(address, session)) throw this.#error(answers.needsUtf8())
    if (!this.#parts.rates.message(session.remoteAddress)) throw answers.tooManyMessages()
    // RFC 1870 6.1: refused before it is sent. That it is larger than maxSize the package has looked at.
    const declared = args ? Number(args['SIZE'] ?? 0) : 0
    if (!this.#parts.spool.hasRoom(declared)) throw answers.spoolFull()
  }

  /** @throws SmtpAnswer */
  rcptTo({ address }: SMTPServerAddress, session: SMTPServerSession): void {
    if (needsUtf8(address, session)) throw this.#error(answers.needsUtf8())
    const scope = this.#scope(address, session)
    if (!scope) throw this.#error(answers.badRecipient())
    if (this.#parts.services.resolve(scope)) return
    this.#parts.services.unrouted(scope, scope.recipient)
    throw this.#error(answers.unrouted())
  }

  /**
   * Resolves for 250.
   * @throws SmtpAnswer
   */
  async data(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<void> {
    const { options, spool } = this.#parts
    const scopes = this.#scopes(session)
    const raw = await receiveData(stream, options, spool)
    // What is stored is given back when it is; what is handled holds it until the last application is done with it.
    const hold = spool.holder(raw.length)
    using _ = hold()
    const { messageId, hops, head } = sightMessage(raw)
    const described = { raw, messageId, head }
    try {
      if (hops > options.maxHops) throw answers.loop(hops)
      await this.#deliver(described, scopes, hold)
      this.#log(described, scopes, 250)
    } catch (error) {
      if (error instanceof SmtpAnswer) this.#log(described, scopes, error.responseCode)
      throw error
    }
  }

  /** The rules that wait for their applications come first: if one of them has to be tried again, nothing is stored yet. */
  async #deliver(described: Described, scopes: readonly NewEmailScope[], hold: Hold): Promise<void> {
    const { services, deliveries, stored } = this.#parts
    const recipients = scopes.map((scope) => ({ scope, resolution: services.resolve(scope) ?? unknown }))
    const waits = ({ resolution }: Recipient) => resolution.delivery?.mode === 'handled'
    const waiting = recipients.filter(waits).map(({ scope }) => scope)
    if (waiting.length > 0) {
      const message = await parseMessage(described.raw, { sender: waiting[0]?.sender ?? '' }, described.head)
      const held = hold()
      await deliveries.deliver(message, waiting, () => held[Symbol.dispose]())
    }
    const storing = recipients.filter((recipient) => !waits(recipient))
    if (storing.length > 0) await stored.accept(described.raw, described.messageId, storing)
  }

  #error(answer: SmtpAnswer): SmtpAnswer {
    this.#errors++
    return this.#errors < this.#parts.options.maxErrors ? answer : answers.tooManyErrors()
  }

  /** One scope a mailbox: two spellings of one recipient are one. */
  #scopes(session: SMTPServerSession): NewEmailScope[] {
    const scopes = session.envelope.rcptTo.flatMap(({ address }) => this.#scope(address, session) ?? [])
    return [...new Map(scopes.map((scope) => [scope.recipient, scope])).values()]
  }

  #scope(address: string, session: SMTPServerSession): NewEmailScope | undefined {
    // RFC 5321 4.1.1.3: the one recipient without a domain.
    const whole = address.toLowerCase() === 'postmaster' ? `postmaster@${this.#parts.hostname}` : address
    const folded = foldAddress(whole)
    if (!folded) return undefined
    return {
      type: 'email',
      client: [session.remoteAddress, session.remotePort],
      server: [session.localAddress, session.localPort],
      recipient: folded.address,
      tag: folded.tag,
      sender: senderOf(session),
      helo: session.hostNameAppearsAs || '',
      secure: session.secure,
    }
  }

  #log({ messageId, raw }: Described, scopes: readonly NewEmailScope[], answer: number): void {
    const recipients = scopes.map(({ recipient }) => recipient)
    const { sender, client } = scopes[0] ?? {}
    const fields = { sender, recipients, client, messageId, size: raw.byteLength, answer }
    // What goes well is a line only for who asks for it; so it is with every protocol.
    if (answer < 300) this.#parts.services.log.debug(fields, 'a message was answered')
    else this.#parts.services.log.info(fields, 'a message was answered')
  }
}

function senderOf({ envelope }: SMTPServerSession): string {
  return envelope.mailFrom ? envelope.mailFrom.address : ''
}

/** The domain may have come as `xn--`: the package decodes it. */
function needsUtf8(address: string, { envelope }: SMTPServerSession): boolean {
  return !envelope.smtpUtf8 && /[^\x20-\x7e]/.test(address.slice(0, address.lastIndexOf('@')))
}

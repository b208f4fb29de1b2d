/** What is asked at each step of one SMTP session, and what is answered. */
import type { SMTPServerAddress, SMTPServerSession } from 'smtp-server'
import type { Services } from '../../src/asgi/adapter.ts'
import { foldAddress } from './address.ts'
import { SmtpAnswer, answers } from './answers.ts'
import type { ClientRates } from './client-rates.ts'
import type { Deliveries, NewEmailScope, Receiver } from './delivery.ts'
import type { Reading } from './message.ts'
import type { EmailOptions } from './options.ts'
import { openMessage, sightMessage, type Sight } from './parse.ts'
import type { DataReader, DataTaker } from './receive-data.ts'
import type { EmailProtocol } from './scope.ts'
import { Hold, type Spool } from './spool.ts'
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

export class Session {
  readonly #parts: SessionParts
  #errors = 0
  /** Those since the last MAIL, one a mailbox: two spellings of one recipient are one. */
  #recipients = new Map<string, Recipient>()
  /** The last one. A sender that stays writes to the same few mailboxes, and what is known of a scope is kept with it. */
  #scope: NewEmailScope | undefined

  constructor(parts: SessionParts) {
    this.#parts = parts
  }

  /** @throws SmtpAnswer */
  mailFrom({ address, args }: SMTPServerAddress, session: SMTPServerSession): void {
    this.#recipients = new Map()
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
    const scope = this.#scopeOf(address, session)
    if (!scope) throw this.#error(answers.badRecipient())
    const resolution = this.#parts.services.resolve(scope)
    if (resolution) return void this.#recipients.set(scope.recipient, { scope, resolution })
    this.#parts.services.unrouted(scope, scope.recipient)
    throw this.#error(answers.unrouted())
  }

  /** Takes the message that comes now; `answer` is called once, for 250 or with an error. */
  data(reader: DataReader, answer: (error?: unknown) => void): void {
    reader.read(new Incoming(this.#parts, [...this.#recipients.values()], answer))
  }

  #error(answer: SmtpAnswer): SmtpAnswer {
    this.#errors++
    return this.#errors < this.#parts.options.maxErrors ? answer : answers.tooManyErrors()
  }

  #scopeOf(address: string, session: SMTPServerSession): NewEmailScope | undefined {
    // RFC 5321 4.1.1.3: the one recipient without a domain.
    const whole = address.toLowerCase() === 'postmaster' ? `postmaster@${this.#parts.hostname}` : address
    const folded = foldAddress(whole)
    if (!folded) return undefined
    const { address: recipient, tag } = folded
    const { secure } = session
    const sender = senderOf(session)
    const helo = session.hostNameAppearsAs || ''
    const last = this.#scope
    const isSame =
      last?.recipient === recipient && last.sender === sender && last.helo === helo && last.secure === secure
    if (isSame) return last
    const client = last?.client ?? Object.freeze([session.remoteAddress, session.remotePort] as const)
    const server = last?.server ?? Object.freeze([session.localAddress, session.localPort] as const)
    this.#scope = { type: 'email', client, server, recipient, tag, sender, helo, secure }
    return this.#scope
  }
}

/** One message, from its last byte to the answer that its sender gets. */
class Incoming implements DataTaker, Receiver {
  readonly #parts: SessionParts
  readonly #recipients: readonly Recipient[]
  readonly #answer: (error?: unknown) => void
  #raw: Buffer = noBytes
  #sight: Sight | undefined
  /** What is stored is given back when it is; what is handled is held until the last application is done with it. */
  #hold: Hold | undefined

  constructor(parts: SessionParts, recipients: readonly Recipient[], answer: (error?: unknown) => void) {
    this.#parts = parts
    this.#recipients = recipients
    this.#answer = answer
  }

  failed(error: unknown): void {
    this.#answer(error)
  }

  message(raw: Buffer): void {
    const { options, spool } = this.#parts
    this.#raw = raw
    this.#hold = new Hold(spool, raw.length)
    try {
      const sight = (this.#sight = sightMessage(raw))
      if (sight.hops > options.maxHops) throw answers.loop(sight.hops)
      this.#deliver(sight)
    } catch (error) {
      this.#over(error)
    }
  }

  answered(answer: SmtpAnswer | undefined): void {
    const storing = this.#recipients.filter((recipient) => !waits(recipient))
    if (answer || storing.length === 0 || !this.#sight) this.#over(answer)
    else this.#store(this.#sight, storing)
  }

  released(): void {
    this.#hold?.release()
  }

  /** The rules that wait for their applications come first: if one of them has to be tried again, nothing is stored yet. */
  #deliver(sight: Sight): void {
    const scopes = this.#recipients.filter(waits).map(({ scope }) => scope)
    if (scopes.length === 0) return this.#store(sight, this.#recipients)
    const reading = openMessage(this.#raw, { sender: scopes[0]?.sender ?? '' }, sight.head)
    const hand = (read: Reading) => {
      this.#hold?.add()
      this.#parts.deliveries.deliver({ messageId: sight.messageId, head: sight.head, reading: read }, scopes, this)
    }
    if (!(reading instanceof Promise)) return hand(reading)
    void reading.then(hand).catch((error: unknown) => this.#over(error))
  }

  #store(sight: Sight, recipients: readonly Recipient[]): void {
    this.#parts.stored.accept(this.#raw, sight, recipients, (answer) => this.#over(answer))
  }

  #over(error?: unknown): void {
    this.#hold?.release()
    if (error === undefined) this.#log(250)
    else if (error instanceof SmtpAnswer) this.#log(error.responseCode)
    this.#answer(error)
  }

  #log(answer: number): void {
    const { log } = this.#parts.services
    // What goes well is a line only for who asks for it; so it is with every protocol.
    const isFine = answer < 300
    if (isFine && log.isLevelEnabled?.('debug') === false) return
    const scopes = this.#recipients.map(({ scope }) => scope)
    const { sender, client } = scopes[0] ?? {}
    const recipients = scopes.map(({ recipient }) => recipient)
    const { messageId } = this.#sight ?? {}
    const fields = { sender, recipients, client, messageId, size: this.#raw.byteLength, answer }
    if (isFine) log.debug(fields, 'a message was answered')
    else log.info(fields, 'a message was answered')
  }
}

const noBytes = Buffer.alloc(0)

function waits({ resolution }: Recipient): boolean {
  return resolution.delivery?.mode === 'handled'
}

function senderOf({ envelope }: SMTPServerSession): string {
  return envelope.mailFrom ? envelope.mailFrom.address : ''
}

/** The domain may have come as `xn--`: the package decodes it. */
function needsUtf8(address: string, { envelope }: SMTPServerSession): boolean {
  return !envelope.smtpUtf8 && /[^\x20-\x7e]/.test(address.slice(0, address.lastIndexOf('@')))
}

/** Texts on their way out, by the journal: none is forgotten, and none goes to somebody who has opted out. */
import type { Services } from '../../src/asgi/adapter.ts'
import type { StoredRecord } from '../../src/asgi/delivery.ts'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import type { Said } from '../../src/runtime/said.ts'
import { unrouted } from '../../src/runtime/unrouted.ts'
import type { Carrier } from './carrier.ts'
import type { ConsentStore } from './consent.ts'
import type { NewScope } from './message.ts'
import type { SmsOptions } from './options.ts'
import type { Outgoing } from './outgoing.ts'
import type { SmsProtocol, SmsScope } from './scope.ts'
import type { SentMessages } from './sent.ts'
import { optedOut } from './twilio-carrier.ts'

export interface OutboundParts {
  readonly services: Services<SmsProtocol>
  readonly options: Pick<SmsOptions, 'provider'>
  readonly consent: ConsentStore
  readonly sent: SentMessages
  readonly carrier: Carrier
}

/** As the journal keeps it. */
interface OutgoingEvent extends Outgoing {
  readonly type: 'sms.outgoing'
}

export class Outbound {
  readonly #parts: OutboundParts

  constructor(parts: OutboundParts) {
    this.#parts = parts
  }

  /** On whose behalf people opt out: of one number, or of a service with all of its numbers, as the provider counts it. */
  sender(ours: string): string {
    return this.#parts.options.provider.twilio.messagingServiceSid ?? ours
  }

  /** Whether this person has opted out. Then nothing goes to them, whichever way and whoever asks for it. */
  refuses({ from, to }: Outgoing): boolean {
    const sender = this.sender(from)
    if (!this.#parts.consent.stopped(to, sender)) return false
    this.#parts.services.log.warn({ to, sender }, 'not sent: this person has opted out')
    return true
  }

  /**
   * Resolves when it is on disk; it goes out then, in order for each person.
   * @throws SignalboxError `journal_full`, `journal_failed`.
   */
  async post(message: Outgoing, scope: SmsScope, said: Said | undefined): Promise<void> {
    const event: OutgoingEvent = { type: 'sms.outgoing', ...message }
    const record = { direction: 'out', scope: unrouted<SmsProtocol>(scope), event, lane: message.to } as const
    await this.#parts.services.journal.accept([said ? { ...record, key: said.key(message) } : record])
  }

  /** Makes one attempt. What is refused because of an opt-out is done with. */
  async carry({ event, scope }: StoredRecord<SmsProtocol>): Promise<void> {
    const { carrier, services } = this.#parts
    const message = event as OutgoingEvent // as `post` made it
    this.#parts.consent.lookAgain()
    if (this.refuses(message)) return
    let sid: string
    try {
      sid = await carrier.carry(message)
    } catch (error) {
      if (!isOptedOut(error)) throw error
      services.log.warn({ to: message.to, from: scope.to }, 'not sent: Twilio says that this person has opted out')
      this.record(message.to, message.from, { stopped: true, source: String(optedOut) })
      return
    }
    if (sid !== '') this.#keep(sid, message)
  }

  /** A report: `failed` and `undelivered` make a dead letter of the text, `delivered` is the end of it. */
  reported({ messageSid, status, errorCode }: Report, scope: NewScope): void {
    if (!['delivered', 'undelivered', 'failed', 'canceled', 'read'].includes(status)) return
    const message = this.#parts.sent.take(messageSid)
    if (!message || (status !== 'failed' && status !== 'undelivered')) return
    const code = errorCode === '' ? '' : ` (error ${errorCode})`
    const error = new SignalboxError('send_failed', `Twilio says of ${messageSid}: ${status}${code}`)
    this.bury(message, scope, error)
  }

  /** Keeps a text that will not be tried again, unless a person wants it. */
  bury(message: Outgoing, scope: NewScope | SmsScope, error: unknown): void {
    const event: OutgoingEvent = { type: 'sms.outgoing', ...message }
    this.#parts.services.journal.bury({ direction: 'out', scope: unrouted<SmsProtocol>(scope), event }, error)
  }

  /** What a person has said about being written to; it is on disk when this returns. */
  record(person: string, ours: string, entry: { readonly stopped: boolean; readonly source: string }): void {
    const { consent, services } = this.#parts
    const sender = this.sender(ours)
    consent.record(person, sender, entry)
    services.log.info({ person, sender, source: entry.source }, entry.stopped ? 'opted out' : 'opted in again')
  }

  /** It has gone out: whatever happens here, it must not go out again. */
  #keep(sid: string, message: Outgoing): void {
    try {
      this.#parts.sent.keep(sid, message)
    } catch (error) {
      this.#parts.services.log.error({ err: error, sid }, `a report on this text will not find it: ${reason(error)}`)
    }
  }
}

interface Report {
  readonly messageSid: string
  readonly status: string
  readonly errorCode: string
}

function isOptedOut(error: unknown): boolean {
  const cause: unknown = Error.isError(error) ? error.cause : undefined
  if (typeof cause !== 'object' || cause === null) return false
  return ('code' in cause && cause.code === optedOut) || isOptedOut(cause)
}

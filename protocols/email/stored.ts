/** Messages by way of the journal: the sender's 250 comes when they are on disk, and the applications get them from there. */
import type { Connection, Outcome, Services } from '../../src/asgi/adapter.ts'
import type { AttemptSettled, Depositor, NewRecord, StoredRecord } from '../../src/asgi/delivery.ts'
import type { Resolution } from '../../src/asgi/protocol.ts'
import { Chain, type Linked } from '../../src/runtime/chain.ts'
import { Deadline, Deadlines } from '../../src/runtime/deadlines.ts'
import { SignalboxError, hasCode, reason } from '../../src/runtime/errors.ts'
import { Said } from '../../src/runtime/said.ts'
import { settled as nothing } from '../../src/runtime/settled.ts'
import type { Work } from '../../src/runtime/work.ts'
import { type SmtpAnswer, answers } from './answers.ts'
import type { NewEmailScope } from './delivery.ts'
import { Head, splitHead } from './headers.ts'
import { type Reading, messageOf } from './message.ts'
import { openMessage, type Sight } from './parse.ts'
import type { EmailProtocol } from './scope.ts'
import { messageKey } from './seen.ts'
import type { Spool } from './spool.ts'
import { EmailTransport, type Outbound } from './transport.ts'

export interface StoredOptions {
  readonly services: Services<EmailProtocol>
  readonly outbound: Outbound
  readonly spool: Spool
  /** Remembers what has to wait before its application is called. */
  readonly work: Work
  readonly dedupe: boolean
  /** Milliseconds. */
  readonly handlerTimeout: number
}

/** A recipient, and the rule that takes it. */
export interface Recipient {
  readonly scope: NewEmailScope
  readonly resolution: Resolution
}

/** What is stored: the message itself is the record's body, and is parsed when its turn comes. */
const event = { type: 'email.message' }

/** Bytes. A longer header section is cut again at the attempt: many short fields take several times the memory of the bytes. */
const longestHeld = 16 * 1024

export class StoredMessages {
  readonly #options: StoredOptions
  readonly #attempts: AttemptParts
  /** Signals that are listened to: the journal has one for all of its records. */
  readonly #signals = new WeakSet<AbortSignal>()

  constructor(options: StoredOptions) {
    this.#options = options
    this.#attempts = { ...options, open: new Chain(), deadlines: new Deadlines(options.handlerTimeout) }
  }

  /**
   * One message to several recipients is kept once, and tried for each by itself. `told` is called once, when this has returned:
   * for 250, or with 452 when it cannot be stored.
   */
  accept(raw: Buffer, sight: Sight, recipients: readonly Recipient[], told: (answer?: SmtpAnswer) => void): void {
    const { services, dedupe } = this.#options
    const { messageId, head } = sight
    // Without an id two equal messages may be two messages.
    const known = dedupe && messageId !== '' ? messageKey(messageId, raw, head.bodyStart) : undefined
    const live = head.bodyStart <= longestHeld ? head : undefined
    const records = recipients.map(({ scope, resolution }): NewRecord<EmailProtocol> => {
      const key = known === undefined ? undefined : `${known} ${scope.recipient}`
      return { direction: 'in', scope, event, body: raw, resolution, key, live }
    })
    const offer = new Offer(services.log, messageId, told)
    const [first] = records
    if (first && records.length === 1) return services.journal.put(first, offer)
    services.journal.accept(records).then(
      (accepted) => offer.accepted(accepted.filter(({ known: before }) => before).length),
      (error: unknown) => offer.refused(error),
    )
  }

  /** Makes one attempt. */
  attempt(record: StoredRecord<EmailProtocol>, settled: AttemptSettled): void {
    this.#listen(record.signal)
    new Attempt(this.#attempts, record, settled).begin()
  }

  /** Resolves when no application runs any more. */
  async idle(): Promise<void> {
    const { open } = this.#attempts
    while (open.size > 0) await Promise.all(Array.from(open, ({ completed }) => completed))
  }

  abort(why: Error): void {
    for (const attempt of this.#attempts.open) attempt.abort(why)
  }

  /** Once for each signal: most are that of the journal, and live as long as we do. */
  #listen(signal: AbortSignal): void {
    if (this.#signals.has(signal)) return
    this.#signals.add(signal)
    const cut = () => {
      for (const attempt of this.#attempts.open) if (attempt.signal === signal) attempt.abort(signal.reason)
    }
    signal.addEventListener('abort', cut, { once: true })
  }
}

/** A message that the journal has been offered. */
class Offer implements Depositor {
  readonly #log: Services['log']
  readonly #messageId: string
  readonly #told: (answer?: SmtpAnswer) => void

  constructor(log: Services['log'], messageId: string, told: (answer?: SmtpAnswer) => void) {
    this.#log = log
    this.#messageId = messageId
    this.#told = told
  }

  stored(_id: number, known: boolean): void {
    this.accepted(known ? 1 : 0)
  }

  /** For so many recipients it was there before. */
  accepted(again: number): void {
    const messageId = this.#messageId
    if (again > 0) this.#log.info({ messageId, recipients: again }, 'this message was here before')
    this.#told()
  }

  refused(error: unknown): void {
    const messageId = this.#messageId
    this.#log.error({ err: error, messageId }, `a message could not be stored: ${reason(error)}`)
    this.#told(answers.notStored())
  }
}

interface AttemptParts extends StoredOptions {
  /** Those whose application has a message. */
  readonly open: Chain<Attempt>
  readonly deadlines: Deadlines
}

/** An attempt at a stored message. One that is plain and finds room needs no promise: there are many a second. */
class Attempt implements Linked<Attempt> {
  before: Attempt | undefined
  after: Attempt | undefined
  readonly #parts: AttemptParts
  readonly #record: StoredRecord<EmailProtocol>
  readonly #settled: AttemptSettled
  readonly #raw: Buffer
  readonly #deadline = new Deadline(() => this.#late())
  #transport: EmailTransport | undefined
  #connection: Connection<EmailProtocol> | undefined
  #isHandled = false

  constructor(parts: AttemptParts, record: StoredRecord<EmailProtocol>, settled: AttemptSettled) {
    const { buffer, byteOffset, byteLength } = record.body ?? new Uint8Array()
    this.#parts = parts
    this.#record = record
    this.#settled = settled
    this.#raw = Buffer.from(buffer, byteOffset, byteLength)
  }

  get signal(): AbortSignal {
    return this.#record.signal
  }

  get completed(): Promise<void> {
    return this.#connection?.completed ?? nothing
  }

  begin(): void {
    const { spool } = this.#parts
    const bytes = this.#raw.length
    if (spool.takeNow(bytes)) this.#read()
    else this.#later(spool.room(bytes, this.signal).then(() => this.#read(), this.#settled))
  }

  abort(why: Error): void {
    this.#connection?.abort(why)
  }

  /** The application has ended. */
  ended(outcome: Outcome): void {
    const error = this.#isHandled ? undefined : failureOf(outcome)
    // What it fails on later, in a message of its groups, is nothing that the journal hears of.
    if (this.#transport) this.#transport.isReported = !this.#isHandled
    const { aborted, reason: why } = this.signal
    this.#over(error !== undefined && aborted && !hasCode(error, 'no_route') ? why : error)
  }

  #read(): void {
    const { scope, live } = this.#record
    const raw = this.#raw
    try {
      const head = live instanceof Head ? live : splitHead(raw)
      const reading = openMessage(raw, { sender: scope.sender }, head)
      if (reading instanceof Promise) this.#later(reading.then((read) => this.#open(read)))
      else this.#open(reading)
    } catch (error) {
      this.#over(error)
    }
  }

  /** Whoever closes waits for the end of what had to wait for its beginning. */
  #later(begun: Promise<void>): void {
    const over = begun.then(() => this.completed).catch((error: unknown) => this.#over(error))
    void this.#parts.work.add(over)
  }

  #open(reading: Reading): void {
    const { services, outbound, open, deadlines } = this.#parts
    const { attempt, redelivered, signal } = this.#record
    const scope = this.#record.scope as NewEmailScope
    const message = messageOf(reading)
    const transport = (this.#transport = new EmailTransport(message, outbound, this, new Said(this.#record)))
    const again = attempt > 1 || redelivered
    const fresh = again ? { ...scope, ...(attempt > 1 && { attempt }), ...(redelivered && { redelivered }) } : scope
    const connection = (this.#connection = services.open(fresh, transport))
    transport.scope = connection.scope
    open.add(this)
    // An error is settled by the end of the application, which follows and says more.
    const handled = (error?: unknown) => {
      if (error === undefined) this.#isHandled = true
    }
    connection.deliver(message, { bytes: this.#raw.length, handled, last: 'of the peer' })
    if (signal.aborted) connection.abort(signal.reason)
    deadlines.begin(this.#deadline)
  }

  /** Its memory is its own until then. */
  #over(error?: unknown): void {
    const { spool, open, deadlines } = this.#parts
    deadlines.end(this.#deadline)
    open.delete(this)
    spool.give(this.#raw.length)
    this.#settled(error, this.#connection?.scope.id)
  }

  #late(): void {
    const { handlerTimeout } = this.#parts
    const late = `the application took longer than ${handlerTimeout} ms (handlerTimeout)`
    this.abort(new SignalboxError('timed_out', late))
  }
}

function failureOf(outcome: Outcome): unknown {
  if (outcome.kind === 'raised') return outcome.error
  if (outcome.kind !== 'abandoned') return undefined
  return new SignalboxError('abandoned', 'the application did not end and was abandoned')
}

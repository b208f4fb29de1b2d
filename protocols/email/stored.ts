/** Messages by way of the journal: the sender's 250 comes when they are on disk, and the applications get them from there. */
import type { Connection, Outcome, Services } from '../../src/asgi/adapter.ts'
import type { StoredRecord } from '../../src/asgi/delivery.ts'
import type { Resolution } from '../../src/asgi/protocol.ts'
import { Chain, type Linked } from '../../src/runtime/chain.ts'
import { Deadline, Deadlines } from '../../src/runtime/deadlines.ts'
import { SignalboxError, hasCode, reason } from '../../src/runtime/errors.ts'
import { Said } from '../../src/runtime/said.ts'
import { answers } from './answers.ts'
import type { NewEmailScope } from './delivery.ts'
import { Head, splitHead } from './headers.ts'
import { messageOf } from './message.ts'
import { openMessage, type Sight } from './parse.ts'
import type { EmailProtocol } from './scope.ts'
import { messageKey } from './seen.ts'
import type { Spool } from './spool.ts'
import { EmailTransport, type Outbound } from './transport.ts'

export interface StoredOptions {
  readonly services: Services<EmailProtocol>
  readonly outbound: Outbound
  readonly spool: Spool
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

/** An application that has a message, and the signal that says when it is to let go. */
interface Open extends Linked<Open> {
  readonly connection: Connection<EmailProtocol>
  readonly signal: AbortSignal
}

export class StoredMessages {
  readonly #options: StoredOptions
  readonly #open = new Chain<Open>()
  readonly #deadlines: Deadlines
  /** Signals that are listened to: the journal has one for all of its records. */
  readonly #signals = new WeakSet<AbortSignal>()

  constructor(options: StoredOptions) {
    this.#options = options
    this.#deadlines = new Deadlines(options.handlerTimeout)
  }

  /**
   * Resolves for 250: one message to several recipients is kept once, and tried for each by itself.
   * @throws SmtpAnswer 452 when it cannot be stored.
   */
  async accept(raw: Buffer, { messageId, head }: Sight, recipients: readonly Recipient[]): Promise<void> {
    const { services, dedupe } = this.#options
    // Without an id two equal messages may be two messages.
    const known = dedupe && messageId !== '' ? messageKey(messageId, raw, head.bodyStart) : undefined
    const live = head.bodyStart <= longestHeld ? head : undefined
    const records = recipients.map(({ scope, resolution }) => {
      const record = { direction: 'in', scope, event, body: raw, resolution, live } as const
      return known === undefined ? record : { ...record, key: `${known} ${scope.recipient}` }
    })
    try {
      const accepted = await services.journal.accept(records)
      const again = accepted.filter(({ known: before }) => before).length
      if (again > 0) services.log.info({ messageId, recipients: again }, 'this message was here before')
    } catch (error) {
      services.log.error({ err: error, messageId }, `a message could not be stored: ${reason(error)}`)
      throw answers.notStored()
    }
  }

  /** Makes one attempt, in a scope whose id `onOpen` is told. */
  async attempt(record: StoredRecord<EmailProtocol>, onOpen: (scopeId: string) => void): Promise<void> {
    const { spool } = this.#options
    const { buffer, byteOffset, byteLength } = record.body ?? new Uint8Array()
    const raw = Buffer.from(buffer, byteOffset, byteLength)
    if (!spool.takeNow(raw.length)) await spool.room(raw.length, record.signal)
    try {
      await this.#handle(raw, record, onOpen)
    } finally {
      spool.give(raw.length)
    }
  }

  /** Resolves when no application runs any more. */
  async idle(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(Array.from(this.#open, ({ connection }) => connection.completed))
  }

  abort(why: Error): void {
    for (const { connection } of this.#open) connection.abort(why)
  }

  async #handle(raw: Buffer, record: StoredRecord<EmailProtocol>, onOpen: (scopeId: string) => void): Promise<void> {
    const { services, outbound } = this.#options
    const { attempt, redelivered, signal, live } = record
    const scope = record.scope as NewEmailScope
    const head = live instanceof Head ? live : splitHead(raw)
    const opened = openMessage(raw, { sender: scope.sender }, head)
    const message = messageOf(opened instanceof Promise ? await opened : opened)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    let isHandled = false
    const ended = (outcome: Outcome) => {
      const error = failureOf(outcome)
      // What it fails on later, in a message of its groups, is nothing that the journal hears of.
      transport.isReported = !isHandled
      if (error === undefined) resolve()
      else reject(signal.aborted && !hasCode(error, 'no_route') ? signal.reason : error)
    }
    const transport = new EmailTransport(message, outbound, { ended }, new Said(record))
    const again = attempt > 1 || redelivered
    const fresh = again ? { ...scope, ...(attempt > 1 && { attempt }), ...(redelivered && { redelivered }) } : scope
    const connection = services.open(fresh, transport)
    transport.scope = connection.scope
    onOpen(connection.scope.id)
    const open: Open = { connection, signal }
    this.#open.add(open)
    // An error is settled by the end of the application, which follows and says more.
    const handled = (error?: unknown) => {
      if (error !== undefined) return
      isHandled = true
      resolve()
    }
    connection.deliver(message, { bytes: raw.length, handled, last: 'of the peer' })
    this.#listen(signal)
    if (signal.aborted) connection.abort(signal.reason)
    const deadline = new Deadline(() => this.#late(connection))
    this.#deadlines.begin(deadline)
    try {
      await promise
      // Its memory is its own until it ends.
      if (!connection.ended) await connection.completed
    } finally {
      this.#deadlines.end(deadline)
      this.#open.delete(open)
    }
  }

  #late(connection: Connection<EmailProtocol>): void {
    const { handlerTimeout } = this.#options
    const late = `the application took longer than ${handlerTimeout} ms (handlerTimeout)`
    connection.abort(new SignalboxError('timed_out', late))
  }

  /** Once for each signal: most are that of the journal, and live as long as we do. */
  #listen(signal: AbortSignal): void {
    if (this.#signals.has(signal)) return
    this.#signals.add(signal)
    const cut = () => {
      for (const open of this.#open) if (open.signal === signal) open.connection.abort(signal.reason)
    }
    signal.addEventListener('abort', cut, { once: true })
  }
}

function failureOf(outcome: Outcome): unknown {
  if (outcome.kind === 'raised') return outcome.error
  if (outcome.kind !== 'abandoned') return undefined
  return new SignalboxError('abandoned', 'the application did not end and was abandoned')
}

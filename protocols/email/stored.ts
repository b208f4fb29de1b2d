/** Messages by way of the journal: the sender's 250 comes when they are on disk, and the applications get them from there. */
import type { Connection, Outcome, Services } from '../../src/asgi/adapter.ts'
import type { StoredRecord } from '../../src/asgi/delivery.ts'
import type { Resolution } from '../../src/asgi/protocol.ts'
import { SignalboxError, hasCode, reason } from '../../src/runtime/errors.ts'
import { Said } from '../../src/runtime/said.ts'
import { answers } from './answers.ts'
import type { NewEmailScope } from './delivery.ts'
import { parseMessage } from './parse.ts'
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

export class StoredMessages {
  readonly #options: StoredOptions
  readonly #open = new Set<Connection<EmailProtocol>>()

  constructor(options: StoredOptions) {
    this.#options = options
  }

  /**
   * Resolves for 250: one message to several recipients is kept once, and tried for each by itself.
   * @throws SmtpAnswer 452 when it cannot be stored.
   */
  async accept(raw: Buffer, messageId: string, recipients: readonly Recipient[]): Promise<void> {
    const { services, dedupe } = this.#options
    // Without an id two equal messages may be two messages.
    const known = dedupe && messageId !== '' ? messageKey({ messageId, raw }) : undefined
    const records = recipients.map(({ scope, resolution }) => {
      const record = { direction: 'in', scope, event, body: raw, resolution } as const
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

  /** Makes one attempt. */
  async attempt(record: StoredRecord<EmailProtocol>): Promise<void> {
    const { spool } = this.#options
    const { buffer, byteOffset, byteLength } = record.body ?? new Uint8Array()
    const raw = Buffer.from(buffer, byteOffset, byteLength)
    await spool.room(raw.length, record.signal)
    try {
      await this.#handle(raw, record)
    } finally {
      spool.give(raw.length)
    }
  }

  /** Resolves when no application runs any more. */
  async idle(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(Array.from(this.#open, ({ completed }) => completed))
  }

  abort(why: Error): void {
    for (const connection of this.#open) connection.abort(why)
  }

  async #handle(raw: Buffer, record: StoredRecord<EmailProtocol>): Promise<void> {
    const { services, outbound, handlerTimeout } = this.#options
    const { scope, attempt, redelivered, signal } = record
    const message = await parseMessage(raw, { sender: (scope as NewEmailScope).sender })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const ended = (outcome: Outcome) => {
      const error = failureOf(outcome)
      if (error === undefined) resolve()
      else reject(signal.aborted && !hasCode(error, 'no_route') ? signal.reason : error)
    }
    const transport = new EmailTransport(message, outbound, ended, new Said(record))
    const fresh = { ...(scope as NewEmailScope), ...(attempt > 1 && { attempt }), ...(redelivered && { redelivered }) }
    const connection = services.open(fresh, transport)
    transport.scope = connection.scope
    this.#open.add(connection)
    // An error is settled by the end of the application, which follows and says more.
    const handled = (error?: unknown) => {
      if (error === undefined) resolve()
    }
    connection.deliver(message, { bytes: raw.length, handled, last: 'of the peer' })
    const cut = () => connection.abort(signal.reason)
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    const late = `the application took longer than ${handlerTimeout} ms (handlerTimeout)`
    const timer = setTimeout(() => connection.abort(new SignalboxError('timed_out', late)), handlerTimeout)
    try {
      await promise
      // Its memory is its own until it ends.
      await connection.completed
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', cut)
      this.#open.delete(connection)
    }
  }
}

function failureOf(outcome: Outcome): unknown {
  if (outcome.kind === 'raised') return outcome.error
  if (outcome.kind !== 'abandoned') return undefined
  return new SignalboxError('abandoned', 'the application did not end and was abandoned')
}

/** One message to all of its recipients, and the one answer that its sender gets. */
import type { Connection, Outcome, Services, Unrouted } from '../../src/asgi/adapter.ts'
import { Chain, type Linked } from '../../src/runtime/chain.ts'
import { Deadline, Deadlines } from '../../src/runtime/deadlines.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { settled as atOnce } from '../../src/runtime/settled.ts'
import { answers, type SmtpAnswer } from './answers.ts'
import { Fate, handled, type Handling, type Waiter } from './handling.ts'
import { messageOf, type Reading } from './message.ts'
import type { Sight } from './parse.ts'
import type { EmailProtocol, EmailScope } from './scope.ts'
import { messageKey, type Seen } from './seen.ts'
import { EmailTransport, type Outbound, type Rejection } from './transport.ts'

export type NewEmailScope = Unrouted<EmailScope>

export interface DeliveryOptions {
  readonly services: Services<EmailProtocol>
  readonly outbound: Outbound
  readonly seen: Seen
  readonly dedupe: boolean
  /** Milliseconds. */
  readonly handlerTimeout: number
}

/** A message, and what it is known by. */
export interface Mail extends Pick<Sight, 'messageId' | 'head'> {
  readonly reading: Reading
}

/** Who has taken a message from its sender. */
export interface Receiver {
  /** Undefined: every recipient's application has handled it, or refused it while another one took it. */
  answered(answer: SmtpAnswer | undefined): void
  /** Nobody works on the message any more, which may be later. */
  released(): void
}

/** One recipient's part in a message. */
interface Part {
  readonly key: string
  /** What it comes to in the end. */
  readonly fate: Fate
  /** What its application does; undefined when it does not run for this message. */
  readonly attempt: Attempt | undefined
}

/** Opens one scope a recipient; remembers who was served. */
export class Deliveries {
  readonly #options: DeliveryOptions
  readonly #open = new Chain<Attempt>()
  /** Those whose sender waits. */
  readonly #waiting: Deadlines

  constructor(options: DeliveryOptions) {
    this.#options = options
    this.#waiting = new Deadlines(options.handlerTimeout)
  }

  /** Resolves when no application runs any more. */
  async idle(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(Array.from(this.#open, ({ connection }) => connection.completed))
  }

  abort(reason: Error): void {
    for (const { connection } of this.#open) connection.abort(reason)
  }

  deliver(mail: Mail, scopes: readonly NewEmailScope[], receiver: Receiver): void {
    const { messageId, reading, head } = mail
    const key = this.#options.dedupe ? messageKey(messageId, reading.raw, head.bodyStart) : ''
    const parts = scopes.map((scope) => this.#part(mail, scope, `${key} ${scope.recipient}`))
    const answering = new Answering(parts, {
      answered: (handlings) => {
        this.#waiting.end(deadline)
        for (const { attempt } of parts) attempt?.transport.answered()
        const answer = combine(handlings)
        this.#remember(mail, parts, answer)
        if (!answer) this.#reportRefusals(mail, parts, handlings)
        receiver.answered(answer)
      },
      released: () => receiver.released(),
    })
    const deadline = new Deadline(() => answering.late())
    this.#waiting.begin(deadline)
    answering.begin()
  }

  #part(mail: Mail, scope: NewEmailScope, key: string): Part {
    const { seen, dedupe, services } = this.#options
    const before = dedupe ? seen.find(key) : undefined
    if (before) {
      services.log.info({ recipient: scope.recipient, messageId: mail.messageId }, 'this message was here before')
      return { key, fate: before, attempt: undefined }
    }
    const attempt = this.#try(mail, scope)
    const fate = attempt?.fate ?? Fate.of({ kind: 'failed', answer: answers.failed() })
    // Without an id two equal messages may be two messages: they are known only while their sender has to come again.
    if (dedupe && mail.messageId !== '') seen.keep(key, fate)
    return { key, fate, attempt }
  }

  #try({ reading }: Mail, scope: NewEmailScope): Attempt | undefined {
    const { services } = this.#options
    try {
      return new Attempt(this.#options, { scope, reading, open: this.#open })
    } catch (error) {
      services.log.error({ err: error, recipient: scope.recipient }, 'no scope could be opened for a message')
      return undefined
    }
  }

  #remember({ messageId }: Mail, parts: readonly Part[], answer: SmtpAnswer | undefined): void {
    const { seen, dedupe } = this.#options
    if (!dedupe) return
    // The sender comes again: whoever was served is not served twice, nor is whoever still works on it.
    if (answer?.isTemporary && messageId === '') for (const { key, fate } of parts) seen.keep(key, fate)
    // A sender that is told `never` and comes all the same asks anew.
    if (answer && !answer.isTemporary) for (const { key } of parts) seen.forget(key)
    if (!answer && messageId === '') for (const { key } of parts) seen.forget(key)
  }

  /** One answer for all: it was 250. A bounce of our own would go to whoever the sender was forged as. */
  #reportRefusals({ reading }: Mail, parts: readonly Part[], handlings: readonly Handling[]): void {
    const { seen, services } = this.#options
    for (const [index, handling] of handlings.entries()) {
      if (handling.kind !== 'rejected') continue
      const { scope, code, text } = handling
      const error = new Error(`refused with ${code} ${text}, and taken by another recipient`)
      services.failed(scope, messageOf(reading), error)
      const key = parts[index]?.key ?? ''
      // Told once.
      if (seen.find(key)) seen.keep(key, Fate.of(handled))
    }
  }
}

/** What an attempt is made of. */
interface Opening {
  readonly scope: NewEmailScope
  readonly reading: Reading
  /** Those whose application runs. */
  readonly open: Chain<Attempt>
}

/** One recipient's application, while it has the message. */
class Attempt implements Linked<Attempt> {
  before: Attempt | undefined
  after: Attempt | undefined
  readonly fate = new Fate()
  readonly transport: EmailTransport
  readonly connection: Connection<EmailProtocol>
  readonly #services: Services<EmailProtocol>
  readonly #opening: Opening

  constructor({ services, outbound }: DeliveryOptions, opening: Opening) {
    const { scope, reading, open } = opening
    this.#services = services
    this.#opening = opening
    // Each has a message of its own.
    const message = messageOf(reading)
    this.transport = new EmailTransport(message, outbound, this)
    this.connection = services.open(scope, this.transport)
    this.transport.scope = this.connection.scope
    open.add(this)
    // An error is settled by the end of the application, which follows and says more.
    const done = (error?: unknown) => {
      if (error === undefined) this.fate.settle(settled(this.connection.scope, this.transport.rejection))
    }
    this.connection.deliver(message, { bytes: reading.raw.byteLength, handled: done, last: 'of the peer' })
  }

  ended(outcome: Outcome): void {
    const { scope, open } = this.#opening
    open.delete(this)
    if (outcome.kind === 'raised' && hasCode(outcome.error, 'no_route')) this.#services.unrouted(scope, scope.recipient)
    this.fate.settle(handlingOf(outcome, this.connection.scope, this.transport.rejection))
  }

  /** Its sender has to be answered without it. */
  late(): void {
    this.connection.abort(new SignalboxError('timed_out', 'the sender had to be answered'))
  }
}

interface Answerer {
  answered(handlings: readonly Handling[]): void
  released(): void
}

/**
 * What the recipients' parts have come to when the sender has to be answered: one that is late has failed. A sender waits ten
 * minutes (RFC 5321 4.5.3.2.6), its patience is not ours to use up.
 */
class Answering implements Waiter {
  readonly #parts: readonly Part[]
  readonly #answerer: Answerer
  #left: number
  #isAnswered = false

  constructor(parts: readonly Part[], answerer: Answerer) {
    this.#parts = parts
    this.#answerer = answerer
    this.#left = parts.length
  }

  begin(): void {
    for (const { fate } of this.#parts) fate.tell(this)
  }

  settled(): void {
    if (--this.#left > 0) return
    // Not in the middle of the application's last step: the answer has the parser go on with the next command.
    void atOnce.then(() => {
      if (!this.#isAnswered) this.#answer()
      this.#answerer.released()
    })
  }

  late(): void {
    for (const { fate, attempt } of this.#parts) if (!fate.handling) attempt?.late()
    if (!this.#isAnswered) this.#answer()
  }

  #answer(): void {
    this.#isAnswered = true
    const late = (): Handling => ({ kind: 'failed', answer: answers.late() })
    this.#answerer.answered(this.#parts.map(({ fate }) => fate.handling ?? late()))
  }
}

/** Temporary before all, because then the sender comes again; otherwise positive as soon as one has taken it. */
function combine(handlings: readonly Handling[]): SmtpAnswer | undefined {
  const failed = handlings.find(({ kind }) => kind === 'failed')
  if (failed?.kind === 'failed') return failed.answer
  if (handlings.some(({ kind }) => kind === 'handled')) return undefined
  const rejected = handlings.find(({ kind }) => kind === 'rejected')
  return rejected?.kind === 'rejected' ? answers.rejected(rejected.code, rejected.text) : undefined
}

function settled(scope: EmailScope, rejection: Rejection | undefined): Handling {
  if (!rejection) return handled
  if (rejection.code < 500) return { kind: 'failed', answer: answers.rejected(rejection.code, rejection.text) }
  return { kind: 'rejected', scope, ...rejection }
}

function handlingOf(outcome: Outcome, scope: EmailScope, rejection: Rejection | undefined): Handling {
  if (rejection || outcome.kind !== 'raised') {
    return outcome.kind === 'abandoned' ? { kind: 'failed', answer: answers.late() } : settled(scope, rejection)
  }
  // A router below one that could not be asked at RCPT.
  if (hasCode(outcome.error, 'no_route'))
    return { kind: 'rejected', scope, code: 550, text: answers.unrouted().message }
  return { kind: 'failed', answer: hasCode(outcome.error, 'timed_out') ? answers.late() : answers.failed() }
}

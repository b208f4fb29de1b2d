/** One message to all of its recipients, and the one answer that its sender gets. */
import type { Connection, Outcome, Services, Unrouted } from '../../src/asgi/adapter.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { answers, type SmtpAnswer } from './answers.ts'
import type { Handling } from './handling.ts'
import type { EmailMessage, EmailProtocol, EmailScope } from './scope.ts'
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

interface Attempt {
  readonly key: string
  /** What it comes to in the end. */
  readonly final: Promise<Handling>
  /** The sender has its answer without it. */
  readonly late: () => void
  readonly answered: () => void
}

const nothing = () => undefined

/** Opens one scope a recipient; remembers who was served. */
export class Deliveries {
  readonly #options: DeliveryOptions
  readonly #open = new Set<Connection<EmailProtocol>>()

  constructor(options: DeliveryOptions) {
    this.#options = options
  }

  /** Resolves when no application runs any more. */
  async idle(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(Array.from(this.#open, ({ completed }) => completed))
  }

  abort(reason: Error): void {
    for (const connection of this.#open) connection.abort(reason)
  }

  /**
   * Resolves for 250: every recipient's application has handled the message, or refused it while another one took it.
   * @throws SmtpAnswer otherwise. `released` is called when nobody works on the message any more, which may be later.
   */
  async deliver(message: EmailMessage, scopes: readonly NewEmailScope[], released: () => void): Promise<void> {
    const key = messageKey(message)
    const attempts = scopes.map((scope) => this.#attempt(message, scope, `${key} ${scope.recipient}`))
    const handlings = await this.#inTime(attempts, released)
    for (const { answered } of attempts) answered()
    const answer = combine(handlings)
    this.#remember(message, attempts, answer)
    if (answer) throw answer
    this.#reportRefusals(message, attempts, handlings)
  }

  #attempt(message: EmailMessage, scope: NewEmailScope, key: string): Attempt {
    const { seen, dedupe, services } = this.#options
    const before = dedupe ? seen.find(key) : undefined
    if (before) {
      services.log.info({ recipient: scope.recipient, messageId: message.messageId }, 'this message was here before')
      return { key, final: before, late: nothing, answered: nothing }
    }
    const attempt = this.#try(message, scope, key)
    // Without an id two equal messages may be two messages: they are known only while their sender has to come again.
    if (dedupe && message.messageId !== '') seen.keep(key, attempt.final)
    return attempt
  }

  #try(message: EmailMessage, scope: NewEmailScope, key: string): Attempt {
    try {
      return this.#begin(message, scope, key)
    } catch (error) {
      this.#options.services.log.error(
        { err: error, recipient: scope.recipient },
        'no scope could be opened for a message',
      )
      const final = Promise.resolve<Handling>({ kind: 'failed', answer: answers.failed() })
      return { key, final, late: nothing, answered: nothing }
    }
  }

  #begin(message: EmailMessage, scope: NewEmailScope, key: string): Attempt {
    const { services, outbound } = this.#options
    const { promise: final, resolve } = Promise.withResolvers<Handling>()
    const transport = new EmailTransport(message, outbound, (outcome) => {
      this.#open.delete(connection)
      if (outcome.kind === 'raised' && hasCode(outcome.error, 'no_route')) services.unrouted(scope, scope.recipient)
      resolve(handlingOf(outcome, connection.scope, transport.rejection))
    })
    const connection = services.open(scope, transport)
    transport.scope = connection.scope
    this.#open.add(connection)
    // An error is settled by the end of the application, which follows and says more.
    const handled = (error?: unknown) => {
      if (error === undefined) resolve(settled(connection.scope, transport.rejection))
    }
    connection.deliver({ ...message }, { bytes: message.raw.byteLength, handled, last: 'of the peer' })
    const late = () => connection.abort(new SignalboxError('timed_out', 'the sender had to be answered'))
    return { key, final, late, answered: () => transport.answered() }
  }

  /**
   * What they have come to when the sender has to be answered: one that is late has failed. A sender waits ten minutes
   * (RFC 5321 4.5.3.2.6), its patience is not ours to use up. `released` is called when all are over.
   */
  #inTime(attempts: readonly Attempt[], released: () => void): Promise<readonly Handling[]> {
    const { promise, resolve } = Promise.withResolvers<readonly Handling[]>()
    const handlings: (Handling | undefined)[] = attempts.map(() => undefined)
    let left = attempts.length
    const timer = setTimeout(() => {
      for (const [index, { late }] of attempts.entries()) if (!handlings[index]) late()
      resolve(handlings.map((handling) => handling ?? { kind: 'failed', answer: answers.late() }))
    }, this.#options.handlerTimeout)
    for (const [index, { final }] of attempts.entries()) {
      void final.then((handling) => {
        handlings[index] = handling
        if (--left > 0) return
        clearTimeout(timer)
        resolve(handlings as readonly Handling[]) // none is left
        released()
      })
    }
    return promise
  }

  #remember(message: EmailMessage, attempts: readonly Attempt[], answer: SmtpAnswer | undefined): void {
    const { seen, dedupe } = this.#options
    if (!dedupe) return
    // The sender comes again: whoever was served is not served twice, nor is whoever still works on it.
    if (answer?.isTemporary && message.messageId === '') for (const { key, final } of attempts) seen.keep(key, final)
    // A sender that is told `never` and comes all the same asks anew.
    if (answer && !answer.isTemporary) for (const { key } of attempts) seen.forget(key)
    if (!answer && message.messageId === '') for (const { key } of attempts) seen.forget(key)
  }

  /** One answer for all: it was 250. A bounce of our own would go to whoever the sender was forged as. */
  #reportRefusals(message: EmailMessage, attempts: readonly Attempt[], handlings: readonly Handling[]): void {
    const { seen, services } = this.#options
    for (const [index, handling] of handlings.entries()) {
      if (handling.kind !== 'rejected') continue
      const { scope, code, text } = handling
      services.failed(scope, message, new Error(`refused with ${code} ${text}, and taken by another recipient`))
      const key = attempts[index]?.key ?? ''
      // Told once.
      if (seen.find(key)) seen.keep(key, Promise.resolve({ kind: 'handled' }))
    }
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
  if (!rejection) return { kind: 'handled' }
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

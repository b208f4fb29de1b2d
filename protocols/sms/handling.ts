/** Gives events to applications: while the provider waits, or out of the journal. */
import type { Connection, Services } from '../../src/asgi/adapter.ts'
import type { StoredRecord } from '../../src/asgi/delivery.ts'
import type { Resolution } from '../../src/asgi/protocol.ts'
import { Chain } from '../../src/runtime/chain.ts'
import { Deadlines } from '../../src/runtime/deadlines.ts'
import { SignalboxError, hasCode, isTemporary, reason } from '../../src/runtime/errors.ts'
import { Said } from '../../src/runtime/said.ts'
import { SharedAnswer, askAgain, messages, nothingToSay, sentence } from './answer.ts'
import { Exchange, type ExchangeOptions, type Shared } from './exchange.ts'
import type { NewScope } from './message.ts'
import type { Outbound } from './outbound.ts'
import type { SmsProtocol } from './scope.ts'

type Event = SmsProtocol['receive']

/** An event that has just come in. */
export interface Arrival {
  readonly scope: NewScope
  readonly event: Event
  readonly answer: SharedAnswer
  /** What the provider knows the event by. */
  readonly key: string
  /** Its repetition is to be handled as new. */
  readonly forget: () => void
}

export interface HandlingParts {
  readonly services: Services<SmsProtocol>
  readonly options: Shared['options']
  readonly outbound: Outbound
}

export class Handling {
  readonly #parts: HandlingParts
  readonly #shared: Shared
  readonly #open = new Chain<Exchange>()
  /** Of answers that wait for an application. */
  readonly #replies: Deadlines

  constructor(parts: HandlingParts) {
    this.#parts = parts
    const { options, outbound } = parts
    const { replyTimeout, handlerTimeout } = options
    const first = new Deadlines(Math.min(replyTimeout, handlerTimeout))
    const second = new Deadlines(Math.abs(handlerTimeout - replyTimeout))
    this.#shared = { options, outbound, deadlines: [first, second], ended: (exchange) => this.#open.delete(exchange) }
    this.#replies = new Deadlines(replyTimeout)
  }

  /** How many scopes are open. */
  get open(): number {
    return this.#open.size
  }

  take(arrival: Arrival): void {
    const { scope, event, answer } = arrival
    const { services } = this.#parts
    const resolution = services.resolve(scope)
    if (!resolution) {
      services.unrouted(scope, scope.from)
      answer.settle(positive(event))
    } else if (resolution.delivery?.mode === 'handled') this.#handle(arrival)
    else void this.#store(arrival, resolution)
  }

  /** Makes one attempt at what is stored, in a scope whose id `onOpen` is told. */
  attempt(record: StoredRecord<SmsProtocol>, onOpen: (scopeId: string) => void): Promise<void> {
    const { scope, attempt, redelivered, signal } = record
    const event = record.event as Event // as it was stored
    // Whoever waited for it has left, or has had its answer.
    const answer = record.live instanceof SharedAnswer ? record.live : new SharedAnswer()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const connection = this.#begin(
      { ...(scope as NewScope), ...(attempt > 1 && { attempt }), ...(redelivered && { redelivered }) },
      {
        event,
        answer,
        said: new Said(record),
        handled: resolve,
        failed: (_, error) => {
          // It is ours: the provider need not come again.
          answer.settle(positive(event))
          reject(signal.aborted ? signal.reason : error)
        },
      },
    )
    onOpen(connection.scope.id)
    const cut = () => connection.abort(signal.reason)
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    return promise.finally(() => signal.removeEventListener('abort', cut))
  }

  /** Waits for the applications; those that still run when `signal` aborts are told to end. */
  async close(signal: AbortSignal): Promise<void> {
    const hurry = () => {
      const closing = new SignalboxError('closing', 'the gateway is closing')
      for (const { connection } of this.#open) connection.abort(closing)
    }
    if (signal.aborted) hurry()
    signal.addEventListener('abort', hurry, { once: true })
    await Promise.all(Array.from(this.#open, ({ connection }) => connection.completed))
    signal.removeEventListener('abort', hurry)
  }

  /** The provider has its answer when the application has handled the event. */
  #handle({ scope, event, answer, forget }: Arrival): void {
    const { services } = this.#parts
    this.#begin(scope, {
      event,
      answer,
      handled: () => undefined,
      failed: (opened, error, waiting) => {
        if (hasCode(error, 'no_route')) {
          services.unrouted(opened, opened.from)
          return answer.settle(positive(event))
        }
        // It repeats only where the operator has asked it to (`#rc` and `#rp` in the URL), so the event is kept in any case.
        if (waiting) {
          forget()
          this.#refuse(answer, error)
        }
        services.failed(opened, event, error)
      },
    })
  }

  /** The provider has its answer when the event is on disk; while it waits, the replies go with it. */
  async #store({ scope, event, answer, key, forget }: Arrival, resolution: Resolution): Promise<void> {
    const { services } = this.#parts
    try {
      const [accepted] = await services.journal.accept([
        { direction: 'in', scope, event, resolution, key, lane: scope.from, live: answer },
      ])
      // Before a restart, so what was answered then is not known.
      if (!accepted || accepted.known) return answer.settle(positive(event))
      answer.settleAfter(this.#replies, positive(event))
      // What waited on disk, behind others, no longer knows whom to answer.
      await services.journal.attempted(accepted.id)
      answer.settle(positive(event))
    } catch (error) {
      services.log.error({ err: error }, `a request of Twilio could not be stored: ${reason(error)}`)
      forget()
      this.#refuse(answer, error)
    }
  }

  #begin(scope: NewScope, options: ExchangeOptions): Connection<SmsProtocol> {
    const exchange = new Exchange(this.#shared, options)
    const connection = this.#parts.services.open(scope, exchange)
    this.#open.add(exchange)
    exchange.begin(connection)
    return connection
  }

  #refuse(answer: SharedAnswer, error: unknown): void {
    if (!isTemporary(error)) return answer.settle(sentence(500, 'The application failed.'))
    this.#parts.services.refused(503)
    answer.settle(askAgain)
  }
}

const positive = ({ type }: Event) => (type === 'sms.status' ? nothingToSay : messages([]))

/** One message or report and its application: gathers the replies, answers the webhook in time, and sends the rest later. */
import type { Connection, Outcome, Transport } from '../../src/asgi/adapter.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import type { Said } from '../../src/runtime/said.ts'
import { type SharedAnswer, messages, nothingToSay } from './answer.ts'
import type { SmsOptions } from './options.ts'
import type { Outbound } from './outbound.ts'
import { type Outgoing, outgoing } from './outgoing.ts'
import type { SmsProtocol, SmsScope } from './scope.ts'

/** What all exchanges share. */
export interface Shared {
  readonly options: Pick<SmsOptions, 'replyTimeout' | 'handlerTimeout'>
  readonly outbound: Outbound
  /** The application has ended. */
  readonly ended: (connection: Connection<SmsProtocol>) => void
}

export interface ExchangeOptions {
  readonly event: SmsProtocol['receive']
  readonly answer: SharedAnswer
  /** Of an event that may be tried again: so that what was sent is not sent again. */
  readonly said?: Said | undefined
  readonly handled: () => void
  /** The application failed; `waiting`: the provider has no answer yet, and is given none here. */
  readonly failed: (scope: SmsScope, error: unknown, waiting: boolean) => void
}

/** Replies in one answer; an application that says more is in a loop. */
const mostReplies = 100

export class Exchange implements Transport<SmsProtocol> {
  readonly #shared: Shared
  readonly #options: ExchangeOptions
  #connection: Connection<SmsProtocol> | undefined
  #replies: Outgoing[] = []
  #answered = false
  #handled = false
  #spoke = false
  #timer: NodeJS.Timeout | undefined

  constructor(shared: Shared, options: ExchangeOptions) {
    this.#shared = shared
    this.#options = options
  }

  get progress() {
    return this.#spoke ? 'finished' : 'none'
  }

  /** Hands the event to the application that was opened for it. */
  begin(connection: Connection<SmsProtocol>): void {
    const { event } = this.#options
    this.#connection = connection
    this.#startTimer(connection)
    const handled = (error?: unknown) => {
      // What failed is told to `end`, which follows and knows more.
      if (error === undefined) this.#finish()
    }
    const bytes = event.type === 'sms.message' ? event.body.length : 0
    connection.deliver(event, { handled, last: 'of the peer', bytes })
  }

  send(event: SmsProtocol['send']): void | Promise<void> {
    const { scope } = this.#open()
    const message = outgoing(event, scope)
    this.#spoke = true
    if (this.#shared.outbound.refuses(message)) return
    if (event.type === 'sms.send' || this.#answered) return this.#post(message)
    if (this.#replies.length >= mostReplies) {
      throw new SignalboxError('too_large', `sms.reply: found more than ${mostReplies} replies to one message`)
    }
    this.#replies.push(message)
  }

  end(outcome: Outcome): void {
    clearTimeout(this.#timer)
    this.#shared.ended(this.#open())
    if (this.#handled) return
    const error = failureOf(outcome)
    if (error === undefined) return this.#finish()
    const waiting = !this.#answered
    this.#answered = true
    this.#replies = []
    this.#options.failed(this.#open().scope, error, waiting)
  }

  #finish(): void {
    this.#handled = true
    this.#settle()
    this.#options.handled()
  }

  /** One timer for both deadlines, as most events meet neither. */
  #startTimer(connection: Connection<SmsProtocol>): void {
    const { replyTimeout, handlerTimeout } = this.#shared.options
    const settle = () => this.#settle()
    const abort = () => connection.abort(tooSlow(handlerTimeout))
    const [first, second] = replyTimeout < handlerTimeout ? [settle, abort] : [abort, settle]
    const expire = () => {
      this.#timer = setTimeout(second, Math.abs(handlerTimeout - replyTimeout))
      first()
    }
    this.#timer = setTimeout(expire, Math.min(replyTimeout, handlerTimeout))
  }

  /** Answers the webhook with what there is; replies that nobody is there to take go by the provider's other way. */
  #settle(): void {
    if (this.#answered) return
    this.#answered = true
    const { answer, event } = this.#options
    const replies = this.#replies
    this.#replies = []
    if (event.type === 'sms.status') return answer.settle(nothingToSay)
    if (answer.awaited) return answer.settle(messages(replies))
    answer.settle(messages([]))
    const { scope } = this.#open()
    const { outbound } = this.#shared
    for (const reply of replies) this.#post(reply).catch((error: unknown) => outbound.bury(reply, scope, error))
  }

  #post(message: Outgoing): Promise<void> {
    return this.#shared.outbound.post(message, this.#open().scope, this.#options.said)
  }

  #open(): Connection<SmsProtocol> {
    if (this.#connection) return this.#connection
    throw new TypeError('an exchange is used before it has begun')
  }
}

function failureOf(outcome: Outcome): unknown {
  if (outcome.kind === 'raised') return outcome.error
  if (outcome.kind !== 'abandoned') return undefined
  return new SignalboxError('abandoned', 'the application did not end and was abandoned')
}

function tooSlow(handlerTimeout: number): SignalboxError {
  return new SignalboxError('timed_out', `the application took longer than ${handlerTimeout} ms (handlerTimeout)`)
}

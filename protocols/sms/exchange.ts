/** One message or report and its application: gathers the replies, answers the webhook in time, and sends the rest later. */
import type { Connection, Outcome, Transport } from '../../src/asgi/adapter.ts'
import type { Linked } from '../../src/runtime/chain.ts'
import { Deadline, type Deadlines } from '../../src/runtime/deadlines.ts'
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
  /** Until the earlier of the two, and from there to the later one. */
  readonly deadlines: readonly [Deadlines, Deadlines]
  /** The application has ended. */
  readonly ended: (exchange: Exchange) => void
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

export class Exchange implements Transport<SmsProtocol>, Linked<Exchange> {
  before: Exchange | undefined = undefined
  after: Exchange | undefined = undefined
  readonly #shared: Shared
  readonly #options: ExchangeOptions
  #connection: Connection<SmsProtocol> | undefined
  #replies: Outgoing[] = []
  #answered = false
  #handled = false
  #spoke = false
  readonly #deadline = new Deadline(() => this.#expire())
  isReported = false
  /** The earlier deadline is over. */
  #late = false

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
    this.#shared.deadlines[0].begin(this.#deadline)
    const handled = (error?: unknown) => {
      // What failed is told to `end`, which follows and knows more.
      if (error === undefined) this.#finish()
    }
    const bytes = event.type === 'sms.message' ? event.body.length : 0
    connection.deliver(event, { handled, last: 'of the peer', bytes })
  }

  send(event: SmsProtocol['send']): void | Promise<void> {
    const { scope } = this.connection
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
    this.#shared.deadlines[this.#late ? 1 : 0].end(this.#deadline)
    this.#shared.ended(this)
    if (this.#handled) return
    const error = failureOf(outcome)
    if (error === undefined) return this.#finish()
    const waiting = !this.#answered
    this.#answered = true
    this.#replies = []
    this.isReported = true
    this.#options.failed(this.connection.scope, error, waiting)
  }

  #finish(): void {
    this.#handled = true
    this.#settle()
    this.#options.handled()
  }

  /** A deadline is over: first the earlier one, then the other. */
  #expire(): void {
    const { options, deadlines } = this.#shared
    const isReply = options.replyTimeout < options.handlerTimeout ? !this.#late : this.#late
    if (!this.#late) deadlines[1].begin(this.#deadline)
    this.#late = true
    if (isReply) this.#settle()
    else this.connection.abort(tooSlow(options.handlerTimeout))
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
    const { scope } = this.connection
    const { outbound } = this.#shared
    for (const reply of replies) this.#post(reply).catch((error: unknown) => outbound.bury(reply, scope, error))
  }

  #post(message: Outgoing): Promise<void> {
    return this.#shared.outbound.post(message, this.connection.scope, this.#options.said)
  }

  /** Of the application that was opened for it. */
  get connection(): Connection<SmsProtocol> {
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

/** One message or report and its application: gathers the replies, answers the webhook in time, and sends the rest later. */
import type { Connection, Outcome, Services, Transport } from '../../src/asgi/adapter.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { type SharedAnswer, messages, nothingToSay, sentence } from './answer.ts'
import type { ConsentStore } from './consent.ts'
import type { SmsOptions } from './options.ts'
import type { Outbox } from './outbox.ts'
import { type Outgoing, outgoing } from './outgoing.ts'
import type { SmsProtocol, SmsSend } from './scope.ts'
import { optedOut } from './twilio-carrier.ts'

/** What all exchanges share. */
export interface Shared {
  readonly services: Services<SmsProtocol>
  readonly options: SmsOptions
  readonly consent: ConsentStore
  readonly outbox: Outbox
}

export interface ExchangeOptions {
  readonly event: SmsProtocol['receive']
  readonly answer: SharedAnswer
  /** Called when the application failed while the provider still waited: it may ask again. */
  readonly forget: () => void
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
  #timers: NodeJS.Timeout[] = []

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
    const { replyTimeout, handlerTimeout } = this.#shared.options
    this.#connection = connection
    this.#timers = [
      setTimeout(() => this.#settle(), replyTimeout),
      setTimeout(() => connection.abort(tooSlow(handlerTimeout)), handlerTimeout),
    ]
    const handled = (error?: unknown) => {
      // What failed is told to `end`, which follows and knows more.
      if (error !== undefined) return
      this.#handled = true
      this.#settle()
    }
    connection.deliver(event, { handled, last: true, bytes: event.type === 'sms.message' ? event.body.length : 0 })
  }

  send(event: SmsProtocol['send']): void | Promise<void> {
    const { scope } = this.#open()
    const message = outgoing(event, scope)
    this.#spoke = true
    if (this.#refuses(message)) return
    if (event.type === 'sms.send' || this.#answered) return this.#post(message)
    if (this.#replies.length >= mostReplies) {
      throw new SignalboxError('too_large', `sms.reply: found more than ${mostReplies} replies to one message`)
    }
    this.#replies.push(message)
  }

  end(outcome: Outcome): void {
    for (const timer of this.#timers) clearTimeout(timer)
    if (this.#handled) return
    const { services } = this.#shared
    const { scope } = this.#open()
    const error = failureOf(outcome)
    if (hasCode(error, 'no_route')) {
      services.unrouted(scope, scope.from)
      this.#replies = []
      this.#settle()
    } else if (error === undefined) this.#settle()
    else this.#fail(error)
  }

  /** Answers the webhook with what there is; replies that nobody is there to take go by the provider's other way. */
  #settle(): void {
    if (this.#answered) return
    this.#answered = true
    const { answer, event } = this.#options
    const replies = this.#replies
    this.#replies = []
    if (event.type === 'sms.status') answer.settle(nothingToSay)
    else if (answer.awaited) answer.settle(messages(replies))
    else {
      answer.settle(messages([]))
      for (const reply of replies) void this.#post(reply)
    }
  }

  /**
   * Nothing was answered: the provider is told so, and its repetition is handled as new. It repeats only where the operator
   * has asked it to (`#rc` and `#rp` in the URL), so the event is kept in any case.
   */
  #fail(error: unknown): void {
    const { answer, event, forget } = this.#options
    if (!this.#answered) {
      this.#answered = true
      this.#replies = []
      forget()
      answer.settle(sentence(500, 'The application failed.'))
    }
    this.#shared.services.failed(this.#open().scope, event, error)
  }

  /** Whoever has opted out gets nothing, whichever way and whoever asks for it. */
  #refuses({ from, to }: Outgoing): boolean {
    const { consent, options, services } = this.#shared
    const sender = senderOf(options, from)
    if (!consent.stopped(to, sender)) return false
    services.log.warn({ scope: this.#open().scope.id, to, sender }, 'not sent: this person has opted out')
    return true
  }

  #post(message: Outgoing): Promise<void> {
    const { consent, options, outbox, services } = this.#shared
    const { scope } = this.#open()
    return outbox.post(message, (error) => {
      const { from, to, body, media } = message
      const failed = { type: 'sms.send', to, body, media } satisfies SmsSend
      if (!isOptedOut(error)) return services.failed(scope, failed, error)
      services.log.warn({ scope: scope.id, to }, 'not sent: Twilio says that this person has opted out')
      try {
        consent.record(to, senderOf(options, from), { stopped: true, source: String(optedOut) })
      } catch (second) {
        services.failed(scope, failed, second)
      }
    })
  }

  #open(): Connection<SmsProtocol> {
    if (this.#connection) return this.#connection
    throw new TypeError('an exchange is used before it has begun')
  }
}

/** On whose behalf people opt out: of one number, or of a service with all of its numbers, as the provider counts it. */
export function senderOf({ provider }: Pick<SmsOptions, 'provider'>, ours: string): string {
  return provider.twilio.messagingServiceSid ?? ours
}

function failureOf(outcome: Outcome): unknown {
  if (outcome.kind === 'raised') return outcome.error
  if (outcome.kind !== 'abandoned') return undefined
  return new SignalboxError('abandoned', 'the application did not end and was abandoned')
}

function tooSlow(handlerTimeout: number): SignalboxError {
  return new SignalboxError('timed_out', `the application took longer than ${handlerTimeout} ms (handlerTimeout)`)
}

function isOptedOut(error: unknown): boolean {
  const cause: unknown = Error.isError(error) ? error.cause : undefined
  return typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === optedOut
}

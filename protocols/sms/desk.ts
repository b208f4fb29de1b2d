/** Where signed requests arrive: recognises what was there before, and opens a scope for what was not. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Connection } from '../../src/asgi/adapter.ts'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import { SharedAnswer, messages, nothingToSay, sentence, write } from './answer.ts'
import { type Consent, consentOf } from './consent.ts'
import { Duplicates } from './duplicates.ts'
import { Exchange, type ExchangeOptions, type Shared, senderOf } from './exchange.ts'
import type { Parameters } from './form.ts'
import { type MessageParameters, type NewScope, readMessage, readStatus, scopeOf } from './message.ts'
import type { SmsProtocol } from './scope.ts'
import { optedOut } from './twilio-carrier.ts'

/** How many messages and reports are remembered at most; the oldest go first. */
const capacity = 10_000

/**
 * How far a message has come, by its status. A report of a step that lies behind is late, not news: the provider sends
 * reports side by side, and they overtake each other.
 */
const steps: Readonly<Record<string, number>> = {
  accepted: 1,
  scheduled: 1,
  queued: 2,
  sending: 3,
  sent: 4,
  delivered: 5,
  undelivered: 5,
  failed: 5,
  canceled: 5,
  read: 6,
}

type Handler = (parameters: Parameters, request: IncomingMessage, response: ServerResponse) => void

export class Desk {
  readonly #shared: Shared
  readonly #messages: Duplicates<SharedAnswer>
  readonly #reports: Duplicates<SharedAnswer>
  readonly #progress: Duplicates<number>
  readonly #open = new Set<Connection<SmsProtocol>>()

  constructor(shared: Shared) {
    this.#shared = shared
    const options = { window: shared.options.dedupeWindow, capacity }
    this.#messages = new Duplicates(options)
    this.#reports = new Duplicates(options)
    this.#progress = new Duplicates(options)
  }

  /** How many scopes are open. */
  get open(): number {
    return this.#open.size
  }

  /** A message came in. */
  readonly message: Handler = (parameters, request, response) => {
    const read = readOr400(readMessage, parameters, response)
    if (!read) return
    const known = this.#messages.get(read.messageSid)
    if (known) return known.join(response)
    const answer = new SharedAnswer()
    answer.join(response)
    this.#messages.set(read.messageSid, answer)
    const forget = () => {
      if (this.#messages.get(read.messageSid) === answer) this.#messages.delete(read.messageSid)
    }
    this.#attempt({ answer, forget }, () => {
      // On disk before the provider has its answer, whatever the application makes of the message.
      const consent = this.#recordConsent(read)
      const { body, media, segments } = read
      const event = { type: 'sms.message', body, media, segments, consent } as const
      this.#begin(scopeOf('message', read, request), { event, answer, forget })
    })
  }

  /** A report on a message that went out. */
  readonly status: Handler = (parameters, request, response) => {
    const read = readOr400(readStatus, parameters, response)
    if (!read) return
    const { messageSid, status, errorCode, from, to } = read
    const key = `${messageSid} ${status}`
    const known = this.#reports.get(key)
    if (known) return known.join(response)
    const before = this.#progress.get(messageSid) ?? 0
    const step = steps[status]
    if (step !== undefined && step <= before) {
      this.#shared.services.log.debug({ messageSid, status }, 'a status report came too late to be news')
      return write(response, nothingToSay)
    }
    const answer = new SharedAnswer()
    answer.join(response)
    this.#reports.set(key, answer)
    if (step !== undefined) this.#progress.set(messageSid, step)
    const forget = () => {
      if (this.#reports.get(key) === answer) this.#reports.delete(key)
      if (this.#progress.get(messageSid) === step) this.#progress.set(messageSid, before)
    }
    this.#attempt({ answer, forget }, () => {
      if (errorCode === String(optedOut)) this.#record(from, to, { stopped: true, source: errorCode })
      const event = { type: 'sms.status', messageSid, status, errorCode } as const
      this.#begin(scopeOf('status', read, request), { event, answer, forget })
    })
  }

  /** Waits for the applications; those that still run when `signal` aborts are told to end. */
  async close(signal: AbortSignal): Promise<void> {
    const hurry = () => {
      const closing = new SignalboxError('closing', 'the gateway is closing')
      for (const connection of this.#open) connection.abort(closing)
    }
    if (signal.aborted) hurry()
    signal.addEventListener('abort', hurry, { once: true })
    await Promise.all(Array.from(this.#open, ({ completed }) => completed))
    signal.removeEventListener('abort', hurry)
  }

  #begin(scope: NewScope, options: ExchangeOptions): void {
    const { services } = this.#shared
    if (!services.resolve(scope)) {
      services.unrouted(scope, scope.from)
      options.answer.settle(scope.kind === 'status' ? nothingToSay : messages([]))
      return
    }
    const exchange = new Exchange(this.#shared, options)
    const connection = services.open(scope, exchange)
    this.#open.add(connection)
    void connection.completed.then(() => this.#open.delete(connection))
    exchange.begin(connection)
  }

  /** A fault of ours, such as a full disk: the provider is told, and may ask again. */
  #attempt({ answer, forget }: Pick<ExchangeOptions, 'answer' | 'forget'>, work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#shared.services.log.error({ err: error }, 'a request of Twilio could not be handled')
      forget()
      answer.settle(sentence(500, 'The gateway failed.'))
    }
  }

  #recordConsent({ from, to, body, optOutType }: MessageParameters): Consent {
    const stopped = this.#shared.consent.stopped(from, senderOf(this.#shared.options, to))
    const consent = consentOf(body, optOutType, stopped)
    if (consent !== '') this.#record(from, to, { stopped: consent === 'stop', source: body.trim().slice(0, 100) })
    return consent
  }

  #record(person: string, ours: string, entry: { readonly stopped: boolean; readonly source: string }): void {
    const { consent, options, services } = this.#shared
    const sender = senderOf(options, ours)
    consent.record(person, sender, entry)
    services.log.info({ person, sender, source: entry.source }, entry.stopped ? 'opted out' : 'opted in again')
  }
}

function readOr400<T>(
  read: (parameters: Parameters) => T,
  parameters: Parameters,
  response: ServerResponse,
): T | undefined {
  try {
    return read(parameters)
  } catch (error) {
    write(response, sentence(400, `The request cannot be used: ${reason(error)}.`))
    return undefined
  }
}

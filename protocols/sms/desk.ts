/** Where signed requests arrive: recognises what was there before, and opens a scope for what was not. */
import type { ServerResponse } from 'node:http'
import type { Endpoints, Services } from '../../src/asgi/adapter.ts'
import { reason } from '../../src/runtime/errors.ts'
import { SharedAnswer, askAgain, nothingToSay, sentence, write } from './answer.ts'
import { type Consent, type ConsentStore, consentOf } from './consent.ts'
import { Duplicates } from './duplicates.ts'
import type { Parameters } from './form.ts'
import type { Arrival, Handling } from './handling.ts'
import { type MessageParameters, readMessage, readStatus, scopeOf } from './message.ts'
import type { SmsOptions } from './options.ts'
import type { Outbound } from './outbound.ts'
import type { SmsProtocol } from './scope.ts'
import { optedOut } from './twilio-carrier.ts'

export interface DeskParts {
  readonly options: Pick<SmsOptions, 'dedupeWindow'>
  readonly services: Pick<Services<SmsProtocol>, 'log' | 'refused'>
  readonly consent: ConsentStore
  readonly outbound: Outbound
  readonly handling: Handling
}

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

type Handler = (parameters: Parameters, endpoints: Endpoints, response: ServerResponse) => void

export class Desk {
  readonly #parts: DeskParts
  readonly #messages: Duplicates<SharedAnswer>
  readonly #reports: Duplicates<SharedAnswer>
  readonly #progress: Duplicates<number>

  constructor(parts: DeskParts) {
    this.#parts = parts
    const options = { window: parts.options.dedupeWindow, capacity }
    this.#messages = new Duplicates(options)
    this.#reports = new Duplicates(options)
    this.#progress = new Duplicates(options)
  }

  /** A message came in. */
  readonly message: Handler = (parameters, endpoints, response) => {
    const read = readOr400(readMessage, parameters, response)
    if (!read) return
    const key = ownCopy(read.messageSid)
    const known = this.#messages.get(key)
    if (known) return known.join(response)
    const answer = new SharedAnswer()
    answer.join(response)
    this.#messages.add(key, answer)
    const forget = () => {
      if (this.#messages.get(key) === answer) this.#messages.delete(key)
    }
    this.#attempt({ answer, forget }, () => {
      // On disk before the provider has its answer, whatever the application makes of the message.
      const consent = this.#recordConsent(read)
      const { body, media, segments } = read
      const event = { type: 'sms.message', body, media, segments, consent } as const
      const scope = scopeOf('message', read, endpoints)
      this.#parts.handling.take({ scope, event, answer, key, forget })
    })
  }

  /** A report on a message that went out. */
  readonly status: Handler = (parameters, endpoints, response) => {
    const read = readOr400(readStatus, parameters, response)
    if (!read) return
    const { status, errorCode, from, to } = read
    const messageSid = ownCopy(read.messageSid)
    const key = `${messageSid} ${status}`
    const known = this.#reports.get(key)
    if (known) return known.join(response)
    const before = this.#progress.get(messageSid) ?? 0
    const step = steps[status]
    if (step !== undefined && step <= before) {
      this.#parts.services.log.debug({ messageSid, status }, 'a status report came too late to be news')
      return write(response, nothingToSay)
    }
    const answer = new SharedAnswer()
    answer.join(response)
    this.#reports.add(key, answer)
    if (step !== undefined) this.#progress.set(messageSid, step)
    const forget = () => {
      if (this.#reports.get(key) === answer) this.#reports.delete(key)
      if (this.#progress.get(messageSid) === step) this.#progress.set(messageSid, before)
    }
    this.#attempt({ answer, forget }, () => {
      const { handling, outbound } = this.#parts
      if (errorCode === String(optedOut)) outbound.record(from, to, { stopped: true, source: errorCode })
      const event = { type: 'sms.status', messageSid, status, errorCode } as const
      const scope = scopeOf('status', read, endpoints)
      outbound.reported(event, scope)
      handling.take({ scope, event, answer, key, forget })
    })
  }

  /** A fault of ours, such as a full disk: the provider is told, and may ask again. */
  #attempt({ answer, forget }: Pick<Arrival, 'answer' | 'forget'>, work: () => void): void {
    try {
      work()
    } catch (error) {
      const { services } = this.#parts
      services.log.error({ err: error }, 'a request of Twilio could not be handled')
      services.refused(503)
      forget()
      answer.settle(askAgain)
    }
  }

  #recordConsent({ from, to, body, optOutType }: MessageParameters): Consent {
    const { consent: store, outbound } = this.#parts
    const consent = consentOf(body, optOutType, () => store.stopped(from, outbound.sender(to)))
    if (consent !== '') outbound.record(from, to, { stopped: consent === 'stop', source: body.trim().slice(0, 100) })
    return consent
  }
}

/** A sid that was cut out of a request, and is to be remembered for longer, would keep all of the request in memory. */
function ownCopy(sid: string): string {
  return Buffer.from(sid, 'latin1').toString('latin1')
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

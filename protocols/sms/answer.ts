/** What goes back over HTTP: an answer, and who waits for it. */
import type { ServerResponse } from 'node:http'
import { Deadline, type Deadlines } from '../../src/runtime/deadlines.ts'
import { endTogether } from '../../src/runtime/end-together.ts'
import type { Outgoing } from './outgoing.ts'
import { twiml } from './twiml.ts'

export interface Answer {
  readonly status: number
  /** Name and value in turn, all of them ASCII. */
  readonly headers: readonly string[]
  readonly body: string
}

const xml = ['cache-control', 'no-store', 'content-type', 'text/xml; charset=utf-8']
const plain = ['cache-control', 'no-store', 'content-type', 'text/plain; charset=utf-8']

/** Up to how many bytes an answer waits for the others of its turn. */
const small = 16 * 1024

export function messages(replies: readonly Pick<Outgoing, 'body' | 'media'>[]): Answer {
  return { status: 200, headers: xml, body: twiml(replies) }
}

export const nothingToSay: Answer = { status: 204, headers: ['cache-control', 'no-store'], body: '' }

/** A sentence for whoever reads the provider's debugger. */
export function sentence(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status, headers: [...plain, ...Object.entries(headers).flat()], body: `${text}\n` }
}

/** For what is no fault of the sender's: Twilio asks its fallback URL then, or comes again. */
export const askAgain = sentence(503, 'The gateway cannot take it now.', { 'retry-after': '1' })

export function write(response: ServerResponse, { status, headers, body }: Answer): void {
  if (response.headersSent || response.destroyed) return
  if (status === 204) {
    response.writeHead(status, [...headers])
    return endTogether(response)
  }
  const size = Buffer.byteLength(body)
  response.writeHead(status, [...headers, 'content-length', String(size)])
  if (size <= small) endTogether(response, body, size === body.length ? 'latin1' : 'utf8')
  else response.end(body)
}

const none: readonly ServerResponse[] = []

/**
 * One answer for a request and for its repetitions: those that come before it wait, those that come after get it at once. It is
 * remembered for long, and so it holds as little as it can.
 */
export class SharedAnswer {
  #waiting = none
  #answer: Answer | undefined
  /** Nobody waits for `settleAfter` any more. */
  #inTime: (() => void) | undefined

  /** Whether anybody still listens. */
  get awaited(): boolean {
    return this.#waiting.some(isOpen)
  }

  join(response: ServerResponse): void {
    if (this.#answer) return write(response, this.#answer)
    // Whoever asks again and again, and leaves each time, is waited for once.
    this.#waiting = this.#waiting.length === 0 ? [response] : [...this.#waiting.filter(isOpen), response]
  }

  /** Gives this answer when nobody has settled it in time. */
  settleAfter(deadlines: Deadlines, answer: Answer): void {
    if (this.#answer) return
    const deadline = new Deadline(() => this.settle(answer))
    deadlines.begin(deadline)
    this.#inTime = () => deadlines.end(deadline)
  }

  settle(answer: Answer): void {
    if (this.#answer) return
    this.#inTime?.()
    this.#inTime = undefined
    this.#answer = answer
    for (const response of this.#waiting) write(response, answer)
    this.#waiting = none
  }
}

function isOpen({ destroyed }: ServerResponse): boolean {
  return !destroyed
}

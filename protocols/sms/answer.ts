/** What goes back over HTTP: an answer, and who waits for it. */
import type { ServerResponse } from 'node:http'
import type { Outgoing } from './outgoing.ts'
import { twiml } from './twiml.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const xml = { 'content-type': 'text/xml; charset=utf-8' }

export function messages(replies: readonly Pick<Outgoing, 'body' | 'media'>[]): Answer {
  return { status: 200, headers: xml, body: twiml(replies) }
}

export const nothingToSay: Answer = { status: 204, headers: {}, body: '' }

/** A sentence for whoever reads the provider's debugger. */
export function sentence(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body: `${text}\n` }
}

export function write(response: ServerResponse, { status, headers, body }: Answer): void {
  if (response.headersSent || response.destroyed) return
  const flat = ['cache-control', 'no-store']
  for (const name in headers) flat.push(name, headers[name] as string) // it has this name
  if (status !== 204) flat.push('content-length', String(Buffer.byteLength(body)))
  response.writeHead(status, flat)
  response.end(body)
}

const none: readonly ServerResponse[] = []

/**
 * One answer for a request and for its repetitions: those that come before it wait, those that come after get it at once. It is
 * remembered for long, and so it holds as little as it can.
 */
export class SharedAnswer {
  #waiting = none
  #answer: Answer | undefined
  #timer: NodeJS.Timeout | undefined

  /** Whether anybody still listens. */
  get awaited(): boolean {
    return this.#waiting.some(isOpen)
  }

  join(response: ServerResponse): void {
    if (this.#answer) return write(response, this.#answer)
    // Whoever asks again and again, and leaves each time, is waited for once.
    this.#waiting = this.#waiting.length === 0 ? [response] : [...this.#waiting.filter(isOpen), response]
  }

  /** Gives this answer when nobody has settled it after `wait` milliseconds. */
  settleAfter(wait: number, answer: Answer): void {
    if (!this.#answer) this.#timer = setTimeout(() => this.settle(answer), wait)
  }

  settle(answer: Answer): void {
    if (this.#answer) return
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = undefined
    this.#answer = answer
    for (const response of this.#waiting) write(response, answer)
    this.#waiting = none
  }
}

function isOpen({ destroyed }: ServerResponse): boolean {
  return !destroyed
}

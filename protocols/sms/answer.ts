/** What goes back over HTTP: an answer, and who waits for it. */
import type { ServerResponse } from 'node:http'
import type { Outgoing } from './outgoing.ts'
import { twiml } from './twiml.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export function messages(replies: readonly Pick<Outgoing, 'body' | 'media'>[]): Answer {
  return { status: 200, headers: { 'content-type': 'text/xml; charset=utf-8' }, body: twiml(replies) }
}

export const nothingToSay: Answer = { status: 204, headers: {}, body: '' }

/** A sentence for whoever reads the provider's debugger. */
export function sentence(status: number, text: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body: `${text}\n` }
}

export function write(response: ServerResponse, { status, headers, body }: Answer): void {
  if (response.headersSent || response.destroyed) return
  const length = status === 204 ? {} : { 'content-length': Buffer.byteLength(body) }
  response.writeHead(status, { ...headers, ...length, 'cache-control': 'no-store' })
  response.end(body)
}

/** One answer for a request and for its repetitions: those that come before it wait, those that come after get it at once. */
export class SharedAnswer {
  readonly #waiting = new Set<ServerResponse>()
  #answer: Answer | undefined
  #timer: NodeJS.Timeout | undefined

  /** Whether anybody still listens. */
  get awaited(): boolean {
    return this.#waiting.size > 0
  }

  join(response: ServerResponse): void {
    if (this.#answer) return write(response, this.#answer)
    this.#waiting.add(response)
    response.once('close', () => this.#waiting.delete(response))
  }

  /** Gives this answer when nobody has settled it after `wait` milliseconds. */
  settleAfter(wait: number, answer: Answer): void {
    if (!this.#answer) this.#timer = setTimeout(() => this.settle(answer), wait)
  }

  settle(answer: Answer): void {
    if (this.#answer) return
    clearTimeout(this.#timer)
    this.#answer = answer
    for (const response of this.#waiting) write(response, answer)
    this.#waiting.clear()
  }
}

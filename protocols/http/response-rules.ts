/** What an application may say next on one response: the order of its events, and how much of its body. */
import { isUint8Array } from 'node:util/types'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { responseHead, type ResponseHead } from './response-head.ts'
import type { HttpResponseBody, HttpResponseStart, HttpScope } from './scope.ts'

export class ResponseRules {
  head: ResponseHead | undefined
  /** The application has said all of it. */
  complete = false
  readonly #scope: HttpScope
  #sent = 0

  constructor(scope: HttpScope) {
    this.#scope = scope
  }

  /** @throws SignalboxError `unexpected_event` for a second start, a status or a header that a response cannot have. */
  start(event: HttpResponseStart): void {
    if (this.head) throw this.unexpected(event)
    this.head = responseHead(event, this.#scope)
  }

  /** The size of this part. @throws SignalboxError `unexpected_event` for one that does not fit to what was said before. */
  part(event: HttpResponseBody): number {
    const { head } = this
    if (!head || this.complete) throw this.unexpected(event)
    const { body = '', moreBody = false } = event
    if (typeof body !== 'string' && !isUint8Array(body)) {
      throw this.#error(`expected a body of bytes or text, found ${typeof body}`)
    }
    const size = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength
    const sum = this.#sent + size
    if (head.length !== undefined && head.hasBody && this.#scope.method !== 'HEAD') {
      // A body of another length than its head says would be read as the next response, or the next one as a part of it.
      const fits = moreBody ? sum <= head.length : sum === head.length
      const more = moreBody ? ' and more to come' : ''
      if (!fits) throw this.#error(`expected the ${head.length} bytes of its content-length, found ${sum}${more}`)
    }
    this.#sent = sum
    this.complete = !moreBody
    return size
  }

  unexpected(event: { readonly type: unknown }): SignalboxError {
    const expected = this.head ? 'http.response.body' : 'http.response.start'
    const wanted = this.complete ? 'nothing more: its response is complete' : expected
    return this.#error(`expected ${wanted}, found ${String(event.type)}`)
  }

  #error(message: string): SignalboxError {
    return new SignalboxError('unexpected_event', `http scope ${this.#scope.id}: ${message}`)
  }
}

/** A response of the application's own instead of a handshake, on a socket that `node:http` has let go of. */
import type { Duplex } from 'node:stream'
import { isUint8Array } from 'node:util/types'
import { endSocket, endUpgrade, head } from '../../src/runtime/http-answer.ts'
import { flatHeaders } from '../../src/runtime/http-message.ts'
import { unexpected } from './checks.ts'
import type { WebsocketHttpResponseBody, WebsocketHttpResponseStart, WebsocketScope } from './scope.ts'

/** How the response is framed is the server's to say. */
const framing = /^(?:content-length|transfer-encoding|connection)$/i

export class Refusal {
  complete = false
  readonly #socket: Duplex
  readonly #scope: WebsocketScope
  readonly #status: number
  readonly #headers: string[]
  #begun = false

  /** @throws SignalboxError `unexpected_event` for a status or a header that a refusal cannot have. */
  constructor(socket: Duplex, { status, headers = [] }: WebsocketHttpResponseStart, scope: WebsocketScope) {
    if (!Number.isInteger(status) || status < 300 || status > 599) {
      throw unexpected(scope, `expected a status from 300 to 599 to refuse with, found ${String(status)}`)
    }
    this.#socket = socket
    this.#scope = scope
    this.#status = status
    this.#headers = withoutFraming(flatHeaders(headers, scope))
  }

  /** A promise means: wait before writing more. */
  write({ body = '', moreBody = false }: WebsocketHttpResponseBody): void | Promise<void> {
    if (typeof body !== 'string' && !isUint8Array(body)) {
      throw unexpected(this.#scope, `expected a body of bytes or text, found ${typeof body}`)
    }
    this.complete = !moreBody
    if (!moreBody && !this.#begun) return endUpgrade(this.#socket, this.#status, this.#headers, body)
    const bytes = Buffer.from(body)
    if (!moreBody) return endSocket(this.#socket, bytes)
    // Without a length the body ends where the connection does.
    const start = this.#begun ? [] : [head(this.#status, [...this.#headers, 'connection', 'close'])]
    this.#begun = true
    if (this.#socket.write(Buffer.concat([...start, bytes]))) return undefined
    return new Promise((resolve) => {
      this.#socket.once('drain', () => resolve())
      this.#socket.once('close', () => resolve())
    })
  }
}

function withoutFraming(flat: readonly string[]): string[] {
  const kept: string[] = []
  for (let index = 0; index < flat.length; index += 2) {
    const name = flat[index] as string // names and values come in pairs
    if (!framing.test(name)) kept.push(name, flat[index + 1] as string)
  }
  return kept
}

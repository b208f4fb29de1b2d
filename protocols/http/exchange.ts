/** One request and its response: the events of its scope on one side, `node:http` on the other. */
import type { IncomingMessage } from 'node:http'
import type { Connection, HttpResponse, Outcome, Progress, ResponseWatcher, Transport } from '../../src/asgi/adapter.ts'
import type { Linked } from '../../src/runtime/chain.ts'
import { endTogether } from '../../src/runtime/end-together.ts'
import { SignalboxError, hasCode, isTemporary } from '../../src/runtime/errors.ts'
import { answer, answerAndClose } from '../../src/runtime/http-answer.ts'
import type { ResponseHead } from './response-head.ts'
import { ResponseRules } from './response-rules.ts'
import type { HttpDisconnect, HttpProtocol, HttpRequest, HttpResponseBody, HttpScope } from './scope.ts'

/** What an exchange needs of the listener that it belongs to. */
export interface ExchangeOwner {
  readonly maxBodySize: number
  /** How often `beat` was called so far, and how many of that are within handlerTimeout. */
  readonly beats: number
  readonly handlerBeats: number
  /** In milliseconds; 0: none. */
  readonly sendTimeout: number
  /** Whether the connection is to be closed after the response. */
  readonly draining: boolean
  /** The response is over and the application has ended. */
  forget(exchange: HttpExchange): void
  /** No rule took the request after all. */
  unrouted(scope: HttpScope): void
}

/** Up to how many bytes a body is copied to leave in one write with its head: two would cost more. */
const joined = 16 * 1024

const empty = new Uint8Array(0)
const noBody: HttpRequest = { type: 'http.request', body: empty, moreBody: false }
const disconnected: HttpDisconnect = { type: 'http.disconnect' }
/** One for all exchanges, as most end so. */
const answered = new SignalboxError('disconnected', 'the response is complete')

export class HttpExchange implements Transport<HttpProtocol>, ResponseWatcher, Linked<HttpExchange> {
  before: HttpExchange | undefined = undefined
  after: HttpExchange | undefined = undefined
  /** How much of the answer is on the wire: a head that waits for its body is not. */
  progress: Progress = 'none'
  readonly owesAnswer = true
  readonly #owner: ExchangeOwner
  readonly #request: IncomingMessage
  readonly #response: HttpResponse
  readonly #begun: number
  #connection: Connection<HttpProtocol> | undefined
  #rules: ResponseRules | undefined
  /** Bytes of the request's body so far. */
  #received = 0
  /** The mailbox was full. */
  #paused = false
  /** The response is over, or was taken over by the server: what the application says now is dropped. */
  #over = false
  #closed = false
  #drained: PromiseWithResolvers<void> | undefined

  constructor(owner: ExchangeOwner, request: IncomingMessage, response: HttpResponse) {
    this.#owner = owner
    this.#request = request
    this.#response = response
    this.#begun = owner.beats
  }

  /** `length` is what the request's `content-length` says; undefined: the body's end is told by its framing. */
  start(connection: Connection<HttpProtocol>, length: number | undefined): void {
    this.#connection = connection
    this.#response.watcher = this
    if (length === 0) connection.deliver(noBody)
    else this.#readBody(connection, length)
  }

  send(event: HttpProtocol['send']): void | Promise<void> {
    if (this.#over) return undefined
    this.#rules ??= new ResponseRules(this.#scope)
    switch (event.type) {
      case 'http.response.start':
        return this.#rules.start(event)
      case 'http.response.body':
        return this.#sendBody(this.#rules, event)
      default:
        throw this.#rules.unexpected(event satisfies never)
    }
  }

  end(outcome: Outcome): void {
    if (this.#closed) {
      this.#owner.forget(this)
      return
    }
    if (!this.#over) this.#answerFor(outcome)
    // What is left of the request's body is read and dropped, so that the connection can serve another one.
    this.resume()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#request.resume()
  }

  /** Called now and then: looks whether the application or the peer has let its time pass. */
  beat(): void {
    this.#watchPeer()
    if (this.progress !== 'none' || this.#over || this.#owner.beats - this.#begun <= this.#owner.handlerBeats) return
    this.cut(503, new SignalboxError('timed_out', 'the application did not begin its response within handlerTimeout'))
  }

  /** Ends the exchange for the server: with this status while there is no answer yet, else by cutting the connection. */
  cut(status: number, why: Error): void {
    if (!this.#over) this.#finish(status)
    this.#connection?.abort(why)
  }

  #sendBody(rules: ResponseRules, event: HttpResponseBody): void | Promise<void> {
    const size = rules.part(event)
    const head = rules.head as ResponseHead // a part without a head is against the rules
    const { body = empty, moreBody = false } = event
    if (!head.hasBody || this.#request.method === 'HEAD') return this.#sendNoBody(head, size, moreBody)
    if (moreBody) return this.#write(head, body, size)
    this.#complete(head, body, size)
  }

  /** A response without a body is complete with its head, however much the application goes on to say. */
  #sendNoBody(head: ResponseHead, size: number, moreBody: boolean): void {
    if (this.progress === 'none') {
      // RFC 9110 9.3.2: HEAD may say what GET would, when it is known.
      if (head.hasBody && head.length === undefined && !moreBody) head.headers.push('content-length', String(size))
      this.#writeHead(head)
      if (moreBody) this.#response.end()
      else endTogether(this.#response)
    }
    this.progress = moreBody ? 'started' : 'finished'
  }

  #write(head: ResponseHead, body: Uint8Array | string, size: number): Promise<void> | undefined {
    if (this.progress === 'none') this.#writeHead(head)
    if (size === 0) {
      this.#response.flushHeaders()
      return undefined
    }
    if (this.#response.write(this.#encoded(head, body))) return undefined
    if (!this.#drained) {
      this.#drained = Promise.withResolvers()
      this.#response.once('drain', () => this.#drain())
    }
    return this.#drained.promise
  }

  #complete(head: ResponseHead, body: Uint8Array | string, size: number): void {
    if (this.progress === 'none') {
      if (head.length === undefined) head.headers.push('content-length', String(size))
      this.#writeHead(head)
    }
    this.progress = 'finished'
    if (size === 0) endTogether(this.#response)
    // Node writes a head and a text in one piece, in the text's encoding. ASCII is the same in both, and latin-1 is faster.
    else if (typeof body === 'string' && size === body.length) endTogether(this.#response, body)
    // A head that is not ASCII must stay latin-1.
    else if (typeof body === 'string' && head.ascii) endTogether(this.#response, body, 'utf8')
    // As latin-1 text bytes stay what they are, and leave with the head too.
    else if (size <= joined) endTogether(this.#response, latin1(body))
    else this.#response.end(this.#encoded(head, body))
  }

  #writeHead({ status, headers }: ResponseHead): void {
    this.progress = 'started'
    if (this.#owner.draining) this.#response.shouldKeepAlive = false
    this.#response.writeHead(status, headers)
  }

  /** The first part leaves with the head too, if it is a text; see `#complete`. */
  #encoded(head: ResponseHead, body: Uint8Array | string): Uint8Array | string {
    return head.ascii || typeof body !== 'string' ? body : Buffer.from(body)
  }

  #drain(): void {
    this.#drained?.resolve()
    this.#drained = undefined
  }

  #readBody(connection: Connection<HttpProtocol>, length: number | undefined): void {
    const request = this.#request
    request.on('data', (body: Buffer) => {
      this.#received += body.length
      if (this.#received > this.#owner.maxBodySize) return this.#refuseBody()
      const moreBody = this.#received !== length
      const event: HttpRequest = { type: 'http.request', body, moreBody }
      if (connection.deliver(event, { bytes: body.length })) return
      this.#paused = true
      request.pause()
    })
    request.on('end', () => {
      // A body of a length that was told has ended with its last part; a shorter one never does (RFC 9112 6.2).
      if (length === undefined) connection.deliver(noBody)
    })
    request.on('error', ignore) // it also closes the response, and that is listened to
  }

  #refuseBody(): void {
    const { maxBodySize } = this.#owner
    const tooLarge = new SignalboxError(
      'too_large',
      `the request's body is larger than ${maxBodySize} bytes (maxBodySize)`,
    )
    this.#request.removeAllListeners('data')
    if (this.#over) {
      // The answer is out, and the peer goes on and on.
      this.#request.destroy()
      return
    }
    this.#over = true
    this.#drain()
    answerAndClose(this.#request, this.#response, 413)
    this.#connection?.abort(tooLarge)
    this.#connection?.disconnect(disconnected)
  }

  #answerFor(outcome: Outcome): void {
    // Complete on the wire, as a response without a body is before the application has said all of it.
    if (this.progress === 'finished' || this.#response.writableEnded) return
    switch (outcome.kind) {
      case 'finished':
        return
      case 'abandoned':
        return this.#finish(503)
      case 'raised':
        if (hasCode(outcome.error, 'no_route') && this.progress === 'none') {
          this.#owner.unrouted(this.#scope)
          return this.#finish(404)
        }
        return this.#finish(isTemporary(outcome.error) ? 503 : 500)
      case 'unanswered':
      case 'unfinished':
        return this.#finish(500)
      default:
        outcome satisfies never
    }
  }

  /** What is on the wire cannot be taken back: a response that has begun is cut, so that nobody takes it for a whole one. */
  #finish(status: number): void {
    this.#over = true
    this.#drain()
    if (this.progress === 'finished') return
    if (this.progress === 'started') return this.#cutConnection()
    if (this.#owner.draining) this.#response.shouldKeepAlive = false
    answer(this.#response, status)
  }

  /** While something waits for the peer, its connection has a time-out, which every byte that it takes begins anew. */
  #watchPeer(): void {
    const { socket, writableLength } = this.#response
    const timeout = writableLength > 0 ? this.#owner.sendTimeout : 0
    if (!socket) return
    if ((socket.timeout ?? 0) !== timeout) socket.setTimeout(timeout)
    // Node reads no more while too much waits behind this response, and would not hear of a reset. To write nothing asks the system.
    if (socket.isPaused() && socket.writableLength === 0) socket.write(empty)
  }

  #cutConnection(): void {
    const { socket } = this.#response
    if (!socket) {
      // A pipelined response that waits for the one before it: that one is none of its business.
      this.#response.once('socket', (turn) => turn.destroy())
      return
    }
    // What the application said until now still leaves, as far as the peer takes it at once.
    socket.uncork()
    socket.destroy()
  }

  closed(): void {
    const { socket } = this.#request
    // Nothing waits for the peer any more. While it drains, the time-out is the host's.
    if (socket.timeout && !this.#owner.draining) socket.setTimeout(0)
    this.#closed = true
    this.#over = true
    this.#drain()
    const connection = this.#connection
    if (!connection || connection.ended) {
      this.#owner.forget(this)
      return
    }
    // The end of what is complete is not what the peer did: an event for those who wait for it, and none that counts.
    if (this.progress === 'finished') connection.abort(answered)
    connection.disconnect(disconnected)
  }

  get #scope(): HttpScope {
    // The application speaks a turn after its scope was opened: by then `start` was called.
    return (this.#connection as Connection<HttpProtocol>).scope
  }
}

/** Each byte as one letter. */
function latin1(body: Uint8Array | string): string {
  const bytes =
    typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return bytes.toString('latin1')
}

function ignore(): void {}

/** A request as a handler reads it: its parts when they are asked for, its body once. */
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import type { HttpScope } from './scope.ts'

/** One part of a body after the other; undefined at its end. */
export type BodySource = () => Promise<Uint8Array | undefined>

/** What a request says before its body. */
export class HttpRequestHead {
  readonly scope: HttpScope
  #query: URLSearchParams | undefined
  #headers: Headers | undefined

  constructor(scope: HttpScope) {
    this.scope = scope
  }

  /** As it came, e.g. `GET`. */
  get method(): string {
    return this.scope.method
  }

  /** Percent-decoded, without the query. */
  get path(): string {
    return this.scope.path
  }

  /** What the routers captured. */
  get params(): HttpScope['params'] {
    return this.scope.params
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.scope.queryString)
    return this.#query
  }

  get headers(): Headers {
    this.#headers ??= new Headers(this.scope.headers.map(([name, value]) => [name, value]))
    return this.#headers
  }
}

/** What `HttpConsumer.handle` and `httpHandler` get. */
export class HttpRequestReader extends HttpRequestHead {
  readonly #next: BodySource

  constructor(scope: HttpScope, next: BodySource) {
    super(scope)
    this.#next = next
  }

  /** The body as it comes in. It can be read once. @throws SignalboxError `disconnected` when the peer leaves before its end. */
  get body(): AsyncIterable<Uint8Array> {
    return { [Symbol.asyncIterator]: () => this.#parts() }
  }

  /** The whole body; its size is bounded by `maxBodySize` of the listener. */
  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array[] = []
    for await (const part of this.body) parts.push(part)
    return new Uint8Array(Buffer.concat(parts))
  }

  /** The whole body as UTF-8 text. */
  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes())
  }

  /** @throws Response 400 when the body is no JSON: left to itself, it is the answer. */
  async json(): Promise<unknown> {
    const text = await this.text()
    try {
      return JSON.parse(text) as unknown
    } catch (error) {
      // oxlint-disable-next-line typescript/only-throw-error -- a Response that a handler throws is its answer
      throw new Response(`expected JSON: ${reason(error)}\n`, { status: 400 })
    }
  }

  async *#parts(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const part = await this.#next()
      if (!part) return
      if (part.byteLength > 0) yield part
    }
  }
}

/** What a handler answers a request with, as plain values. */
export interface HttpAnswer {
  /** Default 200. */
  readonly status?: number
  /** A list is sent as several headers of that name. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Uint8Array
  /** Instead of `body`: a value, as JSON. */
  readonly json?: unknown
}

/** What `SyncHttpConsumer.handle` and `syncHttpHandler` get: the body is there already. */
export class SyncHttpRequest extends HttpRequestHead {
  readonly #parts: readonly Uint8Array[]

  constructor(scope: HttpScope, parts: readonly Uint8Array[]) {
    super(scope)
    this.#parts = parts
  }

  /** The whole body; its size is bounded by `maxBodySize` of the listener. */
  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(Buffer.concat(this.#parts))
  }

  /** The whole body as UTF-8 text. */
  text(): string {
    return new TextDecoder().decode(this.bytes())
  }

  /** @throws HttpAnswer 400 when the body is no JSON: left to itself, it is the answer. */
  json(): unknown {
    try {
      return JSON.parse(this.text()) as unknown
    } catch (error) {
      const answer: HttpAnswer = { status: 400, body: `expected JSON: ${reason(error)}\n` }
      // oxlint-disable-next-line typescript/only-throw-error -- an answer that a handler throws is its answer
      throw answer
    }
  }
}

/** What a body reader is told when the peer has left. */
export function leftEarly(): SignalboxError {
  return new SignalboxError('disconnected', 'the peer left before the end of its request')
}

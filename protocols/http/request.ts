/** A request as a handler reads it: its parts when they are asked for, its body once. */
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import type { HttpScope } from './scope.ts'

/** One part of a body after the other; undefined at its end. */
export type BodySource = () => Promise<Uint8Array | undefined>

/** What `HttpConsumer.handle` and `httpHandler` get. */
export class HttpRequestReader {
  readonly scope: HttpScope
  readonly #next: BodySource
  #query: URLSearchParams | undefined
  #headers: Headers | undefined

  constructor(scope: HttpScope, next: BodySource) {
    this.scope = scope
    this.#next = next
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

/** What a body reader is told when the peer has left. */
export function leftEarly(): SignalboxError {
  return new SignalboxError('disconnected', 'the peer left before the end of its request')
}

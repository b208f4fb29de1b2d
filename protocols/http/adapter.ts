/** HTTP on the wire: requests become scopes, and what the application sends becomes their responses. */
import type { IncomingMessage } from 'node:http'
import type {
  Adapter,
  Endpoints,
  HttpHost,
  HttpResponse,
  Listener,
  Services,
  Unrouted,
  Example,
} from '../../src/asgi/adapter.ts'
import { Chain } from '../../src/runtime/chain.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { answer, answerAndClose } from '../../src/runtime/http-answer.ts'
import { bodyLength, requestParts } from '../../src/runtime/http-message.ts'
import { shellWord } from '../../src/runtime/shell-word.ts'
import { HttpExchange, type ExchangeOwner } from './exchange.ts'
import type { HttpOptions } from './options.ts'
import type { HttpProtocol, HttpScope } from './scope.ts'

/** The interval in which requests are looked at is a quarter of the shortest time-out, and of this, in milliseconds. */
const longest = 60_000

const none = {}

class HttpListener implements Listener, ExchangeOwner {
  readonly maxBodySize: number
  readonly sendTimeout: number
  readonly handlerBeats: number
  beats = 0
  draining = false
  readonly #options: HttpOptions
  readonly #services: Services<HttpProtocol>
  readonly #host: HttpHost
  readonly #scheme: 'http' | 'https'
  readonly #open = new Chain<HttpExchange>()
  /** One for all requests: a timer for each costs a tenth of what a small request costs. */
  readonly #beat: NodeJS.Timeout
  #idle: (() => void) | undefined

  constructor(options: HttpOptions, services: Services<HttpProtocol>) {
    this.maxBodySize = options.maxBodySize
    this.#options = options
    this.#services = services
    this.#host = services.httpHost()
    this.#scheme = this.#host.secure ? 'https' : 'http'
    this.#host.onRequest(undefined, (request, response, endpoints) => this.#serve(request, response, endpoints))
    this.sendTimeout = options.sendTimeout
    const { handlerTimeout, sendTimeout } = options
    const interval = Math.min(handlerTimeout || longest, sendTimeout || longest, longest) / 4
    this.handlerBeats = handlerTimeout === 0 ? Infinity : Math.ceil(handlerTimeout / interval)
    this.#beat = setInterval(() => this.#beatAll(), interval).unref()
  }

  get urls(): readonly string[] {
    return [this.#host.url]
  }

  get example(): Example {
    return {
      address: '/',
      command: (path) => `curl -i ${shellWord(`${this.#host.url}${this.#options.rootPath}${path}`)}`,
    }
  }

  /** The requests that are under way. */
  get connections(): number {
    return this.#open.size
  }

  async close(signal: AbortSignal): Promise<void> {
    this.draining = true
    const closing = new SignalboxError('closing', 'the gateway is closing')
    const { promise, resolve } = Promise.withResolvers<void>()
    const cut = () => {
      for (const exchange of this.#open) exchange.cut(503, closing)
      resolve()
    }
    this.#idle = resolve
    if (this.#open.size === 0) resolve()
    else if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    await promise
    signal.removeEventListener('abort', cut)
    clearInterval(this.#beat)
  }

  forget(exchange: HttpExchange): void {
    this.#open.delete(exchange)
    if (this.#open.size === 0) this.#idle?.()
  }

  unrouted(scope: Unrouted<HttpScope>): void {
    this.#services.unrouted(scope, scope.path)
  }

  #serve(request: IncomingMessage, response: HttpResponse, endpoints: Endpoints): void {
    if (this.draining || this.#open.size >= this.#options.maxRequests) return this.#refuse(request, response, 503)
    const parts = requestParts(request, this.#options.rootPath, endpoints)
    if (!parts) return this.#refuse(request, response, 400)
    const length = bodyLength(request)
    if (length !== undefined && length > this.maxBodySize) return this.#refuse(request, response, 413)
    const scope: HttpScope = {
      type: 'http',
      httpVersion: parts.httpVersion,
      method: request.method ?? 'GET',
      scheme: this.#scheme,
      path: parts.path,
      rawPath: parts.rawPath,
      queryString: parts.queryString,
      rootPath: parts.rootPath,
      headers: parts.headers,
      client: parts.client,
      server: parts.server,
      // To be filled in: what has its place already costs less to copy.
      id: '',
      params: none,
      route: '',
      state: none,
    }
    if (!this.#services.resolve(scope)) {
      this.unrouted(scope)
      return answer(response, 404)
    }
    const exchange = new HttpExchange(this, request, response)
    this.#open.add(exchange)
    exchange.start(this.#services.open(scope, exchange), length)
  }

  #refuse(request: IncomingMessage, response: HttpResponse, status: number): void {
    this.#services.refused(status)
    answerAndClose(request, response, status)
  }

  #beatAll(): void {
    this.beats++
    for (const exchange of this.#open) exchange.beat()
  }
}

export const adapter: Adapter<HttpProtocol, HttpOptions> = {
  async start(options, services) {
    return new HttpListener(options, services)
  },
}

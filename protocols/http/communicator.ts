/** Plays an HTTP client against an application, without a socket. */
import type { Progress } from '../../src/asgi/adapter.ts'
import type { Application } from '../../src/asgi/protocol.ts'
import { ApplicationCommunicator, type CommunicatorOptions } from '../../src/testing/application-communicator.ts'
import { requestTarget } from '../../src/runtime/http-message.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import type { HttpProtocol, HttpResponseBody, HttpResponseStart, HttpScope } from './scope.ts'

/** What is asked; what is left out is a GET of `/` without headers or body. */
export interface HttpRequestLike {
  readonly method?: string
  /** With the query. */
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Several parts arrive as several events. */
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[]
  /** Default: empty; `data` for handlers that keep something there. */
  readonly state?: HttpScope['state']
}

/** What a client would have got. */
export interface HttpResponseLike {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array
  readonly text: string
}

let nextId = 0

/** `const response = await new HttpCommunicator(app, { path: '/hello' }, { layer }).response()`. */
export class HttpCommunicator {
  readonly application: ApplicationCommunicator<HttpProtocol>

  constructor(application: Application<HttpProtocol>, request: HttpRequestLike, options: CommunicatorOptions) {
    const { body = '' } = request
    this.application = new ApplicationCommunicator(application, scopeOf(request), options, progressOf)
    const parts = typeof body === 'string' || ArrayBuffer.isView(body) ? [body] : body
    for (const [index, part] of parts.entries()) {
      const bytes = typeof part === 'string' ? Buffer.from(part) : part
      void this.application.sendInput({ type: 'http.request', body: bytes, moreBody: index < parts.length - 1 })
    }
  }

  /**
   * The whole response, once the application has sent its end. An application that raises or ends without an answer gives 500,
   * as it would on the wire; an address without a rule 404.
   */
  async response(): Promise<HttpResponseLike> {
    const start = await this.#start()
    if (typeof start === 'number') return answerOf({ status: start }, [])
    const parts: Uint8Array[] = []
    for (;;) {
      const { body = '', moreBody = false } = (await this.application.receiveOutput()) as HttpResponseBody // after a start
      parts.push(typeof body === 'string' ? Buffer.from(body) : body)
      if (!moreBody) return answerOf(start, parts)
    }
  }

  /** The peer leaves. */
  disconnect(): void {
    this.application.connection.disconnect({ type: 'http.disconnect' })
  }

  async #start(): Promise<HttpResponseStart | number> {
    try {
      return (await this.application.receiveOutput()) as HttpResponseStart // nothing else may come first
    } catch (error) {
      if (!hasCode(error, 'scope_ended')) throw error
      const outcome = await this.application.wait()
      return outcome.kind === 'raised' && hasCode(outcome.error, 'no_route') ? 404 : 500
    }
  }
}

function scopeOf({ method = 'GET', path = '/', headers = {}, state = {} }: HttpRequestLike): HttpScope {
  const target = requestTarget(path, '')
  if (!target) throw new SignalboxError('bad_address', `expected a path such as /tickets/, found ${JSON.stringify(path)}`)
  return {
    type: 'http',
    id: `test-${++nextId}`,
    httpVersion: '1.1',
    method,
    scheme: 'http',
    ...target,
    rootPath: '',
    headers: Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
    client: ['127.0.0.1', 50_000],
    server: ['127.0.0.1', 80],
    params: {},
    route: '',
    state,
  }
}

function progressOf(event: HttpProtocol['send'], before: Progress): Progress {
  if (event.type === 'http.response.start') return before
  return event.moreBody ? 'started' : 'finished'
}

function answerOf({ status, headers = [] }: Omit<HttpResponseStart, 'type'>, parts: readonly Uint8Array[]): HttpResponseLike {
  const bytes = Buffer.concat(parts)
  return { status, headers: new Headers(headers.map(([name, value]) => [name, value])), bytes, text: bytes.toString() }
}

/** Plays an HTTP client against an application, without a socket. */
import type { Progress } from '../../src/asgi/adapter.ts'
import type { Application } from '../../src/asgi/protocol.ts'
import { SignalboxError, hasCode, isTemporary } from '../../src/runtime/errors.ts'
import { requestTarget } from '../../src/runtime/http-message.ts'
import { ApplicationCommunicator, type CommunicatorOptions } from '../../src/testing/application-communicator.ts'
import { ResponseRules } from './response-rules.ts'
import type { HttpProtocol, HttpResponseStart, HttpScope } from './scope.ts'

/** What is asked; what is left out is a GET of `/` without headers or body. */
export interface HttpRequestLike {
  readonly method?: string
  /** With the query. */
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Several parts arrive as several events. */
  readonly body?: string | Uint8Array | readonly (string | Uint8Array)[]
  /** True: the body goes on, by `sendBody`. */
  readonly moreBody?: boolean
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

/**
 * What the application sends is checked as the adapter checks it.
 *
 * @example
 * const { status, text } = await new HttpCommunicator(hello, { path: '/hello?name=ann' }, { layer }).response()
 */
export class HttpCommunicator {
  readonly application: ApplicationCommunicator<HttpProtocol>
  #complete = false

  constructor(application: Application<HttpProtocol>, request: HttpRequestLike, options: CommunicatorOptions) {
    const { body = '', moreBody = false } = request
    const scope = scopeOf(request)
    this.application = new ApplicationCommunicator(application, scope, options, progressOf(scope))
    const parts = typeof body === 'string' || ArrayBuffer.isView(body) ? [body] : body
    for (const [index, part] of parts.entries()) void this.sendBody(part, moreBody || index < parts.length - 1)
  }

  /** A further part of the request's body; resolves when the application has asked for the next. */
  sendBody(part: string | Uint8Array, moreBody = false): Promise<void> {
    const body = typeof part === 'string' ? Buffer.from(part) : part
    return this.application.sendInput({ type: 'http.request', body, moreBody })
  }

  /**
   * The whole response, once the application has sent its end.
   * @throws SignalboxError `scope_ended` when it ends in the middle of it, where the wire is cut.
   */
  async response(): Promise<HttpResponseLike> {
    const { status, headers } = await this.responseStart()
    const parts: Uint8Array[] = []
    for (;;) {
      const part = await this.responsePart()
      if (!part) break
      parts.push(part)
    }
    const bytes = Buffer.concat(parts)
    return { status, headers, bytes, text: bytes.toString() }
  }

  /**
   * The head of the response. An application that raises or ends without an answer gives 500, as it would on the wire; an
   * address without a rule 404.
   */
  async responseStart(): Promise<Pick<HttpResponseLike, 'status' | 'headers'>> {
    const { status, headers = [] } = await this.#start()
    return { status, headers: new Headers(headers.map(([name, value]) => [name, value])) }
  }

  /** The next part of the response's body; undefined at its end. */
  async responsePart(): Promise<Uint8Array | undefined> {
    if (this.#complete) return undefined
    const event = await this.application.receiveOutput()
    if (event.type !== 'http.response.body') throw new SignalboxError('unexpected_event', 'ask for responseStart first')
    this.#complete = event.moreBody !== true
    const { body = '' } = event
    return typeof body === 'string' ? Buffer.from(body) : body
  }

  /** The peer leaves. */
  disconnect(): void {
    this.application.connection.disconnect({ type: 'http.disconnect' })
  }

  async #start(): Promise<Pick<HttpResponseStart, 'status' | 'headers'>> {
    try {
      return (await this.application.receiveOutput()) as HttpResponseStart // the rules let nothing else come first
    } catch (error) {
      if (!hasCode(error, 'scope_ended')) throw error
      this.#complete = true
      const outcome = await this.application.wait()
      if (outcome.kind !== 'raised') return { status: 500 }
      return { status: hasCode(outcome.error, 'no_route') ? 404 : isTemporary(outcome.error) ? 503 : 500 }
    }
  }
}

function scopeOf({ method = 'GET', path = '/', headers = {}, state = {} }: HttpRequestLike): HttpScope {
  const target = requestTarget(path, '')
  if (!target)
    throw new SignalboxError('bad_address', `expected a path such as /tickets/, found ${JSON.stringify(path)}`)
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

function progressOf(scope: HttpScope): (event: HttpProtocol['send'], before: Progress) => Progress {
  const rules = new ResponseRules(scope)
  return (event, before) => {
    switch (event.type) {
      case 'http.response.start':
        rules.start(event)
        return before
      case 'http.response.body':
        rules.part(event)
        return rules.complete ? 'finished' : 'started'
      default:
        throw rules.unexpected(event satisfies never)
    }
  }
}

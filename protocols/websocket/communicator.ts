/** Plays a WebSocket client against an application, without a socket. */
import type { Progress } from '../../src/asgi/adapter.ts'
import type { Application } from '../../src/asgi/protocol.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { requestTarget } from '../../src/runtime/http-message.ts'
import { ApplicationCommunicator, type CommunicatorOptions } from '../../src/testing/application-communicator.ts'
import { closeFor, refusalFor } from './ends.ts'
import * as rules from './rules.ts'
import type { WebsocketClose, WebsocketProtocol, WebsocketScope, WebsocketSend } from './scope.ts'

/** The handshake; what is left out is `/` without headers or subprotocols. */
export interface HandshakeLike {
  /** With the query. */
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly subprotocols?: readonly string[]
  /** Default: empty; `data` for handlers that keep something there. */
  readonly state?: WebsocketScope['state']
}

/** How the application answered the handshake. */
export interface HandshakeAnswer {
  readonly accepted: boolean
  /** 101 when accepted. Of a refusal: 403, 500 when the application raised, 503 when that was temporary, or the status of its own response. */
  readonly status: number
  readonly headers: Headers
  readonly subprotocol: string | undefined
  /** Of a response of its own. */
  readonly text: string
}

let nextId = 0

/**
 * What the application sends is checked as the adapter checks it.
 *
 * @example
 * const ann = new WebsocketCommunicator(Chat.asApplication(), { path: '/chat/?name=ann' }, { layer })
 * expect(await ann.connect()).toMatchObject({ accepted: true })
 * await ann.sendText('hello')
 * expect(await ann.receiveText()).toBe('ann: hello')
 * await ann.disconnect()
 */
export class WebsocketCommunicator {
  readonly application: ApplicationCommunicator<WebsocketProtocol>

  constructor(application: Application<WebsocketProtocol>, handshake: HandshakeLike, options: CommunicatorOptions) {
    const scope = scopeOf(handshake)
    this.application = new ApplicationCommunicator(application, scope, options, progressOf(scope))
  }

  async connect(): Promise<HandshakeAnswer> {
    void this.application.sendInput({ type: 'websocket.connect' })
    try {
      const answer = await this.application.receiveOutput()
      if (answer.type === 'websocket.accept') {
        return answerOf(101, { headers: answer.headers ?? [], subprotocol: answer.subprotocol })
      }
      if (answer.type !== 'websocket.http.response.start') return answerOf(403)
      return answerOf(answer.status, { headers: answer.headers ?? [], text: await this.#refusal() })
    } catch (error) {
      if (!hasCode(error, 'scope_ended')) throw error
      return answerOf(refusalFor(await this.application.wait()))
    }
  }

  /** Resolves when the application has handled it. */
  sendText(text: string): Promise<void> {
    return this.application.sendInput({ type: 'websocket.receive', text })
  }

  /** Resolves when the application has handled it. */
  sendBytes(bytes: Uint8Array): Promise<void> {
    return this.application.sendInput({ type: 'websocket.receive', bytes })
  }

  /** Resolves when the application has handled it. */
  sendJson(value: unknown): Promise<void> {
    return this.sendText(JSON.stringify(value))
  }

  /** @throws SignalboxError when the application sent something else, or nothing in time. */
  async receiveText(): Promise<string> {
    const { text } = await this.#receive<WebsocketSend>('websocket.send')
    if (text === undefined) throw new SignalboxError('unexpected_event', 'expected text, found bytes')
    return text
  }

  /** @throws SignalboxError when the application sent something else, or nothing in time. */
  async receiveBytes(): Promise<Uint8Array> {
    const { bytes } = await this.#receive<WebsocketSend>('websocket.send')
    if (bytes === undefined) throw new SignalboxError('unexpected_event', 'expected bytes, found text')
    return bytes
  }

  async receiveJson(): Promise<unknown> {
    return JSON.parse(await this.receiveText()) as unknown
  }

  /** The code that the socket is closed with: the application's own; 1011 when it raises (1013: `queue_full`); 1000 when it returns. */
  async receiveClose(): Promise<number> {
    try {
      const { code = 1000 } = await this.#receive<WebsocketClose>('websocket.close')
      return code
    } catch (error) {
      if (!hasCode(error, 'scope_ended')) throw error
      return closeFor(await this.application.wait()).code
    }
  }

  /** True when nothing is sent for this long, in milliseconds. */
  receiveNothing(timeout?: number): Promise<boolean> {
    return this.application.receiveNothing(timeout)
  }

  /** The peer leaves; resolves when the application has ended. */
  async disconnect(code = 1005, reason = ''): Promise<void> {
    this.application.connection.disconnect({ type: 'websocket.disconnect', code, reason })
    await this.application.wait()
  }

  async #receive<E extends WebsocketProtocol['send']>(type: E['type']): Promise<E> {
    const event = await this.application.receiveOutput()
    if (event.type === type) return event as E // its type says so
    throw new SignalboxError('unexpected_event', `expected ${type}, found ${event.type}`)
  }

  async #refusal(): Promise<string> {
    const parts: Uint8Array[] = []
    for (let more = true; more;) {
      const event = await this.application.receiveOutput()
      if (event.type !== 'websocket.http.response.body') break
      parts.push(Buffer.from(event.body ?? ''))
      more = event.moreBody === true
    }
    return Buffer.concat(parts).toString()
  }
}

function answerOf(
  status: number,
  {
    headers = [],
    ...more
  }: { headers?: readonly (readonly [string, string])[]; subprotocol?: string | undefined; text?: string } = {},
): HandshakeAnswer {
  const list = new Headers(headers.map(([name, value]) => [name, value]))
  return { accepted: status === 101, status, subprotocol: undefined, text: '', ...more, headers: list }
}

function scopeOf({ path = '/', headers = {}, subprotocols = [], state = {} }: HandshakeLike): WebsocketScope {
  const target = requestTarget(path, '')
  if (!target) throw new SignalboxError('bad_address', `expected a path such as /chat/, found ${JSON.stringify(path)}`)
  return {
    type: 'websocket',
    id: `test-${++nextId}`,
    httpVersion: '1.1',
    scheme: 'ws',
    ...target,
    rootPath: '',
    headers: Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
    subprotocols,
    client: ['127.0.0.1', 50_000],
    server: ['127.0.0.1', 80],
    params: {},
    route: '',
    state,
  }
}

function progressOf(scope: WebsocketScope): (event: WebsocketProtocol['send'], before: Progress) => Progress {
  const speaking: rules.Speaking = { state: 'connecting', scope }
  return (event, before) => {
    switch (event.type) {
      case 'websocket.accept':
        rules.accept(speaking, event)
        return 'started'
      case 'websocket.send':
        rules.message(speaking, event)
        return before
      case 'websocket.close':
        rules.close(speaking, event)
        return 'finished'
      case 'websocket.http.response.start':
        rules.refuse(speaking, event)
        return before
      case 'websocket.http.response.body':
        rules.refusalPart(speaking, event)
        return event.moreBody === true ? 'started' : 'finished'
      default:
        throw rules.unexpected(speaking, event satisfies never)
    }
  }
}

/** Plays a WebSocket client against an application, without a socket. */
import type { Progress } from '../../src/asgi/adapter.ts'
import type { Application } from '../../src/asgi/protocol.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { requestTarget } from '../../src/runtime/http-message.ts'
import { ApplicationCommunicator, type CommunicatorOptions } from '../../src/testing/application-communicator.ts'
import type { WebsocketAccept, WebsocketClose, WebsocketProtocol, WebsocketScope, WebsocketSend } from './scope.ts'

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
  /** The status of a refusal: 403, 500 when the application raised, or that of its own response; 101 when accepted. */
  readonly status: number
  readonly subprotocol: string | undefined
}

let nextId = 0

export class WebsocketCommunicator {
  readonly application: ApplicationCommunicator<WebsocketProtocol>

  constructor(application: Application<WebsocketProtocol>, handshake: HandshakeLike, options: CommunicatorOptions) {
    this.application = new ApplicationCommunicator(application, scopeOf(handshake), options, progressOf)
  }

  async connect(): Promise<HandshakeAnswer> {
    void this.application.sendInput({ type: 'websocket.connect' })
    const refused = (status: number): HandshakeAnswer => ({ accepted: false, status, subprotocol: undefined })
    try {
      const answer = await this.application.receiveOutput()
      if (answer.type === 'websocket.accept') return accepted(answer)
      return refused(answer.type === 'websocket.http.response.start' ? answer.status : 403)
    } catch (error) {
      if (!hasCode(error, 'scope_ended')) throw error
      const outcome = await this.application.wait()
      return refused(outcome.kind === 'raised' && !hasCode(outcome.error, 'no_route') ? 500 : 403)
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

  /** @throws Error when the application sent something else, or nothing in time. */
  async receiveText(): Promise<string> {
    const { text } = await this.#receive<WebsocketSend>('websocket.send')
    if (text === undefined) throw new SignalboxError('unexpected_event', 'expected text, found bytes')
    return text
  }

  async receiveBytes(): Promise<Uint8Array> {
    const { bytes } = await this.#receive<WebsocketSend>('websocket.send')
    if (bytes === undefined) throw new SignalboxError('unexpected_event', 'expected bytes, found text')
    return bytes
  }

  async receiveJson(): Promise<unknown> {
    return JSON.parse(await this.receiveText()) as unknown
  }

  /** The application closes: with which code. */
  async receiveClose(): Promise<number> {
    const { code = 1000 } = await this.#receive<WebsocketClose>('websocket.close')
    return code
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
}

function accepted({ subprotocol }: WebsocketAccept): HandshakeAnswer {
  return { accepted: true, status: 101, subprotocol }
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

function progressOf(event: WebsocketProtocol['send'], before: Progress): Progress {
  if (event.type === 'websocket.close') return 'finished'
  return before === 'finished' ? before : 'started'
}

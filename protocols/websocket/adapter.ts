/** WebSocket on the wire: upgrades become scopes, and what the application sends becomes their handshakes and messages. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { WebSocketServer, type Server } from 'ws'
import type { Adapter, HttpHost, Listener, Services, Unrouted, Example } from '../../src/asgi/adapter.ts'
import { Chain } from '../../src/runtime/chain.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { endUpgrade } from '../../src/runtime/http-answer.ts'
import { requestParts } from '../../src/runtime/http-message.ts'
import { ignoreError } from '../../src/runtime/peer.ts'
import { shellWord } from '../../src/runtime/shell-word.ts'
import { BatchCorker } from './corker.ts'
import { checkHandshake, checkOrigin } from './handshake.ts'
import { OpenSocket } from './open-socket.ts'
import type { Handshake } from './opening.ts'
import type { WebsocketOptions } from './options.ts'
import type { WebsocketProtocol, WebsocketScope } from './scope.ts'
import { WebsocketSession, type SessionOwner } from './session.ts'

/** How long a peer may take to answer a close, in milliseconds. */
const closeTimeout = 5000

class WebsocketListener implements Listener, SessionOwner {
  readonly corker = new BatchCorker()
  readonly sendBuffer: number
  readonly maxMessageSize: number
  readonly idleBeats: number
  readonly idleTimeout: number
  readonly handshakeTimeout: number
  readonly closeTimeout = closeTimeout
  connections = 0
  readonly #options: WebsocketOptions
  readonly #services: Services<WebsocketProtocol>
  readonly #host: HttpHost
  readonly #server: Server<typeof OpenSocket>
  readonly #sessions = new Chain<WebsocketSession>()
  readonly #heartbeat: NodeJS.Timeout | undefined
  /** What the handshake that is being completed says: `ws` asks for it in the same turn. */
  #accepting: { readonly subprotocol: string | undefined; readonly headers: readonly string[] } = nothing
  /** Of the handshake before: most of them say mostly the same, and each is kept for as long as its socket is open. */
  #headers: WebsocketScope['headers'] = []
  #draining = false
  #changed: (() => void) | undefined

  constructor(options: WebsocketOptions, services: Services<WebsocketProtocol>) {
    this.sendBuffer = options.sendBuffer
    this.maxMessageSize = options.maxMessageSize
    this.idleTimeout = options.idleTimeout
    this.idleBeats = Math.max(1, Math.ceil(options.idleTimeout / options.heartbeat))
    this.handshakeTimeout = options.handshakeTimeout
    this.#options = options
    this.#services = services
    this.#host = services.httpHost(options.address, options.tls)
    this.#server = this.#createServer(options)
    // `node:http` and `node:https` give nothing else.
    this.#host.onUpgrade(undefined, (request, socket, head, endpoints) =>
      this.#connect({ request, socket: socket as Socket, head, endpoints }),
    )
    if (options.heartbeat > 0) this.#heartbeat = setInterval(() => this.#beat(), options.heartbeat).unref()
  }

  get urls(): readonly string[] {
    return [this.#host.url.replace(/^http/, 'ws')]
  }

  get example(): Example {
    return {
      address: '/chat/',
      command: (path, config) =>
        `npx signalbox send websocket ${shellWord(this.#options.rootPath + path)} hello${config}`,
    }
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#draining = true
    const going = new SignalboxError('closing', 'the gateway is closing')
    for (const session of this.#sessions) session.leave(going)
    const { promise, resolve } = Promise.withResolvers<void>()
    // Until the time is over the applications may end too; after it only the sockets count.
    this.#changed = () => {
      if (this.#sessions.size === 0 || (signal.aborted && this.connections === 0)) resolve()
    }
    const cut = () => {
      for (const session of this.#sessions) session.cut(going)
      this.#changed?.()
    }
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    this.#changed()
    await promise
    signal.removeEventListener('abort', cut)
    clearInterval(this.#heartbeat)
  }

  upgrade({ request, socket, head }: Handshake, subprotocol: string | undefined, headers: readonly string[]) {
    this.#accepting = { subprotocol, headers }
    let accepted: OpenSocket | undefined
    socket.cork()
    // The package listens itself from here on, and two listeners would take a list.
    socket.off('error', ignoreError)
    this.#server.handleUpgrade(request, socket, head, (ws) => {
      accepted = ws
    })
    this.#accepting = nothing
    // Whoever is accepted answers at the end of the turn.
    if (!accepted) socket.uncork()
    return accepted
  }

  disconnected(): void {
    this.connections--
    this.#changed?.()
  }

  forget(session: WebsocketSession): void {
    this.#sessions.delete(session)
    this.#changed?.()
  }

  unrouted(scope: Unrouted<WebsocketScope>): void {
    this.#services.unrouted(scope, scope.path)
  }

  #createServer({ maxMessageSize, compression }: WebsocketOptions): Server<typeof OpenSocket> {
    const options = {
      WebSocket: OpenSocket,
      noServer: true,
      clientTracking: false,
      maxPayload: maxMessageSize,
      perMessageDeflate: compression,
      closeTimeout, // newer than the package's types
      handleProtocols: () => this.#accepting.subprotocol ?? false,
    }
    const server = new WebSocketServer(options)
    server.on('headers', (lines) => {
      const { headers } = this.#accepting
      for (let index = 0; index < headers.length; index += 2) lines.push(`${headers[index]}: ${headers[index + 1]}`)
    })
    return server
  }

  #connect(handshake: Handshake): void {
    const { request, socket } = handshake
    const subprotocols = checkHandshake(request)
    if ('status' in subprotocols) return this.#refuse(socket, subprotocols.status, subprotocols.headers)
    const scope = this.#scope(handshake, subprotocols)
    if (!scope) return this.#refuse(socket, 400)
    if (!checkOrigin(request, this.#options.origins)) return this.#refuseOrigin(request, socket)
    if (this.#draining || this.connections >= this.#options.maxConnections) return this.#refuse(socket, 503)
    if (!this.#services.resolve(scope)) {
      this.unrouted(scope)
      return endUpgrade(socket, 403)
    }
    const session = new WebsocketSession(this, handshake)
    this.#sessions.add(session)
    this.connections++
    session.start(this.#services.open(scope, session))
  }

  #scope({ request, endpoints }: Handshake, subprotocols: readonly string[]): WebsocketScope | undefined {
    const parts = requestParts(request, this.#options.rootPath, endpoints, this.#headers)
    if (parts) this.#headers = parts.headers
    return (
      parts && {
        type: 'websocket',
        httpVersion: parts.httpVersion,
        scheme: this.#host.secure ? 'wss' : 'ws',
        path: parts.path,
        rawPath: parts.rawPath,
        queryString: parts.queryString,
        rootPath: parts.rootPath,
        headers: parts.headers,
        subprotocols,
        client: parts.client,
        server: parts.server,
        // To be filled in: what has its place already costs less to copy.
        id: '',
        params: none,
        route: '',
        state: none,
      }
    )
  }

  #refuseOrigin({ headers, url }: IncomingMessage, socket: Socket): void {
    this.#services.log.info(
      { origin: headers.origin, host: headers.host, url },
      'a page of another origin may not connect',
    )
    this.#refuse(socket, 403)
  }

  #refuse(socket: Socket, status: number, headers: readonly string[] = []): void {
    this.#services.refused(status)
    endUpgrade(socket, status, headers)
  }

  #beat(): void {
    for (const session of this.#sessions) session.beat()
  }
}

const none = Object.freeze({})
const nothing = { subprotocol: undefined, headers: [] }

export const adapter: Adapter<WebsocketProtocol, WebsocketOptions> = {
  async start(options, services) {
    return new WebsocketListener(options, services)
  },
}

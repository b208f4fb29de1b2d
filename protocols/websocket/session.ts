/** One handshake and what becomes of it: the events of its scope on one side, a socket on the other. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Connection, Outcome, Progress, Transport } from '../../src/asgi/adapter.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { endUpgrade } from '../../src/runtime/http-answer.ts'
import { acceptHeaders, checkClose, messageData, unexpected } from './checks.ts'
import { OpenSocket, type SocketEvents, type SocketLimits } from './open-socket.ts'
import { Refusal } from './refusal.ts'
import type {
  WebsocketAccept,
  WebsocketClose,
  WebsocketHttpResponseBody,
  WebsocketHttpResponseStart,
  WebsocketProtocol,
  WebsocketReceive,
  WebsocketScope,
  WebsocketSend,
} from './scope.ts'

/** What a session needs of the listener that it belongs to. */
export interface SessionOwner extends SocketLimits {
  /** In milliseconds; 0: none. */
  readonly handshakeTimeout: number
  /** Completes the handshake; undefined when the peer is gone. */
  upgrade(handshake: Handshake, subprotocol: string | undefined, headers: readonly string[]): WebSocket | undefined
  /** The socket is closed. */
  disconnected(session: WebsocketSession): void
  /** The socket is closed and the application has ended. */
  forget(session: WebsocketSession): void
  /** No rule took the handshake after all. */
  unrouted(scope: WebsocketScope): void
}

/** An upgrade that waits for its answer, as `node:http` hands it over. */
export interface Handshake {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
}

/** `connecting`: the handshake waits for the application. `refusing`: the application answers it with a response of its own. */
type State = 'connecting' | 'refusing' | 'open' | 'closed'

export class WebsocketSession implements Transport<WebsocketProtocol>, SocketEvents {
  progress: Progress = 'none'
  readonly #owner: SessionOwner
  readonly #handshake: Handshake
  #connection: Connection<WebsocketProtocol> | undefined
  #state: State = 'connecting'
  #socket: OpenSocket | undefined
  #refusal: Refusal | undefined
  #deadline: NodeJS.Timeout | undefined
  /** The application itself has closed: what it says after that is an error, and not only too late. */
  #closedByApplication = false

  constructor(owner: SessionOwner, handshake: Handshake) {
    this.#owner = owner
    this.#handshake = handshake
  }

  start(connection: Connection<WebsocketProtocol>): void {
    this.#connection = connection
    const { socket } = this.#handshake
    socket.on('close', this.#leftEarly)
    socket.on('end', this.#leftEarly)
    const { handshakeTimeout } = this.#owner
    if (handshakeTimeout > 0) this.#deadline = setTimeout(expire, handshakeTimeout, this)
    connection.deliver({ type: 'websocket.connect' })
  }

  send(event: WebsocketProtocol['send']): void | Promise<void> {
    if (this.#closedByApplication) throw this.#unexpected(event)
    if (this.#state === 'closed' || this.#socket?.closing) return undefined
    switch (event.type) {
      case 'websocket.accept':
        return this.#accept(event)
      case 'websocket.send':
        return this.#sendMessage(event)
      case 'websocket.close':
        return this.#close(event)
      case 'websocket.http.response.start':
        return this.#startRefusal(event)
      case 'websocket.http.response.body':
        return this.#writeRefusal(event)
      default:
        throw this.#unexpected(event satisfies never)
    }
  }

  end(outcome: Outcome): void {
    switch (this.#state) {
      case 'connecting':
      case 'refusing':
        return this.#refuse(this.#refusalFor(outcome))
      case 'open':
        this.progress = 'finished'
        if (outcome.kind === 'raised' || outcome.kind === 'abandoned') this.#socket?.end(1011, 'internal error')
        else this.#socket?.end(1000, '')
        return undefined
      case 'closed':
        return this.#owner.forget(this)
      default:
        this.#state satisfies never
    }
  }

  resume(): void {
    this.#socket?.resume()
  }

  message(event: WebsocketReceive, bytes: number): boolean {
    return this.#connection?.deliver(event, { bytes }) ?? true
  }

  closed(code: number, reason: string): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.progress = 'finished'
    this.#owner.disconnected(this)
    const connection = this.#connection
    connection?.disconnect({ type: 'websocket.disconnect', code, reason })
    if (connection?.ended) this.#owner.forget(this)
  }

  /** Ends it for the gateway: an open socket is closed with 1001 (going away), a handshake refused with 503. */
  leave(why: Error): void {
    if (this.#state === 'open') return this.#socket?.end(1001, why.message)
    this.#connection?.abort(why)
    if (this.#state !== 'closed') this.#refuse(503)
  }

  /** Ends it for the gateway without waiting for the peer. */
  cut(why: Error): void {
    if (this.#state === 'open') this.#socket?.cut(why.message)
    else this.leave(why)
  }

  beat(now: number): void {
    this.#socket?.beat(now)
  }

  #accept(event: WebsocketAccept): void {
    if (this.#state !== 'connecting') throw this.#unexpected(event)
    const headers = acceptHeaders(event, this.#scope)
    this.#settleHandshake()
    const ws = this.#owner.upgrade(this.#handshake, event.subprotocol, headers)
    if (!ws) return this.closed(1006, '')
    this.#state = 'open'
    this.progress = 'started'
    this.#socket = new OpenSocket(ws, this.#handshake.socket, this.#owner, this)
  }

  #sendMessage(event: WebsocketSend): void | Promise<void> {
    if (!this.#socket) throw this.#unexpected(event)
    return this.#socket.send(messageData(event, this.#scope))
  }

  #close(event: WebsocketClose): void {
    if (this.#state === 'refusing') throw this.#unexpected(event)
    const [code, reason] = checkClose(event, this.#scope)
    this.#closedByApplication = true
    if (!this.#socket) return this.#refuse(403)
    this.progress = 'finished'
    this.#socket.close(code, reason)
  }

  #startRefusal(event: WebsocketHttpResponseStart): void {
    if (this.#state !== 'connecting') throw this.#unexpected(event)
    this.#refusal = new Refusal(this.#handshake.socket, event, this.#scope)
    this.#state = 'refusing'
  }

  #writeRefusal(event: WebsocketHttpResponseBody): void | Promise<void> {
    if (!this.#refusal) throw this.#unexpected(event)
    const written = this.#refusal.write(event)
    this.progress = 'started'
    if (this.#refusal.complete) this.#refused()
    return written
  }

  #refusalFor(outcome: Outcome): number {
    if (outcome.kind === 'abandoned') return 503
    if (outcome.kind !== 'raised') return 403
    if (!hasCode(outcome.error, 'no_route')) return 500
    this.#owner.unrouted(this.#scope)
    return 403
  }

  /** What is on the wire cannot be taken back: a refusal that has begun is cut. */
  #refuse(status: number): void {
    if (this.progress === 'none') endUpgrade(this.#handshake.socket, status)
    else this.#handshake.socket.destroy()
    this.#refused()
  }

  /** The application hears at once that it is over; the socket closes when the peer has read its answer. */
  #refused(): void {
    this.#settleHandshake()
    this.closed(1006, '')
  }

  #settleHandshake(): void {
    clearTimeout(this.#deadline)
    const { socket } = this.#handshake
    socket.off('close', this.#leftEarly)
    socket.off('end', this.#leftEarly)
  }

  /** The peer did not wait for the answer to its handshake. */
  readonly #leftEarly = (): void => {
    this.#settleHandshake()
    this.#handshake.socket.destroy()
    this.closed(1006, '')
  }

  get #scope(): WebsocketScope {
    // The application speaks a turn after its scope was opened: by then `start` was called.
    return (this.#connection as Connection<WebsocketProtocol>).scope
  }

  #unexpected(event: { readonly type: unknown }): SignalboxError {
    const wanted = this.#closedByApplication ? 'nothing more: it has closed' : expected[this.#state]
    return unexpected(this.#scope, `expected ${wanted}, found ${String(event.type)}`)
  }
}

const expected: Readonly<Record<State, string>> = {
  connecting: 'websocket.accept, websocket.close or websocket.http.response.start',
  refusing: 'websocket.http.response.body',
  open: 'websocket.send or websocket.close',
  closed: 'nothing more',
}

/** One function for all deadlines: no closure a handshake. */
function expire(session: WebsocketSession): void {
  session.leave(new SignalboxError('timed_out', 'the application did not answer the handshake within handshakeTimeout'))
}

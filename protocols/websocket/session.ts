/** One handshake and what becomes of it: the events of its scope on one side, a socket on the other. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Connection, Outcome, Progress, Transport } from '../../src/asgi/adapter.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { endUpgrade } from '../../src/runtime/http-answer.ts'
import { OpenSocket, type SocketEvents, type SocketLimits } from './open-socket.ts'
import { Refusal } from './refusal.ts'
import { WebsocketRules } from './rules.ts'
import type { WebsocketAccept, WebsocketProtocol, WebsocketReceive, WebsocketScope } from './scope.ts'

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
  readonly socket: Socket
  readonly head: Buffer
}

/** Of the socket, whatever the application may say. */
type Phase = 'handshake' | 'open' | 'closed'

export class WebsocketSession implements Transport<WebsocketProtocol>, SocketEvents {
  progress: Progress = 'none'
  readonly #owner: SessionOwner
  readonly #handshake: Handshake
  #connection: Connection<WebsocketProtocol> | undefined
  #rules: WebsocketRules | undefined
  #phase: Phase = 'handshake'
  #socket: OpenSocket | undefined
  #refusal: Refusal | undefined
  #deadline: NodeJS.Timeout | undefined

  constructor(owner: SessionOwner, handshake: Handshake) {
    this.#owner = owner
    this.#handshake = handshake
  }

  start(connection: Connection<WebsocketProtocol>): void {
    this.#connection = connection
    this.#rules = new WebsocketRules(connection.scope)
    const { socket } = this.#handshake
    socket.on('close', this.#leftEarly)
    socket.on('end', this.#leftEarly)
    const { handshakeTimeout } = this.#owner
    if (handshakeTimeout > 0) this.#deadline = setTimeout(expire, handshakeTimeout, this)
    connection.deliver({ type: 'websocket.connect' })
  }

  send(event: WebsocketProtocol['send']): void | Promise<void> {
    const rules = this.#rules as WebsocketRules // the application speaks a turn after `start`
    // The peer or the gateway has ended it, and the event that says so is on its way. After its own end all is an error.
    if ((this.#phase === 'closed' || this.#socket?.closing) && rules.state !== 'closed') return undefined
    switch (event.type) {
      case 'websocket.accept':
        return this.#accept(event, rules.accept(event))
      case 'websocket.send': {
        const data = rules.message(event)
        return this.#socket?.send(data)
      }
      case 'websocket.close':
        return this.#close(...rules.close(event))
      case 'websocket.http.response.start':
        this.#refusal = new Refusal(this.#handshake.socket, event.status, rules.refuse(event))
        return undefined
      case 'websocket.http.response.body':
        return this.#writeRefusal(rules.refusalPart(event), event.moreBody === true)
      default:
        throw rules.unexpected(event satisfies never)
    }
  }

  end(outcome: Outcome): void {
    switch (this.#phase) {
      case 'handshake':
        return this.#refuse(this.#refusalFor(outcome))
      case 'open':
        this.progress = 'finished'
        if (outcome.kind === 'raised' || outcome.kind === 'abandoned') this.#socket?.end(1011, 'internal error')
        else this.#socket?.end(1000, '')
        return undefined
      case 'closed':
        return this.#owner.forget(this)
      default:
        this.#phase satisfies never
    }
  }

  resume(): void {
    this.#socket?.resume()
  }

  message(event: WebsocketReceive, bytes: number): boolean {
    return this.#connection?.deliver(event, { bytes }) ?? true
  }

  closed(code: number, reason: string): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.progress = 'finished'
    this.#owner.disconnected(this)
    const connection = this.#connection
    connection?.disconnect({ type: 'websocket.disconnect', code, reason })
    if (connection?.ended) this.#owner.forget(this)
  }

  /** Ends it for the gateway: an open socket is closed with 1001 (going away), a handshake refused with 503. */
  leave(why: Error): void {
    if (this.#phase === 'open') return this.#socket?.end(1001, why.message)
    this.#connection?.abort(why)
    if (this.#phase !== 'closed') this.#refuse(503)
  }

  /** Ends it for the gateway without waiting for the peer. */
  cut(why: Error): void {
    if (this.#phase === 'open') this.#socket?.cut(why.message)
    else this.leave(why)
  }

  beat(): void {
    this.#socket?.beat()
  }

  #accept({ subprotocol }: WebsocketAccept, headers: readonly string[]): void {
    this.#settleHandshake()
    const ws = this.#owner.upgrade(this.#handshake, subprotocol, headers)
    if (!ws) return this.closed(1006, '')
    this.#phase = 'open'
    this.progress = 'started'
    this.#socket = new OpenSocket(ws, this.#handshake.socket, this.#owner, this)
  }

  #close(code: number, reason: string): void {
    if (!this.#socket) return this.#refuse(403)
    this.progress = 'finished'
    this.#socket.close(code, reason)
  }

  #writeRefusal(body: string | Uint8Array, moreBody: boolean): void | Promise<void> {
    const written = this.#refusal?.write(body, moreBody)
    this.progress = 'started'
    if (!moreBody) this.#refused()
    return written
  }

  #refusalFor(outcome: Outcome): number {
    if (outcome.kind === 'abandoned') return 503
    if (outcome.kind !== 'raised') return 403
    if (!hasCode(outcome.error, 'no_route')) return 500
    if (this.#connection) this.#owner.unrouted(this.#connection.scope)
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
}

/** One function for all deadlines: no closure a handshake. */
function expire(session: WebsocketSession): void {
  session.leave(new SignalboxError('timed_out', 'the application did not answer the handshake within handshakeTimeout'))
}

/** One handshake and what becomes of it: the events of its scope on one side, a socket on the other. */
import type { Connection, Outcome, Progress, Transport } from '../../src/asgi/adapter.ts'
import type { Linked } from '../../src/runtime/chain.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { endUpgrade } from '../../src/runtime/http-answer.ts'
import { closeFor, refusalFor } from './ends.ts'
import { OpenSocket, type SocketEvents, type SocketLimits } from './open-socket.ts'
import { Opening, type Handshake, type OpeningEvents, type OpeningLimits } from './opening.ts'
import { Refusal } from './refusal.ts'
import * as rules from './rules.ts'
import type { WebsocketAccept, WebsocketProtocol, WebsocketReceive, WebsocketScope } from './scope.ts'

/** What a session needs of the listener that it belongs to. */
export interface SessionOwner extends SocketLimits, OpeningLimits {
  /** Completes the handshake; undefined when the peer is gone. */
  upgrade(handshake: Handshake, subprotocol: string | undefined, headers: readonly string[]): OpenSocket | undefined
  /** The socket is closed. */
  disconnected(session: WebsocketSession): void
  /** The socket is closed and the application has ended. */
  forget(session: WebsocketSession): void
  /** No rule took the handshake after all. */
  unrouted(scope: WebsocketScope): void
}

/** Of the socket, whatever the application may say. */
type Phase = 'handshake' | 'open' | 'closed'

export class WebsocketSession
  implements Transport<WebsocketProtocol>, rules.Speaking, SocketEvents, OpeningEvents, Linked<WebsocketSession>
{
  // What every message looks at comes first, and so lies side by side in memory.
  state: rules.State = 'connecting'
  #phase: Phase = 'handshake'
  #socket: OpenSocket | undefined
  before: WebsocketSession | undefined = undefined
  after: WebsocketSession | undefined = undefined
  progress: Progress = 'none'
  readonly #owner: SessionOwner
  #connection: Connection<WebsocketProtocol> | undefined
  /** Until it is answered: what came with the request is not kept for as long as the socket is open. */
  #opening: Opening | undefined
  #refusal: Refusal | undefined

  constructor(owner: SessionOwner, handshake: Handshake) {
    this.#owner = owner
    this.#opening = new Opening(handshake, owner, this)
  }

  get scope(): WebsocketScope {
    return (this.#connection as Connection<WebsocketProtocol>).scope // the application speaks a turn after `start`
  }

  start(connection: Connection<WebsocketProtocol>): void {
    this.#connection = connection
    connection.deliver({ type: 'websocket.connect' })
  }

  send(event: WebsocketProtocol['send']): void | Promise<void> {
    // The peer or the gateway has ended it, and the event that says so is on its way. After its own end all is an error.
    if ((this.#phase === 'closed' || this.#socket?.closing) && this.state !== 'closed') return undefined
    switch (event.type) {
      case 'websocket.accept':
        return this.#accept(event, rules.accept(this, event))
      case 'websocket.send': {
        const data = rules.message(this, event)
        return this.#socket?.say(data)
      }
      case 'websocket.close':
        return this.#close(...rules.close(this, event))
      case 'websocket.http.response.start':
        return this.#beginRefusal(event.status, rules.refuse(this, event))
      case 'websocket.http.response.body':
        return this.#writeRefusal(rules.refusalPart(this, event), event.moreBody === true)
      default:
        throw rules.unexpected(this, event satisfies never)
    }
  }

  touch(all: readonly Transport[]): number {
    const sockets: OpenSocket[] = []
    for (const one of all) if (one instanceof WebsocketSession && one.#socket) sockets.push(one.#socket)
    return OpenSocket.touch(sockets)
  }

  end(outcome: Outcome): void {
    switch (this.#phase) {
      case 'handshake':
        return this.#refuseFor(outcome)
      case 'open':
        this.progress = 'finished'
        return this.#end(outcome)
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

  left(): void {
    this.#opening = undefined
    this.closed(1006, '')
  }

  late(): void {
    this.leave(new SignalboxError('timed_out', 'the application did not answer the handshake within handshakeTimeout'))
  }

  #accept({ subprotocol }: WebsocketAccept, headers: readonly string[]): void {
    const handshake = this.#settle()
    const socket = handshake && this.#owner.upgrade(handshake, subprotocol, headers)
    if (!socket) return this.closed(1006, '')
    this.#phase = 'open'
    this.progress = 'started'
    this.#socket = socket
    socket.begin(handshake.socket, this.#owner, this)
  }

  #close(code: number, reason: string): void {
    if (!this.#socket) return this.#refuse(403)
    this.progress = 'finished'
    this.#socket.finish(code, reason)
  }

  #beginRefusal(status: number, headers: readonly string[]): void {
    if (this.#opening) this.#refusal = new Refusal(this.#opening.handshake.socket, status, headers)
  }

  #writeRefusal(body: string | Uint8Array, moreBody: boolean): void | Promise<void> {
    const written = this.#refusal?.write(body, moreBody)
    this.progress = 'started'
    if (!moreBody) this.#refused()
    return written
  }

  #end(outcome: Outcome): void {
    const { code, reason } = closeFor(outcome)
    this.#socket?.end(code, reason)
  }

  #refuseFor(outcome: Outcome): void {
    const unrouted = outcome.kind === 'raised' && hasCode(outcome.error, 'no_route')
    if (unrouted && this.#connection) this.#owner.unrouted(this.#connection.scope)
    this.#refuse(refusalFor(outcome))
  }

  /** What is on the wire cannot be taken back: a refusal that has begun is cut. */
  #refuse(status: number): void {
    const socket = this.#opening?.handshake.socket
    if (socket && this.progress === 'none') endUpgrade(socket, status)
    else socket?.destroy()
    this.#refused()
  }

  /** The application hears at once that it is over; the socket closes when the peer has read its answer. */
  #refused(): void {
    this.#settle()
    this.closed(1006, '')
  }

  #settle(): Handshake | undefined {
    const opening = this.#opening
    this.#opening = undefined
    opening?.settle()
    return opening?.handshake
  }
}

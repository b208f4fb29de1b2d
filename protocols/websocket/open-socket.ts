/** An accepted WebSocket: its messages in both directions, with their bounds, its heartbeat, and its close. */
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import type { Corker } from './corker.ts'
import type { WebsocketReceive } from './scope.ts'

/** What a listener says about all its sockets. */
export interface SocketLimits {
  readonly corker: Corker
  /** In bytes. */
  readonly sendBuffer: number
  /** Heartbeats without a sign of life after which a peer is cut. */
  readonly idleBeats: number
  /** In milliseconds. */
  readonly idleTimeout: number
}

/** Where what happens on the socket goes. */
export interface SocketEvents {
  /** False: no more, until `resume`. */
  message(event: WebsocketReceive, bytes: number): boolean
  closed(code: number, reason: string): void
}

/** What may wait in memory before `send` makes its caller wait, in bytes. */
const highWater = 64 * 1024

/** The codes that `ws` closes with when a peer breaks the protocol; its `close` event tells 1006 then. */
const protocolErrors: Readonly<Record<string, number>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
}

export class OpenSocket {
  readonly #ws: WebSocket
  readonly #raw: Socket
  readonly #limits: SocketLimits
  readonly #events: SocketEvents
  /** The code and the reason that the gateway closed with, where it was the gateway. */
  #ownClose: readonly [code: number, reason: string] | undefined
  #closing = false
  #corked = false
  #paused = false
  /** A sign of life since the last heartbeat. */
  #seen = true
  /** Heartbeats since the last sign of life. */
  #missed = 0

  constructor(ws: WebSocket, raw: Socket, limits: SocketLimits, events: SocketEvents) {
    this.#ws = ws
    this.#raw = raw
    this.#limits = limits
    this.#events = events
    const seen = () => {
      this.#seen = true
    }
    ws.on('message', (data, isBinary) => this.#message(data, isBinary))
    ws.on('ping', seen)
    ws.on('pong', seen)
    ws.on('error', (error) => this.#error(error))
    raw.on('timeout', () => this.cut('the peer does not read'))
    ws.on('close', (code, reason) => {
      const [ownCode, ownReason] = this.#ownClose ?? [code, reason.toString()]
      events.closed(ownCode, ownReason)
    })
  }

  /** Whether we have said that it ends. */
  get closing(): boolean {
    return this.#closing
  }

  /** A promise means: wait before sending more. */
  send(data: string | Uint8Array): void | Promise<void> {
    const ws = this.#ws
    // The peer has closed, and the event that says so is on its way.
    if (ws.readyState !== ws.OPEN) return undefined
    const waiting = ws.bufferedAmount
    const sum = waiting + data.length
    if (waiting > 0 && sum > this.#limits.sendBuffer) return this.end(1013, 'the peer does not read')
    this.#cork()
    if (sum < highWater) {
      ws.send(data)
      return undefined
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    ws.send(data, () => resolve()) // an error means that the peer is gone, and that is no error of the sender
    this.uncork()
    return promise
  }

  /** Closes for the application: the peer's answer is what its disconnect event tells. */
  close(code: number, reason: string): void {
    if (this.#closing) return
    this.#closing = true
    this.#ws.close(code, reason)
    // The answer is behind what the peer said before, and that is not delivered any more.
    this.resume()
  }

  /** Closes for the gateway: the disconnect event tells this code, whatever the peer answers. */
  end(code: number, reason: string): void {
    if (!this.#closing) this.#ownClose = [code, reason]
    this.close(code, reason)
  }

  /** Without waiting for the peer. */
  cut(reason: string): void {
    this.#ownClose ??= [1006, reason]
    this.#ws.terminate()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#seen = true
    this.#ws.resume()
  }

  /** Called every heartbeat: pings, and cuts a peer that has given no sign of life for too many of them. */
  beat(): void {
    // What a paused peer says is not read: not hearing it says nothing. Counted in heartbeats, not by the clock, so that
    // a process that stood still itself takes nobody for dead.
    this.#missed = this.#seen || this.#paused ? 0 : this.#missed + 1
    this.#seen = false
    this.#watchReader()
    if (this.#closing) return
    if (this.#missed < this.#limits.idleBeats) this.#ws.ping()
    else this.cut('no sign of life')
  }

  uncork(): void {
    if (!this.#corked) return
    this.#corked = false
    this.#raw.uncork()
  }

  /**
   * A peer that sends and does not read holds the application in its `send`, and itself out of the heartbeat. While that is so,
   * its connection has a time-out, which every byte that it takes begins anew.
   */
  #watchReader(): void {
    const timeout = this.#paused && this.#ws.bufferedAmount > 0 ? this.#limits.idleTimeout : 0
    if ((this.#raw.timeout ?? 0) !== timeout) this.#raw.setTimeout(timeout)
  }

  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#raw.cork()
    this.#limits.corker.add(this)
  }

  #message(data: RawData, isBinary: boolean): void {
    this.#seen = true
    if (this.#closing) return
    const bytes = data as Buffer // what the default binaryType gives
    const event: WebsocketReceive = isBinary
      ? { type: 'websocket.receive', bytes: ownBytes(bytes) }
      : { type: 'websocket.receive', text: bytes.toString() }
    if (this.#events.message(event, bytes.length)) return
    this.#paused = true
    this.#ws.pause()
  }

  #error(error: Error): void {
    const code = 'code' in error ? String(error.code) : ''
    // Not one of its own: the connection broke, and `close` says so.
    if (!code.startsWith('WS_ERR_')) return
    this.#ownClose ??= [protocolErrors[code] ?? 1002, error.message]
    this.#closing = true
  }
}

/** A message is a slice of what was read from the socket: kept as it is, a small one would hold up to 64 KB in memory. */
function ownBytes(data: Buffer): Uint8Array {
  return data.length * 2 < data.buffer.byteLength ? new Uint8Array(data) : data
}

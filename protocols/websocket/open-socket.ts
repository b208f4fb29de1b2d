/** An accepted WebSocket: its messages in both directions, with their bounds, its heartbeat, and its close. */
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { WebSocket } from 'ws'
import { closeAnswer } from './batch.ts'
import type { BatchCorker, Speaker } from './corker.ts'
import { Reader, type Messages } from './reader.ts'
import type { WebsocketReceive } from './scope.ts'

/** What a listener says about all its sockets. */
export interface SocketLimits {
  readonly corker: BatchCorker
  /** In bytes. */
  readonly sendBuffer: number
  /** In bytes. */
  readonly maxMessageSize: number
  /** Heartbeats without a sign of life after which a peer is cut. */
  readonly idleBeats: number
  /** In milliseconds. */
  readonly idleTimeout: number
  /** How long a peer may take to read the end or to answer it, in milliseconds. */
  readonly closeTimeout: number
}

/** Where what happens on the socket goes. */
export interface SocketEvents {
  /** False: no more, until `resume`. */
  message(event: WebsocketReceive, bytes: number): boolean
  closed(code: number, reason: string): void
}

/** What may wait in memory before `say` makes its caller wait, in bytes. */
const highWater = 64 * 1024
/** From this size on bytes are not copied behind their header, but written beside it. */
const large = 16 * 1024

/** The codes that `ws` closes with when a peer breaks the protocol; its `close` event tells 1006 then. */
const protocolErrors: Readonly<Record<string, number>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
}

/**
 * The `ws` of the package, which reads, shakes hands and closes; it writes what is not said in a turn's batch: control frames,
 * what is compressed, and what is large.
 */
export class OpenSocket extends WebSocket implements Speaker, Messages {
  spoke = -1
  place = -1
  /** What waited when it began to speak in this turn, in bytes. */
  #waiting = 0
  #raw: Socket | undefined
  #limits: SocketLimits | undefined
  #events: SocketEvents | undefined
  /** Whether permessage-deflate was agreed on. */
  #deflates = false
  /** What is written is kept back until the turn is over: the answer to the handshake, or the one to the peer's close. */
  #corked: 'handshake' | 'close' | undefined = 'handshake'
  /** The code and the reason that the gateway closed with, where it was the gateway. */
  #ownClose: readonly [code: number, reason: string] | undefined
  #watched = false
  /** Bytes that had come at the last heartbeat, and heartbeats since more of them came. */
  #read = 0
  #missed = 0

  /** The package makes these objects; called as soon as it has. `raw` is corked. */
  begin(raw: Socket, limits: SocketLimits, events: SocketEvents): void {
    this.#raw = raw
    this.#limits = limits
    this.#events = events
    this.#deflates = this.extensions !== ''
    // See `emit`: the table of listeners would be a sixth of all that an idle socket of the package holds.
    ;(this as { _events?: unknown })._events = undefined
    limits.corker.add(this)
    // What is compressed needs its time, and what comes behind it waits.
    if (this.#receiver && !this.#deflates) Reader.before(this.#receiver, this, limits.maxMessageSize)
  }

  /** Whether one of both sides has said that it ends. */
  get closing(): boolean {
    return this.readyState !== this.OPEN || this.#corked === 'close'
  }

  /** A message of the peer. */
  received(data: string | Uint8Array, length: number): void {
    if (this.closing) return
    const event: WebsocketReceive =
      typeof data === 'string' ? { type: 'websocket.receive', text: data } : { type: 'websocket.receive', bytes: data }
    if (this.#events?.message(event, length) === false) this.pause()
  }

  /** See `Transport.touch`. */
  static touch(sockets: readonly OpenSocket[]): number {
    const raws: (Socket | undefined)[] = []
    let sum = 0
    for (const socket of sockets) {
      sum += socket.readyState
      raws.push(socket.#raw)
    }
    for (const raw of raws) sum += raw?.writableLength ?? 0
    return sum
  }

  /** Sends a message. A promise means: wait before sending more. */
  say(data: string | Uint8Array): void | Promise<void> {
    const limits = this.#limits
    // The peer has closed, and the event that says so is on its way.
    if (!limits || this.closing) return undefined
    // The answer to the handshake counts for nothing that waits.
    if (data.length >= large && this.#corked) this.#uncork()
    // Within a turn nothing of it is written.
    if (this.place < 0) this.#waiting = this.#deflates ? this.bufferedAmount : this.#unwritten
    const waiting = this.#waiting + limits.corker.unwritten(this)
    const sum = waiting + data.length
    if (waiting > 0 && sum > limits.sendBuffer) return this.end(1013, 'the peer does not read')
    if (this.#deflates || (typeof data !== 'string' && data.length >= large)) return this.#sayApart(data, sum)
    limits.corker.say(this, data)
    if (sum < highWater) return undefined
    if (this.#corked) this.#uncork()
    return new Promise((resolve) => this.#flush(resolve)) // an error means that the peer is gone, and that is no error of the sender
  }

  /** Closes for the application: the peer's answer is what its disconnect event tells. */
  finish(code: number, reason: string): void {
    this.flush()
    if (this.#corked !== 'close') super.close(code, reason)
    // The answer is behind what the peer said before, and that is not delivered any more.
    this.resume()
  }

  /** How the package answers the peer's close, or ends what the peer has broken: with what was said before it. */
  override close(code?: number, reason?: string | Buffer): void {
    const raw = this.#raw
    // RFC 6455 5.5.1: a peer that has said its last word sends nothing more, so nothing is left to wait for. TLS has an end of its
    // own. One that broke the protocol may still be sending: the package gives no reason then.
    const isAnswer = (code === undefined || reason !== undefined) && raw && !('encrypted' in raw)
    if (isAnswer && !this.closing && !this.#deflates) return this.#answer(raw, closeAnswer(code, reason))
    this.flush()
    super.close(code, reason)
    if (isAnswer && raw.writableEnded && raw.writableLength === 0) raw.destroy()
    // The socket is ended by the package. Ended once more when the peer ends its side, it would make two errors that nobody sees,
    // which cost as much as the rest of the close.
    else if (raw) for (const listener of raw.listeners('end')) raw.off('end', listener as () => void)
  }

  /** Closes for the gateway: the disconnect event tells this code, whatever the peer answers. */
  end(code: number, reason: string): void {
    if (!this.closing) this.#ownClose = [code, reason]
    this.finish(code, reason)
  }

  /** Without waiting for the peer. */
  cut(reason: string): void {
    this.#ownClose ??= [1006, reason]
    this.terminate()
  }

  override resume(): void {
    if (this.isPaused) super.resume()
  }

  /** Called every heartbeat: pings, and cuts a peer that has given no sign of life for too many of them. */
  beat(): void {
    const { idleBeats = Infinity } = this.#limits ?? {}
    const read = this.#raw?.bytesRead ?? 0
    // What a paused peer says is not read: not hearing it says nothing. Counted in heartbeats, not by the clock, so that
    // a process that stood still itself takes nobody for dead.
    this.#missed = read !== this.#read || this.isPaused ? 0 : this.#missed + 1
    this.#read = read
    this.#watchReader()
    if (this.closing) return
    if (this.#missed < idleBeats) this.ping()
    else this.cut('no sign of life')
  }

  /** The turn is over. */
  flush(): void {
    this.#flush()
    if (this.#corked) this.#uncork()
  }

  /** How the package tells what happens. There are no other listeners, so nothing is looked up or allocated for them. */
  override emit(name: string | symbol, first?: unknown, second?: unknown): boolean {
    if (name === 'message') this.#message(first as Buffer, second === true) // what the default binaryType gives
    else if (name === 'error') this.#error(first as Error)
    else if (name === 'close') this.#closed(first as number, second as Buffer)
    return true
  }

  /** What the package reads with. One that keeps it elsewhere is left alone. */
  get #receiver(): Writable | undefined {
    return (this as { readonly _receiver?: Writable })._receiver
  }

  /** In bytes; all that waits, where nothing is being compressed. */
  get #unwritten(): number {
    return this.#raw?.writableLength ?? 0
  }

  #sayApart(data: string | Uint8Array, sum: number): void | Promise<void> {
    this.flush()
    if (sum < highWater) return this.send(data)
    return new Promise((resolve) => this.send(data, () => resolve()))
  }

  /** It leaves behind what was said before, and in one piece with it. */
  #answer(raw: Socket, frame: Buffer): void {
    if (!this.#corked) raw.cork()
    this.#flush()
    this.#corked = 'close'
    raw.write(frame)
    this.#limits?.corker.add(this)
  }

  /** Both sides have said that they close, and what has to be said is written (RFC 6455 7.1.1). */
  #part(): void {
    const raw = this.#raw
    if (!raw || raw.writableEnded || raw.destroyed) return
    this.#hasHeardAll()
    // What the kernel has it delivers.
    if (raw.writableLength === 0) return this.terminate()
    raw.destroySoon()
    setTimeout(() => this.terminate(), this.#limits?.closeTimeout).unref()
  }

  /**
   * The package ends what it reads with once more when the socket is closed, and Node makes an error of that which nobody sees, and
   * which costs as much as a twelfth of a short connection.
   */
  #hasHeardAll(): void {
    const receiver = this.#receiver
    if (receiver?.writableFinished) receiver.end = endNothing
  }

  #uncork(): void {
    this.#raw?.uncork()
    if (this.#corked === 'close') this.#part()
    else this.#corked = undefined
  }

  #flush(written?: () => void): void {
    const batch = this.#limits?.corker.take(this)
    if (batch && this.readyState === this.OPEN) this.#raw?.write(batch.bytes, written)
    else written?.()
  }

  /**
   * A peer that sends and does not read holds the application in its `send`, and itself out of the heartbeat. While that is so,
   * its connection has a time-out, which every byte that it takes begins anew.
   */
  #watchReader(): void {
    const raw = this.#raw
    const timeout = this.isPaused && this.bufferedAmount > 0 ? (this.#limits?.idleTimeout ?? 0) : 0
    if (!raw || (raw.timeout ?? 0) === timeout) return
    if (!this.#watched) raw.on('timeout', () => this.cut('the peer does not read'))
    this.#watched = true
    raw.setTimeout(timeout)
  }

  #message(data: Buffer, isBinary: boolean): void {
    this.received(isBinary ? ownBytes(data) : data.toString(), data.length)
  }

  #error(error: Error): void {
    const code = 'code' in error ? String(error.code) : ''
    if (code.startsWith('WS_ERR_')) this.#ownClose ??= [protocolErrors[code] ?? 1002, error.message]
    // What zlib cannot read. Anything else is a connection that broke, and `close` says so.
    else if (code.startsWith('Z_')) this.#ownClose ??= [1007, error.message]
  }

  #closed(code: number, reason: Buffer): void {
    const [ownCode, ownReason] = this.#ownClose ?? [code, reason.toString()]
    const events = this.#events
    // The package keeps closures that V8 may make old, and these keep all that they know until the next collection of everything.
    this.#events = undefined
    events?.closed(ownCode, ownReason)
  }
}

/** One for all: assigned where it is written, a function is made old, and it would know the whole connection. */
function endNothing<T>(this: T): T {
  return this
}

/** A message is a slice of what was read from the socket: kept as it is, a small one would hold up to 64 KB in memory. */
function ownBytes(data: Buffer): Uint8Array {
  return data.length * 2 < data.buffer.byteLength ? new Uint8Array(data) : data
}

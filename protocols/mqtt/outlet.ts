/** The way out to a client: what is written in one turn goes out in one piece, and a client that does not read is noticed. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Corker, type Corked } from '../../src/runtime/corker.ts'

/** What may wait for a client that does not read; then whoever sends to it waits, and nothing is taken from it. */
const unreadLimit = 256 * 1024
/** To copy so few bytes one by one is quicker than to ask for it: Aedes writes headers and lengths by themselves. */
const shortPiece = 8
/** How long a connection that is being closed may take to send its last bytes, in milliseconds. */
const lingerTimeout = 2000

/** Of all clients: one callback a turn. */
const corker = new Corker()

export class Outlet implements Corked {
  readonly #target: Duplex
  readonly #onRoom: () => void
  /** What was written in this turn, when it is one piece; else all of them are in `#out`. */
  #only: Uint8Array | undefined
  #out: (Uint8Array | string)[] | undefined
  #bytes = 0
  /** Identifiers of messages of QoS 1 to acknowledge. */
  #acknowledged: number[] | undefined
  #scheduled = false

  /** `onRoom` is called when a client that did not read has read. */
  constructor(target: Duplex, onRoom: () => void) {
    this.#target = target
    this.#onRoom = onRoom
    target.on('drain', onRoom)
  }

  /** How many bytes wait for the client. */
  get waiting(): number {
    return this.#bytes + this.#target.writableLength
  }

  /** The client does not read what it is sent. */
  get isClogged(): boolean {
    return this.waiting >= unreadLimit
  }

  /** A piece of a packet; text is UTF-8. */
  write(piece: Uint8Array | string): void {
    if (!this.#only && !this.#out && typeof piece === 'object') this.#only = piece
    else (this.#out ??= this.#only ? [this.#only] : []).push(piece)
    this.#bytes += typeof piece === 'string' ? Buffer.byteLength(piece) : piece.length
    this.#schedule()
  }

  /** PUBACK: in no order with anything but other acknowledgements. */
  acknowledge(messageId: number): void {
    ;(this.#acknowledged ??= []).push(messageId)
    this.#bytes += 4
    this.#schedule()
  }

  /**
   * Sends what is left, and closes the connection from our side; whoever does not take it in time is cut. With `saidGoodbye`
   * nothing more comes from the client.
   */
  close(saidGoodbye: boolean): void {
    const target = this.#target
    if (target.destroyed) return
    const clogged = this.isClogged
    this.flush()
    // What the kernel has it delivers. TLS has an end of its own.
    if (saidGoodbye && target.writableLength === 0 && target instanceof Socket && !('encrypted' in target)) {
      target.destroy()
      return
    }
    target.end()
    if (clogged) {
      target.destroy()
      return
    }
    // Read on: what comes meanwhile is thrown away, but unread it would make the kernel throw our last bytes away.
    target.resume()
    const timer = setTimeout(() => target.destroy(), lingerTimeout)
    target.once('close', () => clearTimeout(timer))
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    corker.add(this)
  }

  /** The turn is over. */
  flush(): void {
    this.#scheduled = false
    if (this.#bytes === 0) return
    const clogged = this.isClogged
    const packets = this.#take()
    const taken = !this.#target.writable || this.#target.write(packets)
    // Otherwise the target says so when it is.
    if (taken && clogged) this.#onRoom()
  }

  #take(): Uint8Array {
    const packets = this.#only && !this.#out && !this.#acknowledged ? this.#only : this.#packed()
    this.#only = undefined
    this.#out = undefined
    this.#acknowledged = undefined
    this.#bytes = 0
    return packets
  }

  #packed(): Buffer {
    const packed = Buffer.allocUnsafe(this.#bytes)
    let at = 0
    for (const piece of this.#out ?? (this.#only ? [this.#only] : [])) {
      if (typeof piece === 'string') at += packed.write(piece, at)
      else if (piece.length > shortPiece) {
        packed.set(piece, at)
        at += piece.length
      } else {
        for (let index = 0; index < piece.length; index++) packed[at++] = piece[index] as number // inside it
      }
    }
    for (const id of this.#acknowledged ?? []) {
      packed[at++] = 0x40
      packed[at++] = 2
      packed[at++] = id >> 8
      packed[at++] = id & 0xff
    }
    return packed
  }
}

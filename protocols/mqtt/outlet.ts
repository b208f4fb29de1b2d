/** The way out to a client: what is written in one turn goes out in one piece, and a client that does not read is noticed. */
import type { Duplex } from 'node:stream'

/** What may wait for a client that does not read; then whoever sends to it waits, and nothing is taken from it. */
const unreadLimit = 256 * 1024
/** How long a connection that is being closed may take to send its last bytes, in milliseconds. */
const lingerTimeout = 2000

export class Outlet {
  readonly #target: Duplex
  #out: Buffer[] = []
  #bytes = 0
  /** Identifiers of messages of QoS 1 to acknowledge. */
  #acknowledged: number[] = []
  #scheduled = false
  #written: (() => void) | undefined

  /** `onRoom` is called when a client that did not read has read. */
  constructor(target: Duplex, onRoom: () => void) {
    this.#target = target
    target.on('drain', () => {
      this.#settle()
      onRoom()
    })
  }

  /** The client does not read what it is sent. */
  get isClogged(): boolean {
    return this.#bytes + this.#target.writableLength >= unreadLimit
  }

  /** Whole packets. `done` is called when more may be written. */
  write(packets: readonly Buffer[], done: () => void): void {
    for (const packet of packets) {
      this.#out.push(packet)
      this.#bytes += packet.length
    }
    this.#schedule()
    if (this.isClogged) this.#written = done
    else done()
  }

  /** PUBACK: in no order with anything but other acknowledgements. */
  acknowledge(messageId: number): void {
    this.#acknowledged.push(messageId)
    this.#bytes += 4
    this.#schedule()
  }

  /** Sends what is left, and closes the connection from our side; whoever does not take it in time is cut. */
  close(): void {
    const target = this.#target
    if (target.destroyed) return
    const clogged = this.isClogged
    this.#flush()
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
    setImmediate(this.#flush)
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    const out = this.#out
    if (this.#acknowledged.length > 0) out.push(acknowledgements(this.#acknowledged))
    if (out.length === 0) return
    this.#out = []
    this.#acknowledged = []
    this.#bytes = 0
    const taken = !this.#target.writable || this.#target.write(out.length === 1 ? out[0] : Buffer.concat(out))
    if (taken) this.#settle()
  }

  #settle(): void {
    const written = this.#written
    this.#written = undefined
    written?.()
  }
}

function acknowledgements(messageIds: readonly number[]): Buffer {
  const packets = Buffer.allocUnsafe(4 * messageIds.length)
  let at = 0
  for (const id of messageIds) {
    packets[at++] = 0x40
    packets[at++] = 2
    packets[at++] = id >> 8
    packets[at++] = id & 0xff
  }
  return packets
}

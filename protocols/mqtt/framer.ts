/** Cuts a stream of bytes into MQTT control packets, however the bytes were chunked. */
import { packetLength, packetType, packetTypes, ProtocolViolation } from './packet.ts'

const noBytes = Buffer.alloc(0)

/** Holds at most one packet that has not come completely; its length is known, and limited, after five bytes. */
export class Framer {
  readonly #maxPacketSize: number
  /** What has come; from `#at` on it was not taken. */
  #bytes: Buffer = noBytes
  #at = 0
  /** The larger buffer of our own that `#bytes` is the start of, while we collect. */
  #room: Buffer | undefined
  #first = true

  constructor(maxPacketSize: number) {
    this.#maxPacketSize = maxPacketSize
  }

  /** How many bytes have come and were not taken. */
  get buffered(): number {
    return this.#bytes.length - this.#at
  }

  put(chunk: Buffer): void {
    if (this.buffered === 0) {
      this.#bytes = chunk
      this.#room = undefined
    } else this.#append(chunk)
    this.#at = 0
  }

  /**
   * The next packet, or undefined until more bytes come. Its bytes are not overwritten later.
   * @throws ProtocolViolation when it is too large, its length is malformed, or the first one is no CONNECT.
   */
  next(): Buffer | undefined {
    const bytes = this.#bytes
    const start = this.#at
    if (start === bytes.length) return undefined
    // [MQTT-3.1.0-1]. Known from the first byte: this is where a browser that has lost its way is turned away.
    if (this.#first && packetType(bytes, start) !== packetTypes.connect) {
      throw new ProtocolViolation('the first packet is no CONNECT')
    }
    const length = packetLength(bytes, start)
    if (length === undefined) return undefined
    if (length > this.#maxPacketSize) {
      throw new ProtocolViolation(`a packet of ${length} bytes: at most ${this.#maxPacketSize} are taken`)
    }
    if (bytes.length - start < length) return undefined
    this.#first = false
    const end = start + length
    // Of what was taken nothing is held: a client that is idle holds no buffer.
    const isTaken = end === bytes.length
    this.#bytes = isTaken ? noBytes : bytes
    this.#at = isTaken ? 0 : end
    // What follows must not be put over the packet that is given out: its room is not ours any more.
    this.#room = undefined
    return start === 0 && isTaken ? bytes : bytes.subarray(start, end)
  }

  #append(chunk: Buffer): void {
    const held = this.#bytes.subarray(this.#at)
    const length = held.length + chunk.length
    let room = this.#room
    if (!room || room.length < length) {
      // Twice as large each time: a client that sends byte by byte makes us copy each byte a few times, no more.
      room = Buffer.allocUnsafeSlow(Math.max(length, Math.min(2 * length, this.#maxPacketSize)))
      held.copy(room)
      this.#room = room
    }
    chunk.copy(room, held.length)
    this.#bytes = room.subarray(0, length)
  }
}

/** The packets from `start` to before `end`, of which there is one, one behind the other; without a copy when they came so. */
export function joined(packets: readonly Buffer[], start: number, end: number): Buffer {
  const some = packets.slice(start, end)
  const first = some[0] as Buffer // there is one
  const inOnePiece = some.every((packet, index) => index === 0 || follows(some[index - 1] as Buffer, packet)) // the one before
  if (!inOnePiece) return Buffer.concat(some)
  const length = some.reduce((sum, packet) => sum + packet.length, 0)
  return Buffer.from(first.buffer, first.byteOffset, length)
}

function follows(before: Buffer, packet: Buffer): boolean {
  return before.buffer === packet.buffer && before.byteOffset + before.length === packet.byteOffset
}

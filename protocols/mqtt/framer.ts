/** Cuts a stream of bytes into MQTT control packets, however the bytes were chunked. */
import { packetLength, packetType, packetTypes, ProtocolViolation } from './packet.ts'

/** Holds at most one packet that has not come completely; its length is known, and limited, after five bytes. */
export class Framer {
  readonly #maxPacketSize: number
  /** What has come and was not taken. When `#copied`, it is the start of a larger buffer of our own. */
  #bytes: Buffer = Buffer.alloc(0)
  #room: Buffer | undefined
  #first = true

  constructor(maxPacketSize: number) {
    this.#maxPacketSize = maxPacketSize
  }

  /** How many bytes have come and were not taken. */
  get buffered(): number {
    return this.#bytes.length
  }

  put(chunk: Buffer): void {
    if (this.#bytes.length === 0) {
      this.#bytes = chunk
      this.#room = undefined
      return
    }
    const length = this.#bytes.length + chunk.length
    if (!this.#room || this.#room.length < length) {
      // Twice as large each time: a client that sends byte by byte makes us copy each byte a few times, no more.
      this.#room = Buffer.allocUnsafeSlow(Math.max(length, Math.min(2 * length, this.#maxPacketSize)))
      this.#bytes.copy(this.#room)
    }
    chunk.copy(this.#room, this.#bytes.length)
    this.#bytes = this.#room.subarray(0, length)
  }

  /**
   * The next packet, or undefined until more bytes come. Its bytes are not overwritten later.
   * @throws ProtocolViolation when it is too large, its length is malformed, or the first one is no CONNECT.
   */
  next(): Buffer | undefined {
    if (this.#bytes.length === 0) return undefined
    // [MQTT-3.1.0-1]. Known from the first byte: this is where a browser that has lost its way is turned away.
    if (this.#first && packetType(this.#bytes) !== packetTypes.connect) {
      throw new ProtocolViolation('the first packet is no CONNECT')
    }
    const length = packetLength(this.#bytes)
    if (length === undefined) return undefined
    if (length > this.#maxPacketSize) {
      throw new ProtocolViolation(`a packet of ${length} bytes: at most ${this.#maxPacketSize} are taken`)
    }
    if (this.#bytes.length < length) return undefined
    this.#first = false
    const packet = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    // What follows must not be put over the packet that was given out: its room is not ours any more.
    this.#room = undefined
    return packet
  }
}

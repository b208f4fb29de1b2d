/** Messages while they come in: memory that is bounded over all connections together. */

/** Counts what all connections hold. */
export class Spool {
  readonly #limit: number
  #used = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get used(): number {
    return this.#used
  }

  hasRoom(bytes: number): boolean {
    return this.#used + bytes <= this.#limit
  }

  /** False: there is no room, and nothing was taken. */
  take(bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false
    this.#used += bytes
    return true
  }

  give(bytes: number): void {
    this.#used -= bytes
  }
}

const smallestBlock = 4 * 1024
const largestBlock = 256 * 1024

/** One message. Chunks are copied: a chunk of one byte would otherwise hold a buffer and an object of its own. */
export class MessageBuffer {
  readonly #full: Buffer[] = []
  #block: Buffer = Buffer.alloc(0)
  #used = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  append(chunk: Uint8Array): void {
    let rest = chunk
    while (rest.byteLength > 0) {
      if (this.#used === this.#block.byteLength) this.#grow(rest.byteLength)
      const part = rest.subarray(0, this.#block.byteLength - this.#used)
      this.#block.set(part, this.#used)
      this.#used += part.byteLength
      rest = rest.subarray(part.byteLength)
    }
    this.#length += chunk.byteLength
  }

  /** The whole message; the buffer is empty afterwards. */
  take(): Buffer {
    const parts = [...this.#full, this.#block.subarray(0, this.#used)]
    const whole = Buffer.concat(parts, this.#length)
    this.clear()
    return whole
  }

  clear(): void {
    this.#full.length = 0
    this.#block = Buffer.alloc(0)
    this.#used = this.#length = 0
  }

  #grow(needed: number): void {
    if (this.#used > 0) this.#full.push(this.#block)
    const size = Math.min(Math.max(smallestBlock, needed, this.#length), largestBlock)
    this.#block = Buffer.allocUnsafeSlow(size)
    this.#used = 0
  }
}

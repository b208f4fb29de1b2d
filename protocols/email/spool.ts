/** Messages while they come in: memory that is bounded over all connections together. */

/** Counts what all connections hold. */
export class Spool {
  readonly #limit: number
  #used = 0
  #waiting: { readonly bytes: number; readonly resolve: () => void }[] = []

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

  /** As `room`, without waiting. False: there is none, or others wait for it, and nothing was taken. */
  takeNow(bytes: number): boolean {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) return false
    this.#used += bytes
    return true
  }

  /** Takes them when there is room, in the order of asking; more than the whole limit when there is nothing else. */
  async room(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.takeNow(bytes)) return
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter = { bytes, resolve }
    const leave = () => {
      this.#waiting = this.#waiting.filter((other) => other !== waiter)
      reject(signal.reason)
    }
    this.#waiting.push(waiter)
    signal.addEventListener('abort', leave, { once: true })
    await promise
    signal.removeEventListener('abort', leave)
  }

  give(bytes: number): void {
    this.#used -= bytes
    for (let next = this.#waiting[0]; next && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#used += next.bytes
      next.resolve()
    }
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.hasRoom(bytes)
  }
}

/** Bytes that were taken, and are given back when everybody who holds them has let go. The first who holds them is there. */
export class Hold {
  readonly #spool: Spool
  readonly #bytes: number
  #holders = 1

  constructor(spool: Spool, bytes: number) {
    this.#spool = spool
    this.#bytes = bytes
  }

  /** One more: to be followed by one more `release`. */
  add(): void {
    this.#holders++
  }

  release(): void {
    if (--this.#holders === 0) this.#spool.give(this.#bytes)
  }
}

const smallestBlock = 4 * 1024
const largestBlock = 256 * 1024
const noBytes = Buffer.alloc(0)

/** One message. Small chunks are copied together: each would otherwise hold a buffer and an object of its own. */
export class MessageBuffer {
  readonly #full: Uint8Array[] = []
  #block = noBytes
  #used = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  /** The chunk must not be overwritten later. */
  append(chunk: Uint8Array): void {
    const isFirst = this.#length === 0
    this.#length += chunk.byteLength
    // Most mails come in one chunk.
    if ((isFirst || chunk.byteLength >= smallestBlock) && 2 * chunk.byteLength >= chunk.buffer.byteLength) {
      this.#endBlock()
      this.#full.push(chunk)
    } else this.#copy(chunk)
  }

  /** The whole message; the buffer is empty afterwards. */
  take(): Buffer {
    this.#endBlock()
    const [only = noBytes, ...others] = this.#full
    const whole =
      others.length === 0
        ? Buffer.from(only.buffer, only.byteOffset, only.byteLength)
        : Buffer.concat(this.#full, this.#length)
    this.clear()
    return whole
  }

  clear(): void {
    this.#full.length = 0
    this.#block = noBytes
    this.#used = this.#length = 0
  }

  #copy(chunk: Uint8Array): void {
    let rest = chunk
    while (rest.byteLength > 0) {
      if (this.#used === this.#block.byteLength) {
        this.#endBlock()
        const size = Math.min(Math.max(smallestBlock, rest.byteLength, this.#length), largestBlock)
        this.#block = Buffer.allocUnsafeSlow(size)
      }
      const part = rest.subarray(0, this.#block.byteLength - this.#used)
      this.#block.set(part, this.#used)
      this.#used += part.byteLength
      rest = rest.subarray(part.byteLength)
    }
  }

  /** What follows goes into a block of its own. */
  #endBlock(): void {
    if (this.#used > 0) this.#full.push(this.#block.subarray(0, this.#used))
    this.#block = this.#block.subarray(this.#used)
    this.#used = 0
  }
}

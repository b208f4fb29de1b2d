/** What is said on a socket in one turn of the event loop: framed (RFC 6455 5.2), and made into the bytes of one write. */

/** FIN and the opcode: a message is never sent in fragments. */
const textFrame = 0x81
const binaryFrame = 0x82
const closeFrame = 0x88

/**
 * A list that grows at its end and shares its beginning: sockets that are told the same in the same turn, as the members of a
 * group are, have one batch, and its bytes are made once.
 */
export class Batch {
  /** In bytes, with all headers. */
  readonly length: number
  readonly #before: Batch | undefined
  /** Of the last message: text, framed when all of it is; or the frame, because whoever sends bytes may change them. */
  readonly #last: string | Buffer
  readonly #payload: number
  /** The last one that was continued from here: most often the one that the next socket needs. */
  #after: Batch | undefined
  #bytes: Buffer | undefined

  /** One to begin with, which is nothing. */
  static empty(): Batch {
    return new Batch(undefined, '', 0)
  }

  private constructor(before: Batch | undefined, last: string | Buffer, payload: number) {
    this.#before = before
    this.#last = last
    this.#payload = payload
    this.length = before
      ? before.length + (typeof last === 'string' ? headerLength(payload) + payload : last.length)
      : 0
  }

  withText(text: string): Batch {
    const after = this.#after
    if (after !== undefined && after.#last === text) return after
    this.#after = new Batch(this, text, Buffer.byteLength(text))
    return this.#after
  }

  withBytes(bytes: Uint8Array): Batch {
    const frame = Buffer.allocUnsafe(headerLength(bytes.length) + bytes.length)
    frame.set(bytes, writeHeader(frame, 0, { first: binaryFrame, payload: bytes.length }))
    return new Batch(this, frame, bytes.length)
  }

  /** All of it, in order. Not to be changed: it is shared. */
  get bytes(): Buffer {
    this.#bytes ??= this.#write()
    return this.#bytes
  }

  #write(): Buffer {
    const whole = Buffer.allocUnsafe(this.length)
    let rest = this.#writeLast(whole)
    while (rest) rest = rest.#writeLast(whole)
    return whole
  }

  /** Answers what is before it. */
  #writeLast(target: Buffer): Batch | undefined {
    const before = this.#before
    if (!before) return undefined
    const last = this.#last
    if (typeof last !== 'string') target.set(last, before.length)
    else target.write(last, writeHeader(target, before.length, { first: textFrame, payload: this.#payload }))
    return before
  }
}

/** RFC 6455 5.5.1: what answers a close says the same; where it had no code, nothing. */
export function closeAnswer(code?: number, reason: string | Uint8Array = ''): Buffer {
  const text = Buffer.from(reason)
  const payload = code === undefined ? 0 : 2 + text.length
  const frame = Buffer.allocUnsafe(headerLength(payload) + payload)
  const at = writeHeader(frame, 0, { first: closeFrame, payload })
  if (code !== undefined) text.copy(frame, frame.writeUInt16BE(code, at))
  return frame
}

/** RFC 6455 5.2: seven bits, or 126 and two bytes, or 127 and eight; whichever is the shortest. A server's frame has no mask. */
function headerLength(payload: number): number {
  if (payload < 126) return 2
  return payload < 65_536 ? 4 : 10
}

/** Answers where the payload begins. */
function writeHeader(target: Buffer, at: number, { first, payload }: { first: number; payload: number }): number {
  target[at] = first
  if (payload < 126) {
    target[at + 1] = payload
    return at + 2
  }
  if (payload < 65_536) {
    target[at + 1] = 126
    return target.writeUInt16BE(payload, at + 2)
  }
  target[at + 1] = 127
  target.writeUInt32BE(Math.floor(payload / 2 ** 32), at + 2)
  return target.writeUInt32BE(payload % 2 ** 32, at + 6)
}

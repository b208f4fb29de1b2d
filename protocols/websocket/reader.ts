/** Reads what most messages are, one whole frame in one chunk (RFC 6455 5.2), and leaves all else to the parser of the package. */
import { isUtf8 } from 'node:buffer'
import { Writable } from 'node:stream'

/** FIN and the opcode, with nothing of an extension. */
const wholeText = 0x81
const wholeBinary = 0x82
/** Of the byte behind it, whose other bits are the length. */
const masked = 0x80

/** The longest message that is read here, in bytes: with a longer one the way to it no longer counts. */
const longest = 4096

/** A text without its mask. */
const plain = Buffer.allocUnsafeSlow(longest)

/** Where the messages go, in order. */
export interface Messages {
  /** How long it was, in bytes. */
  received(data: string | Uint8Array, length: number): void
}

const reader = Symbol('reader')

/** What the package reads with. */
interface Parser extends Writable {
  [reader]?: Reader
}

export class Reader {
  readonly #messages: Messages
  readonly #longest: number
  /** Bytes that the parser is to get until its frame is whole; 0: what comes next begins a frame. */
  #missing = 0
  /** What the parser has of a header that is not whole. */
  #header: Buffer | undefined
  /** The parser has the beginning of a message that comes in fragments. */
  #fragmented = false

  /**
   * From now on what is written to the parser, which has got nothing yet, is read here first. Messages of more than `maxPayload`
   * bytes are the parser's to refuse; 0: there is no such limit.
   */
  static before(parser: Parser, messages: Messages, maxPayload: number): void {
    parser[reader] = new Reader(messages, maxPayload)
    parser.write = write
  }

  private constructor(messages: Messages, maxPayload: number) {
    this.#messages = messages
    this.#longest = maxPayload > 0 ? Math.min(maxPayload, longest) : longest
  }

  /** Reads what it can, and gives the rest to the parser. False: it has enough for now. */
  write(chunk: Buffer, parser: Writable): boolean {
    const at = this.#read(chunk)
    if (at === chunk.length) return true
    const rest = at === 0 ? chunk : chunk.subarray(at)
    this.#follow(rest)
    const ready = Writable.prototype.write.call(parser, rest, 'binary') // which says nothing of bytes
    // Nothing counts behind what breaks the protocol.
    if (parser.errored) this.#missing = Infinity
    return ready
  }

  /** Answers where the first frame begins that is none for here. */
  #read(chunk: Buffer): number {
    let at = 0
    if (this.#missing > 0 || this.#fragmented || this.#header) return at
    for (let length = this.#message(chunk, at); length > 0; length = this.#message(chunk, at)) at += length
    return at
  }

  /** Answers how long its frame is; 0: it is none for here. */
  #message(chunk: Buffer, start: number): number {
    const first = chunk[start]
    if (first !== wholeText && first !== wholeBinary) return 0
    let length = (chunk[start + 1] ?? 0) - masked
    let mask = start + 2
    if (length < 0 || length === 127) return 0
    if (length === 126) {
      length = ((chunk[mask] ?? 0) << 8) | (chunk[mask + 1] ?? 0)
      mask += 2
    }
    const end = mask + 4 + length
    if (length > this.#longest || end > chunk.length) return 0
    const data = first === wholeText ? readText(chunk, mask, length) : readBytes(chunk, mask, length)
    if (data === undefined) return 0
    this.#messages.received(data, length)
    return end - start
  }

  /** Finds out where the parser will stand. */
  #follow(rest: Buffer): void {
    const bytes = this.#header ? Buffer.concat([this.#header, rest]) : rest
    this.#header = undefined
    let at = this.#missing
    while (at < bytes.length) {
      const length = this.#frame(bytes, at)
      if (length === undefined) this.#header = Buffer.from(bytes.subarray(at))
      at += length ?? bytes.length - at
    }
    this.#missing = at - bytes.length
  }

  /** Answers how long it is; undefined: its header is not whole. */
  #frame(bytes: Buffer, start: number): number | undefined {
    const [first = 0, second = 0] = [bytes[start], bytes[start + 1]]
    const short = second & 0x7f
    const wide = short === 126 ? 2 : short === 127 ? 8 : 0
    const at = start + 2
    if (at + wide > bytes.length) return undefined
    // RFC 6455 5.4: control frames may come between fragments.
    if ((first & 0x08) === 0) this.#fragmented = (first & 0x80) === 0
    const head = 6 + wide // without a mask the parser refuses it
    if (wide === 0) return head + short
    if (wide === 2) return head + bytes.readUInt16BE(at)
    return head + bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
  }
}

/** One for all parsers: no closure a socket. */
function write(this: Parser, chunk: Buffer): boolean {
  return this[reader]?.write(chunk, this) ?? true
}

function readBytes(chunk: Buffer, mask: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  unmask(chunk, mask, bytes, length)
  return bytes
}

/** Undefined: it is no UTF-8. */
function readText(chunk: Buffer, mask: number, length: number): string | undefined {
  if (unmask(chunk, mask, plain, length) < 0x80) return plain.toString('latin1', 0, length)
  return isUtf8(plain.subarray(0, length)) ? plain.toString('utf8', 0, length) : undefined
}

/** RFC 6455 5.3. Answers all bits that the bytes have together. */
function unmask(source: Uint8Array, mask: number, target: Uint8Array, length: number): number {
  const start = mask + 4
  let bits = 0
  for (let index = 0; index < length; index++) {
    const byte = (source[start + index] as number) ^ (source[mask + (index & 3)] as number)
    target[index] = byte
    bits |= byte
  }
  return bits
}

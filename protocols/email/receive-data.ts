/** One message while it comes in: what smtp-server writes it into, within every limit, and what is answered when it breaks one. */
import { EventEmitter } from 'node:events'
import { Deadline, Deadlines } from '../../src/runtime/deadlines.ts'
import { settled } from '../../src/runtime/settled.ts'
import { answers, type SmtpAnswer } from './answers.ts'
import { LineEnds, normaliseLineEnds } from './line-ends.ts'
import { MessageBuffer, type Spool } from './spool.ts'

export interface DataLimits {
  readonly maxSize: number
  readonly dataTimeout: number
  readonly dataWindow: number
  /** Bytes a second. */
  readonly dataRate: number
  readonly bareNewlines: 'reject' | 'normalise'
}

/** What is still read, and thrown away, of a message that is refused, so that the answer comes where it is expected. */
const leastDiscarded = 1024 * 1024
/** A refused sender that is silent for this long, in milliseconds, may be waiting for the answer. */
const longestSilence = 1000

/** The client left in the middle of its message: there is nobody to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

/** Who gets a message, or why there is none: one of the two, once. */
export interface DataTaker {
  /** Its bytes are taken from the spool, and are the taker's to give back. */
  message(raw: Buffer): void
  /** SmtpAnswer, after which the session goes on, but for a 421; or ClientGone. Everything is given back. */
  failed(error: SmtpAnswer | ClientGone): void
}

/** What the messages of a listener share. */
export class DataReading {
  readonly limits: DataLimits
  readonly spool: Spool
  /** At the end of each window, and of the time for the whole message, whichever is shorter. */
  readonly windows: Deadlines

  constructor(limits: DataLimits, spool: Spool) {
    this.limits = limits
    this.spool = spool
    this.windows = new Deadlines(Math.min(limits.dataWindow, limits.dataTimeout))
  }
}

/**
 * smtp-server makes a stream of Node's for each message. This is as much of one as it asks for: whoever reads the message wants
 * all of it or nothing.
 */
export class DataReader extends EventEmitter {
  // What smtp-server looks at, and sets.
  readable = true
  writable = true
  writableEnded = false
  readableEnded = false
  destroyed = false
  byteLength = 0
  sizeExceeded = false
  /** Nobody has to make it flow. */
  readonly readableFlowing = true
  readonly #reading: DataReading
  readonly #buffer = new MessageBuffer()
  readonly #lineEnds = new LineEnds()
  readonly #begun = performance.now()
  /** At its end the rate is looked at. */
  readonly #window = new Deadline(() => this.#lookAtRate())
  #taker: DataTaker | undefined
  #refusal: SmtpAnswer | undefined
  #discarded = 0
  #received = 0
  #seenInWindow = 0
  #over = false
  #silence: NodeJS.Timeout | undefined
  /** When less than a window is left. */
  #last: NodeJS.Timeout | undefined

  constructor(reading: DataReading) {
    super()
    this.#reading = reading
    reading.windows.begin(this.#window)
  }

  /** To be called before anything comes. The taker is told a turn later than the parser. */
  read(taker: DataTaker): void {
    this.#taker = taker
  }

  /** The next bytes. There is always room: what is too much is thrown away. */
  write(chunk: Buffer): boolean {
    if (!this.#over) this.#take(chunk)
    return true
  }

  /** The message has come to its end, with these bytes. */
  end(chunk?: Buffer): void {
    if (chunk) this.write(chunk)
    this.writable = this.readable = false
    this.writableEnded = this.readableEnded = true
    // Whoever answers before has the parser go on when the parser itself is done.
    if (this.listenerCount('end') > 0) process.nextTick(() => this.emit('end'))
    this.#end()
  }

  /** Nothing more is wanted of it, or comes. */
  destroy(): void {
    if (this.destroyed) return
    this.writable = this.readable = false
    this.destroyed = true
    if (!this.#over) this.#fail(new ClientGone('the client left in the middle of its message'))
  }

  #lookAtRate(): void {
    const { dataTimeout, dataWindow, dataRate } = this.#reading.limits
    const inWindow = this.#received - this.#seenInWindow
    this.#seenInWindow = this.#received
    const left = dataTimeout - (performance.now() - this.#begun)
    if (left <= 0 || inWindow < (dataRate * dataWindow) / 1000) this.#cut(answers.slowData())
    else if (left >= dataWindow) this.#reading.windows.begin(this.#window)
    else this.#last = setTimeout(() => this.#cut(answers.slowData()), Math.ceil(left))
  }

  #take(chunk: Buffer): void {
    this.#received += chunk.length
    if (this.#refusal) return this.#discard(chunk.length)
    const { limits, spool } = this.#reading
    this.#lineEnds.look(chunk)
    const fault = limits.bareNewlines === 'reject' ? this.#lineEnds.fault : undefined
    if (this.#received > limits.maxSize) return this.#refuse(answers.tooLarge(limits.maxSize))
    if (fault !== undefined) return this.#refuse(answers.bareNewline(fault))
    if (!spool.take(chunk.length)) return this.#refuse(answers.spoolFull())
    this.#buffer.append(chunk)
  }

  /**
   * RFC 5321 4.1.1.4: the answer to DATA comes after its end, and many clients do not look before. So what still comes is
   * read and forgotten, unless the sender has much more, or has stopped without an end.
   */
  #refuse(refusal: SmtpAnswer): void {
    this.#refusal = refusal
    this.#giveBack()
    this.#silence = setTimeout(() => this.#cut(refusal), longestSilence)
  }

  #discard(bytes: number): void {
    this.#discarded += bytes
    this.#silence?.refresh()
    const { maxSize } = this.#reading.limits
    if (this.#refusal && this.#discarded > Math.max(maxSize, leastDiscarded)) this.#cut(this.#refusal)
  }

  #end(): void {
    if (this.#over) return
    this.#lineEnds.end()
    const { fault } = this.#lineEnds
    if (this.#reading.limits.bareNewlines === 'reject' && fault !== undefined)
      this.#refusal ??= answers.bareNewline(fault)
    if (this.#refusal) return this.#fail(this.#refusal)
    this.#stop()
    const message = this.#whole(fault)
    // The parser is not done with it yet.
    void settled.then(() => this.#taker?.message(message))
  }

  #whole(fault: string | undefined): Buffer {
    const message = this.#buffer.take()
    if (fault === undefined) return message
    const normalised = normaliseLineEnds(message)
    // The caller gives back what it got.
    this.#reading.spool.give(message.length - normalised.length)
    return normalised
  }

  /** Answers while the message still comes. smtp-server throws the rest of it away. */
  #cut(answer: SmtpAnswer): void {
    this.#fail(answer)
    this.destroy()
  }

  #fail(error: SmtpAnswer | ClientGone): void {
    if (this.#over) return
    this.#stop()
    this.#giveBack()
    void settled.then(() => this.#taker?.failed(error))
  }

  #giveBack(): void {
    this.#reading.spool.give(this.#buffer.length)
    this.#buffer.clear()
  }

  #stop(): void {
    this.#over = true
    this.#reading.windows.end(this.#window)
    clearTimeout(this.#silence)
    clearTimeout(this.#last)
  }
}

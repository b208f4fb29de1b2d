/** Reads one message from DATA into memory, within every limit, and knows what to answer when it breaks one. */
import type { SMTPServerDataStream } from 'smtp-server'
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

/**
 * The whole message; its bytes are taken from `spool`, and are the caller's to give back.
 * @throws SmtpAnswer with everything given back. The session goes on after it, but for a 421.
 * @throws ClientGone
 */
export function receiveData(stream: SMTPServerDataStream, limits: DataLimits, spool: Spool): Promise<Buffer> {
  return new DataReader(stream, limits, spool).message
}

class DataReader {
  readonly message: Promise<Buffer>
  readonly #stream: SMTPServerDataStream
  readonly #limits: DataLimits
  readonly #spool: Spool
  readonly #buffer = new MessageBuffer()
  readonly #lineEnds = new LineEnds()
  readonly #resolve: (message: Buffer) => void
  readonly #reject: (error: SmtpAnswer | ClientGone) => void
  #refusal: SmtpAnswer | undefined
  #discarded = 0
  #received = 0
  #seenInWindow = 0
  #over = false
  readonly #begun = performance.now()
  #timer: NodeJS.Timeout
  #silence: NodeJS.Timeout | undefined

  constructor(stream: SMTPServerDataStream, limits: DataLimits, spool: Spool) {
    this.#stream = stream
    this.#limits = limits
    this.#spool = spool
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    this.message = promise
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = this.#watch()
    stream.on('data', (chunk: Buffer) => this.#take(chunk))
    stream.once('end', () => this.#end())
    stream.on('error', () => this.#leave())
    stream.once('close', () => this.#leave())
  }

  #take(chunk: Buffer): void {
    if (this.#over) return
    this.#received += chunk.length
    if (this.#refusal) return this.#discard(chunk.length)
    this.#lineEnds.look(chunk)
    const fault = this.#limits.bareNewlines === 'reject' ? this.#lineEnds.fault : undefined
    if (this.#received > this.#limits.maxSize) return this.#refuse(answers.tooLarge(this.#limits.maxSize))
    if (fault !== undefined) return this.#refuse(answers.bareNewline(fault))
    if (!this.#spool.take(chunk.length)) return this.#refuse(answers.spoolFull())
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
    const { maxSize } = this.#limits
    if (this.#refusal && this.#discarded > Math.max(maxSize, leastDiscarded)) this.#cut(this.#refusal)
  }

  #end(): void {
    if (this.#over) return
    this.#lineEnds.end()
    const { fault } = this.#lineEnds
    if (this.#limits.bareNewlines === 'reject' && fault !== undefined) this.#refusal ??= answers.bareNewline(fault)
    if (this.#refusal) return this.#fail(this.#refusal)
    this.#stop()
    this.#resolve(this.#whole(fault))
  }

  #whole(fault: string | undefined): Buffer {
    const message = this.#buffer.take()
    if (fault === undefined) return message
    const normalised = normaliseLineEnds(message)
    // The caller gives back what it got.
    this.#spool.give(message.length - normalised.length)
    return normalised
  }

  /** Answers while the message still comes. smtp-server throws the rest of it away. */
  #cut(answer: SmtpAnswer): void {
    this.#fail(answer)
    this.#stream.destroy()
  }

  #leave(): void {
    if (!this.#over) this.#fail(new ClientGone('the client left in the middle of its message'))
  }

  #fail(error: SmtpAnswer | ClientGone): void {
    if (this.#over) return
    this.#stop()
    this.#giveBack()
    this.#reject(error)
  }

  /** At the end of each window, and of the time for the whole message. */
  #watch(): NodeJS.Timeout {
    const { dataTimeout, dataWindow } = this.#limits
    const left = dataTimeout - (performance.now() - this.#begun)
    return setTimeout(() => this.#lookAtRate(), Math.min(dataWindow, Math.max(0, Math.ceil(left))))
  }

  #lookAtRate(): void {
    const { dataTimeout, dataWindow, dataRate } = this.#limits
    const inWindow = this.#received - this.#seenInWindow
    this.#seenInWindow = this.#received
    const isOver = performance.now() - this.#begun >= dataTimeout
    if (isOver || inWindow < (dataRate * dataWindow) / 1000) this.#cut(answers.slowData())
    else this.#timer = this.#watch()
  }

  #giveBack(): void {
    this.#spool.give(this.#buffer.length)
    this.#buffer.clear()
  }

  #stop(): void {
    this.#over = true
    clearTimeout(this.#timer)
    clearTimeout(this.#silence)
  }
}

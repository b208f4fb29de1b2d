/** Line ends of a message: only CR LF is one (RFC 5321 2.3.8). A lone one is how a second message is smuggled into a first. */

/** A CR at the end of a piece is looked at with the next one. */
const notCrLf = /\0|\r(?!\n|$)|(?<!\r)\n/
const words: Readonly<Record<string, string>> = { '\0': 'NUL', '\r': 'bare CR', '\n': 'bare LF' }

/** Looks at a message as it comes, in pieces of any size. */
export class LineEnds {
  #afterCr = false
  /** What was found first, in words. */
  fault: string | undefined

  look(chunk: Buffer): void {
    if (this.fault !== undefined || chunk.length === 0) return
    // One letter a byte: an expression looks through text several times as fast as a loop through bytes.
    const text = (this.#afterCr ? '\r' : '') + chunk.toString('latin1')
    const found = notCrLf.exec(text)?.[0]
    if (found !== undefined) this.fault = words[found]
    this.#afterCr = text.endsWith('\r')
  }

  /** The message is over. */
  end(): void {
    if (this.#afterCr) this.fault ??= 'bare CR'
  }
}

/** Every lone CR or LF becomes CR LF, every NUL goes. */
export function normaliseLineEnds(message: Buffer): Buffer {
  const text = message
    .toString('latin1')
    .replaceAll('\0', '')
    .replaceAll(/\r\n|\r|\n/g, '\r\n')
  return Buffer.from(text, 'latin1')
}

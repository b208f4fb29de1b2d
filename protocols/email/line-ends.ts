/** Line ends of a message: only CR LF is one (RFC 5321 2.3.8). A lone one is how a second message is smuggled into a first. */

const NUL = 0x00
const LF = 0x0a
const CR = 0x0d

/** Looks at a message as it comes, in pieces of any size. */
export class LineEnds {
  #previous = LF - 1
  /** What was found first, in words. */
  fault: string | undefined

  look(chunk: Uint8Array): void {
    if (this.fault !== undefined) return
    let previous = this.#previous
    for (const byte of chunk) {
      if ((byte === LF) !== (previous === CR)) {
        this.fault = byte === LF ? 'bare LF' : 'bare CR'
        return
      }
      if (byte === NUL) {
        this.fault = 'NUL'
        return
      }
      previous = byte
    }
    this.#previous = previous
  }

  /** The message is over. */
  end(): void {
    if (this.#previous === CR) this.fault ??= 'bare CR'
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

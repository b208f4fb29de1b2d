/** The header section of a message: cut into fields, unfolded and decoded, whatever state it is in. */
import { decodeText } from './charset.ts'

export interface Field {
  /** Lower-case. */
  readonly name: string
  /** The whole field as it came, one letter a byte, with its line ends. */
  readonly raw: string
  /** Unfolded, one letter a byte. */
  readonly value: string
}

/** Where a field is in the header section: its start, the end of its name, the start of its value, the end of its first line, its end. */
const width = 5

/** The fields of a message, each cut out when somebody asks for it: of most messages two or three are looked at. */
export class Head {
  /** Where the body starts in the message. */
  readonly bodyStart: number
  readonly defects: readonly string[]
  readonly #text: string
  readonly #marks: readonly number[]

  constructor(text: string, marks: readonly number[], { bodyStart, defects }: Pick<Head, 'bodyStart' | 'defects'>) {
    this.#text = text
    this.#marks = marks
    this.bodyStart = bodyStart
    this.defects = defects
  }

  /** In order, repeats kept. */
  get fields(): readonly Field[] {
    const fields: Field[] = []
    for (let at = 0; at < this.#marks.length; at += width) fields.push(this.#fieldAt(at))
    return fields
  }

  /** The value of the first field of this name, which is in lower case; empty when there is none. */
  value(name: string): string {
    const at = this.#find(name)
    return at === undefined ? '' : this.#valueAt(at)
  }

  /** The first field of this name as it came; empty when there is none. */
  raw(name: string): string {
    const at = this.#find(name)
    return at === undefined ? '' : this.#rawAt(at)
  }

  count(name: string): number {
    let count = 0
    for (let at = 0; at < this.#marks.length; at += width) if (this.#isNamed(at, name)) count++
    return count
  }

  #find(name: string): number | undefined {
    for (let at = 0; at < this.#marks.length; at += width) if (this.#isNamed(at, name)) return at
    return undefined
  }

  /** Letter by letter: it is asked several times of every field of every message. */
  #isNamed(at: number, name: string): boolean {
    const start = this.#mark(at)
    if (this.#mark(at + 1) - start !== name.length) return false
    for (let letter = 0; letter < name.length; letter++) {
      // Of what a name may have, only a capital becomes a small letter by this bit.
      if ((this.#text.charCodeAt(start + letter) | 0x20) !== name.charCodeAt(letter)) return false
    }
    return true
  }

  #fieldAt(at: number): Field {
    const name = this.#text.slice(this.#mark(at), this.#mark(at + 1)).toLowerCase()
    return { name, raw: this.#rawAt(at), value: this.#valueAt(at) }
  }

  #rawAt(at: number): string {
    return this.#text.slice(this.#mark(at), this.#mark(at + 4))
  }

  #valueAt(at: number): string {
    const end = this.#mark(at + 4)
    const content = this.#text.slice(this.#mark(at + 2), end)
    return (end === this.#mark(at + 3) ? content : content.replaceAll(/\r?\n/g, '')).trim()
  }

  #mark(at: number): number {
    return this.#marks[at] ?? 0
  }
}

/** Longer header sections are cut here; the raw message has the rest. */
const longestHead = 1024 * 1024

// RFC 5322 2.2, and the white space before the colon of its obsolete syntax (4.5).
const nameAndColon = /[!-9;-~]{1,256}[ \t]*:/y

/** Cuts the header section off (RFC 5322 2.2). Line ends may be CRLF or LF. */
export function splitHead(message: Uint8Array): Head {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
  // An empty line ends it for certain: what follows need not become text.
  const emptyLine = bytes.subarray(0, longestHead).indexOf('\r\n\r\n')
  const text = bytes.toString('latin1', 0, emptyLine < 0 ? longestHead : emptyLine + 4)
  const marks: number[] = []
  const defects: string[] = []
  const head = (bodyStart: number) => new Head(text, marks, { bodyStart, defects })
  let position = 0
  while (position < text.length) {
    const next = endOfLine(text, position)
    if (text.startsWith('\r\n', position) || text[position] === '\n') return head(next)
    nameAndColon.lastIndex = position
    if (nameAndColon.test(text)) {
      const { lastIndex } = nameAndColon
      // RFC 5322 2.2.3: its folded lines.
      let end = next
      while (text[end] === ' ' || text[end] === '\t') end = endOfLine(text, end)
      marks.push(position, endOfName(text, lastIndex - 1), lastIndex, next, end)
      position = end
    } else if (position === 0 && text.startsWith('From ')) {
      // What some mailboxes put before the first field; never a part of the message (RFC 4155).
      defects.push('starts with a mailbox separator')
      position = next
    } else {
      defects.push('no empty line between headers and body')
      return head(position)
    }
  }
  if (message.byteLength > longestHead) {
    defects.push('the headers are longer than 1 MiB: cut')
    return head(endOfHead(bytes, longestHead))
  }
  if (text !== '') defects.push('no body')
  return head(position)
}

function endOfLine(text: string, position: number): number {
  const end = text.indexOf('\n', position)
  return end < 0 ? text.length : end + 1
}

/** Without the white space before the colon. */
function endOfName(text: string, colon: number): number {
  let end = colon
  while (text[end - 1] === ' ' || text[end - 1] === '\t') end--
  return end
}

function endOfHead(bytes: Buffer, from: number): number {
  const ends = ['\r\n\r\n', '\n\n'].map((gap) => ({ at: bytes.indexOf(gap, from - 4, 'latin1'), length: gap.length }))
  const first = ends.filter(({ at }) => at >= 0).toSorted((a, b) => a.at - b.at)[0]
  return first ? first.at + first.length : bytes.length
}

export interface Decoded {
  readonly text: string
  /** A charset that nobody knows; undefined when all were read. */
  readonly unknownCharset?: string
}

/** A field's value as text: its encoded words (RFC 2047) and its bare 8-bit bytes decoded, control characters made spaces. */
export function decodeValue(value: string): Decoded {
  if (/^[ -~]*$/.test(value) && !value.includes('=?')) return { text: value.trim() }
  const { text, unknownCharset } = decodeWords(plainBytes(value))
  // What an encoded word hides must not start a new line anywhere later.
  const clean = text.replaceAll(/[\0-\x1f\x7f]+/g, ' ').trim()
  return unknownCharset === undefined ? { text: clean } : { text: clean, unknownCharset }
}

/** Bare bytes beyond ASCII: RFC 6532 makes them UTF-8; older mail does not. */
export function plainBytes(value: string): string {
  return /[\x80-\xff]/.test(value) ? decodeText(Buffer.from(value, 'latin1'), '').text : value
}

const word = /=\?([^?\s]{1,100})\?([bq])\?([^?]*)\?=/giy

function decodeWords(text: string): Decoded {
  if (!text.includes('=?')) return { text }
  let decoded = ''
  let position = 0
  let unknownCharset: string | undefined
  let run: { charset: string; bytes: Buffer[] } | undefined
  const flush = () => {
    if (!run) return
    const part = decodeText(Buffer.concat(run.bytes), run.charset)
    decoded += part.text
    if (!part.known) unknownCharset = run.charset
    run = undefined
  }
  while (position < text.length) {
    const start = text.indexOf('=?', position)
    word.lastIndex = start
    const found = start < 0 ? null : word.exec(text)
    const plain = text.slice(position, start < 0 ? undefined : start)
    // RFC 2047 6.2: white space between two encoded words is none.
    if (!found || !run || plain.trim() !== '') {
      flush()
      decoded += plain
    }
    if (start < 0) break
    if (!found) {
      decoded += '=?'
      position = start + 2
      continue
    }
    const [whole, charset = '', encoding = '', content = ''] = found
    const bytes = encoding.toUpperCase() === 'B' ? Buffer.from(content, 'base64') : fromQ(content)
    // A letter that was cut in two stands in two words (forbidden by RFC 2047 5, and common).
    if (run && run.charset.toLowerCase() === charset.toLowerCase()) run.bytes.push(bytes)
    else {
      flush()
      run = { charset, bytes: [bytes] }
    }
    position = start + whole.length
  }
  flush()
  return unknownCharset === undefined ? { text: decoded } : { text: decoded, unknownCharset }
}

/** RFC 2047 4.2. */
function fromQ(content: string): Buffer {
  const bytes = content
    .replaceAll('_', ' ')
    .replaceAll(/=([\da-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1')
}

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

export interface Head {
  readonly fields: readonly Field[]
  /** Where the body starts in the message. */
  readonly bodyStart: number
  readonly defects: readonly string[]
}

/** Longer header sections are cut here; the raw message has the rest. */
const longestHead = 1024 * 1024

/** Cuts the header section off (RFC 5322 2.2). Line ends may be CRLF or LF. */
export function splitHead(message: Uint8Array): Head {
  const defects: string[] = []
  const text = Buffer.from(message.buffer, message.byteOffset, Math.min(message.byteLength, longestHead)).toString(
    'latin1',
  )
  const fields: { name: string; raw: string }[] = []
  let position = 0
  while (position < text.length) {
    const end = text.indexOf('\n', position)
    const next = end < 0 ? text.length : end + 1
    const line = text.slice(position, next)
    if (line === '\r\n' || line === '\n') return finish(fields, next, defects)
    const last = fields.at(-1)
    const name = /^([!-9;-~]{1,256})[ \t]*:/.exec(line)?.[1]
    if (name !== undefined) fields.push({ name: name.toLowerCase(), raw: line })
    else if (last && /^[ \t]/.test(line)) last.raw += line
    // What some mailboxes put before the first field; never a part of the message (RFC 4155).
    else if (position === 0 && line.startsWith('From ')) defects.push('starts with a mailbox separator')
    else {
      defects.push('no empty line between headers and body')
      return finish(fields, position, defects)
    }
    position = next
  }
  if (message.byteLength > longestHead) {
    defects.push('the headers are longer than 1 MiB: cut')
    return finish(fields, endOfHead(message, longestHead), defects)
  }
  if (text !== '') defects.push('no body')
  return finish(fields, position, defects)
}

function endOfHead(message: Uint8Array, from: number): number {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
  const ends = ['\r\n\r\n', '\n\n'].map((gap) => ({ at: bytes.indexOf(gap, from - 4, 'latin1'), length: gap.length }))
  const first = ends.filter(({ at }) => at >= 0).toSorted((a, b) => a.at - b.at)[0]
  return first ? first.at + first.length : message.byteLength
}

function finish(fields: readonly { name: string; raw: string }[], bodyStart: number, defects: readonly string[]): Head {
  const unfolded = fields.map(({ name, raw }) => ({
    name,
    raw,
    value: raw
      .slice(raw.indexOf(':') + 1)
      .replaceAll(/\r?\n/g, '')
      .trim(),
  }))
  return { fields: unfolded, bodyStart, defects }
}

export interface Decoded {
  readonly text: string
  /** A charset that nobody knows; undefined when all were read. */
  readonly unknownCharset?: string
}

/** A field's value as text: its encoded words (RFC 2047) and its bare 8-bit bytes decoded, control characters made spaces. */
export function decodeValue(value: string): Decoded {
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

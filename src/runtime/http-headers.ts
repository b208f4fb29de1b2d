/** Names and values of headers as the wire allows them, for what http and websocket read and send. */
import { SignalboxError } from './errors.ts'

/** As they are usually written. Every request would make and keep copies of its own of these. */
const usualNames: ReadonlyMap<string, string> = new Map(
  [
    'Accept',
    'Accept-Encoding',
    'Accept-Language',
    'Authorization',
    'Cache-Control',
    'Connection',
    'Content-Length',
    'Content-Type',
    'Cookie',
    'Host',
    'Origin',
    'Pragma',
    'Referer',
    'Sec-WebSocket-Extensions',
    'Sec-WebSocket-Key',
    'Sec-WebSocket-Protocol',
    'Sec-WebSocket-Version',
    'Upgrade',
    'User-Agent',
    'X-Forwarded-For',
    'X-Forwarded-Proto',
  ].flatMap((name) => {
    const lower = name.toLowerCase()
    return [
      [name, lower],
      [lower, lower],
    ] as const
  }),
)

export function lowerCase(name: string): string {
  return usualNames.get(name) ?? name.toLowerCase()
}

/** RFC 9110 5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// RFC 9110 5.5: no control character but the tab. A line break here would let a value write headers of its own.
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/

export function isToken(text: string): boolean {
  return usualNames.has(text) || token.test(text)
}

/** Whose header it is, for the error. */
export interface HeaderOwner {
  readonly type: string
  readonly id: string
}

/**
 * What an application wants to send as headers, name and value in turn.
 * @throws SignalboxError `unexpected_event` for a name or a value that a header cannot have.
 */
export function flatHeaders(headers: unknown, owner: HeaderOwner): string[] {
  const flat: string[] = []
  for (const header of listOfHeaders(headers, owner)) {
    checkHeader(header, owner)
    flat.push(header[0], header[1])
  }
  return flat
}

export function listOfHeaders(headers: unknown, owner: HeaderOwner): readonly unknown[] {
  if (!Array.isArray(headers)) throw badHeader(owner, 'expected a list of [name, value] pairs as headers', headers)
  return headers
}

/** @throws SignalboxError `unexpected_event`. */
export function checkHeader(
  header: unknown,
  owner: HeaderOwner,
): asserts header is readonly [name: string, value: string] {
  if (!Array.isArray(header) || header.length !== 2)
    throw badHeader(owner, 'expected a header as a [name, value] pair', header)
  const [name, value] = header as readonly unknown[]
  if (typeof name !== 'string' || !isToken(name)) throw badHeader(owner, 'expected a header name', name)
  if (typeof value === 'string' && fieldValue.test(value)) return
  throw badHeader(owner, `expected latin-1 text without control characters as the value of the header ${name}`, value)
}

function badHeader(owner: HeaderOwner, expected: string, found: unknown): SignalboxError {
  const shown = JSON.stringify(found) ?? String(found)
  const message = `${owner.type} scope ${owner.id}: ${expected}, found ${shown.slice(0, 200)}`
  return new SignalboxError('unexpected_event', message)
}

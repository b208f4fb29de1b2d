/** Records as bytes: what the journal stores is what an application gets when the gateway was restarted in between. */
import { types } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import type { NewRecord } from '../asgi/delivery.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import type { EncodedRecord, LoadedRecord } from './messages.ts'

/** What an adapter does not know of a record. */
export type Placing = Pick<EncodedRecord, 'protocol' | 'route' | 'lane'>

export type DecodedRecord = Pick<NewRecord, 'scope' | 'event' | 'body'>

/** A record as far as it can be read: what cannot stays bytes. */
export interface ReadRecord {
  readonly scope: unknown
  readonly event: unknown
  readonly body?: Uint8Array | undefined
  /** Why some of it cannot be read. */
  readonly unreadable?: string
}

/** As many of those who a mail goes to are named in lists. */
const mostReceivers = 3

/** A scope is read-only, and mostly the one of a connection: it is encoded once. */
const scopes = new WeakMap<object, EncodedScope>()

interface EncodedScope {
  readonly bytes: Uint8Array
  readonly peer: string
  /** The last of its events that had a payload: the next one mostly says the same, but for that. */
  last: Simple | undefined
  /** The last one that had none. */
  plain: Plain | undefined
}

/** An event without a payload. */
interface Plain {
  readonly fields: Readonly<Record<string, unknown>>
  /** How many those are. */
  readonly count: number
  readonly event: Uint8Array
}

/** An event of a few words and numbers with a payload. */
interface Simple {
  /** The field of the payload. */
  readonly field: string
  /** The other fields. */
  readonly rest: Readonly<Record<string, unknown>>
  /** How many those are. */
  readonly count: number
  readonly json: string
  /** All of its bytes but the payload, as soon as there is a second one. */
  start: Uint8Array | undefined
}

/**
 * The record as the journal takes it.
 * @throws SignalboxError `journal_failed` when the scope or the event is no plain data.
 */
export function encode(record: NewRecord, { protocol, route, lane }: Placing): EncodedRecord {
  const { direction, scope, event, body, key, mayRepeat = true } = record
  const encoded = encodedScope(scope)
  const { start, event: rest } = encodedEvent(encoded, event)
  const { bytes } = encoded
  const peer = (direction === 'out' && receiverOf(event)) || encoded.peer
  return { direction, protocol, route, lane, key, mayRepeat, scope: bytes, start, event: rest, body, peer }
}

/**
 * The record as it was encoded.
 * @throws SignalboxError `journal_failed` when the bytes are damaged.
 */
export function decode({ id, scope, event, body }: LoadedRecord): DecodedRecord {
  try {
    return {
      scope: deserialize(scope) as NewRecord['scope'], // what encode was given
      event: decodedEvent(event) as NewRecord['event'],
      ...(body && { body }),
    }
  } catch (error) {
    throw new SignalboxError('journal_failed', `record ${id} of the journal cannot be read: ${reason(error)}`, {
      cause: error,
    })
  }
}

/** The record as it was encoded, where it can be read: for a person, who is to see what is left of it. Never throws. */
export function decodeReadable({ scope, event, body }: LoadedRecord): ReadRecord {
  const reasons: string[] = []
  const part = (name: string, bytes: Uint8Array, read: (bytes: Uint8Array) => unknown): unknown => {
    try {
      return read(bytes)
    } catch (error) {
      reasons.push(`${name}: ${reason(error)}`)
      return bytes
    }
  }
  const read = { scope: part('scope', scope, deserialize), event: part('event', event, decodedEvent) }
  return { ...read, ...(body && { body }), ...(reasons.length > 0 && { unreadable: reasons.join('; ') }) }
}

function encodedScope(scope: NewRecord['scope']): EncodedScope {
  const known = scopes.get(scope)
  if (known) return known
  const encoded: EncodedScope = {
    bytes: bytesOf(scope, 'scope'),
    peer: senderOf(scope),
    last: undefined,
    plain: undefined,
  }
  scopes.set(scope, encoded)
  return encoded
}

/**
 * Most events are a few words and numbers with one payload. As JSON with the payload behind it they take a third of the time that
 * v8 takes: this byte (v8 begins with 255), the length of the JSON, the JSON of `[the payload's field, the other fields]`, the payload.
 */
const simpleTag = 1
const simpleHead = 5

function encodedEvent(scope: EncodedScope, event: object): Pick<EncodedRecord, 'start' | 'event'> {
  const { last, plain } = scope
  if (plain && isAgain(plain, event)) return { start: undefined, event: plain.event }
  const known = last && payloadAfter(last, event)
  if (known) return { start: (last.start ??= startOf(last.json)), event: known }
  let field: string | undefined
  let payload: Uint8Array | undefined
  const rest: Record<string, unknown> = {}
  for (const name of Object.keys(event)) {
    const value: unknown = Reflect.get(event, name)
    if (!payload && types.isUint8Array(value)) {
      field = name
      payload = value
    } else if (isSimple(value) && name !== '__proto__') rest[name] = isTexts(value) ? { ...value } : value
    else return { start: undefined, event: bytesOf(event, 'event') }
  }
  const json = JSON.stringify([field, rest])
  const count = Object.keys(rest).length
  if (field === undefined) {
    scope.plain = { fields: rest, count, event: startOf(json) }
    return { start: undefined, event: scope.plain.event }
  }
  scope.last = { field, rest, count, json, start: undefined }
  return { start: undefined, event: startOf(json, payload) }
}

/** Memory of its own where no payload follows: it is kept as long as the connection. */
function startOf(json: string, payload?: Uint8Array): Uint8Array {
  const end = simpleHead + Buffer.byteLength(json)
  const bytes = payload ? Buffer.allocUnsafe(end + payload.byteLength) : Buffer.allocUnsafeSlow(end)
  bytes[0] = simpleTag
  bytes.writeUInt32LE(end - simpleHead, 1)
  bytes.write(json, simpleHead)
  if (payload) bytes.set(payload, end)
  return bytes
}

/** Whether an event says what that one said. */
function isAgain({ fields, count }: Plain, event: object): boolean {
  const names = Object.keys(event)
  return (
    names.length === count &&
    names.every((name) => name !== '__proto__' && isSame(Reflect.get(event, name), fields[name]))
  )
}

/** The payload of an event that says the same but for that. */
function payloadAfter({ field, rest, count }: Simple, event: object): Uint8Array | undefined {
  let payload: Uint8Array | undefined
  let left = count
  for (const name of Object.keys(event)) {
    const value: unknown = Reflect.get(event, name)
    if (name !== field) {
      if (name === '__proto__' || !isSame(value, rest[name])) return undefined
      left--
    } else if (types.isUint8Array(value)) payload = value
    else return undefined
  }
  return left === 0 ? payload : undefined
}

/** Of two values the second of which is simple. */
function isSame(one: unknown, other: unknown): boolean {
  if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) {
    return one !== undefined && typeof one !== 'function' && Object.is(one, other)
  }
  if (!isTexts(one)) return false
  const names = Object.keys(one)
  if (names.length !== Object.keys(other).length) return false
  return names.every((name) => Object.hasOwn(other, name) && Reflect.get(one, name) === Reflect.get(other, name))
}

function decodedEvent(event: Uint8Array): unknown {
  if (event[0] !== simpleTag) return deserialize(event)
  const bytes = Buffer.from(event.buffer, event.byteOffset, event.byteLength)
  const end = simpleHead + bytes.readUInt32LE(1)
  const [field, rest] = JSON.parse(bytes.toString('utf8', simpleHead, end)) as [string | null, object]
  return field === null ? rest : { ...rest, [field]: bytes.subarray(end) }
}

/** What JSON gives back as it was: text, numbers, and objects of text such as `params`. */
function isSimple(value: unknown): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0)
    case 'object':
      return value === null || isTexts(value)
    default:
      return false
  }
}

function isTexts(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return Object.entries(value).every(([name, text]) => typeof text === 'string' && name !== '__proto__')
}

function bytesOf(value: object, what: string): Uint8Array {
  try {
    return serialize(value)
  } catch (error) {
    throw new SignalboxError('journal_failed', `the ${what} cannot be stored, expected plain data: ${reason(error)}`, {
      cause: error,
    })
  }
}

/** The event in one piece, with memory of its own. */
export function eventOf({ start, event }: Pick<EncodedRecord, 'start' | 'event'>): Uint8Array {
  return start ? Buffer.concat([start, event]) : event
}

/** Who sent it, as its scope has it: a mail's `sender`, a text's `from`, an MQTT `clientId`; of others the address. */
function senderOf(scope: NewRecord['scope']): string {
  const { sender, from, clientId }: Readonly<Record<string, unknown>> = { ...scope }
  const known = sender ?? from ?? clientId
  if (typeof known !== 'string') return peerOf(scope)
  // RFC 5321 4.5.5: the null reverse-path of a notification.
  return known === '' ? '<>' : known
}

/** Who it goes to, as its event has it: a text's `to`, the recipients of a mail's envelope. */
function receiverOf(event: object): string {
  const { to, envelope }: Readonly<Record<string, unknown>> = { ...event }
  const enveloped: unknown = typeof envelope === 'object' && envelope !== null && Reflect.get(envelope, 'to')
  return [to ?? enveloped]
    .flat()
    .filter((each) => typeof each === 'string')
    .slice(0, mostReceivers)
    .join(', ')
}

/** Where it came from, for people. */
export function peerOf({ client }: NewRecord['scope']): string {
  return client ? `${client[0]}:${client[1]}` : ''
}

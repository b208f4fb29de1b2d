/** Messages as JSON, for Redis and for whoever else speaks to it: see the wire format in README.md. */
import { isDate, isUint8Array } from 'node:util/types'
import type { Event } from '../asgi/protocol.ts'
import { reason } from '../runtime/errors.ts'

/** As deep as what may be sent: see `seal`. */
const maxDepth = 100

/** It is kept for a minute where a named channel is in a group. */
const maxFrom = 200

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** What stands beside the message itself, in keys that begin with one `$`. */
export interface Address {
  /** Who sent it: `PROCESS.NUMBER`. */
  readonly from?: string
  /** The channel of a process that it is for. */
  readonly to?: string
  /** A group that the channel `to` is to join or to leave; there is no message then. */
  readonly join?: string
  readonly leave?: string
}

export interface Incoming extends Address {
  /** Frozen. Undefined when it is about a membership. */
  readonly message: Event | undefined
}

/** The message alone. */
export function toJson({ message, special }: { readonly message: Event; readonly special: boolean }): string {
  return JSON.stringify(special ? mark(message) : message)
}

/** The message with its address: `$from` is first, so that a process knows its own messages without parsing them. */
export function addressed(json: string, address: Address): string {
  const keys = Object.entries(address).map(([key, value]) => `"$${key}":${JSON.stringify(value)}`)
  return `{${keys.join()}${json.length > 2 ? ',' : ''}${json.slice(1)}`
}

/** @throws TypeError or SyntaxError that says what is wrong: anybody may publish anything. */
export function fromJson(text: string): Incoming {
  const value = parsed(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('it is no object')
  const { $from: from, $to: to, $join: join, $leave: leave, ...rest } = value as Record<string, unknown>
  const address = Object.entries({ from, to, join, leave }).filter(([, part]) => part !== undefined)
  for (const [key, part] of address) if (typeof part !== 'string') throw new TypeError(`its $${key} is no text`)
  if (typeof from === 'string' && from.length > maxFrom) throw new TypeError('its $from is too long')
  // Without a `"$` behind that of `{"$from"`, nothing is to be unmarked; one inside a text costs only the longer way.
  const isPlain = text.indexOf('"$', text.startsWith('{"$from"') ? 2 : 0) === -1
  const message = isPlain ? freeze(rest, 0) : unmark(rest, 0)
  return {
    ...(Object.fromEntries(address) as Address),
    message: join === undefined && leave === undefined ? checked(message) : undefined,
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new SyntaxError(text === '' ? 'it is empty' : `it is no JSON: ${reason(error)}`, { cause: error })
  }
}

function checked(message: unknown): Event {
  const { type } = message as { readonly type?: unknown }
  if (typeof type === 'string' && type.includes('.')) return message as Event
  throw new TypeError('it has no type with a dot in it')
}

function mark(value: unknown): unknown {
  if (typeof value === 'bigint') return { $bigint: value.toString() }
  if (typeof value === 'number' && !Number.isFinite(value)) return { $number: String(value) }
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(mark)
  if (isUint8Array(value))
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64') }
  if (isDate(value)) return { $date: value.toISOString() }
  // A key of the sender's own that begins with `$` gets one more.
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key.startsWith('$') ? `$${key}` : key, mark(part)]),
  )
}

function unmark(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  checkObject(value, depth)
  if (Array.isArray(value)) return Object.freeze(value.map((part) => unmark(part, depth + 1)))
  const entries = Object.entries(value)
  const [first] = entries
  if (entries.length === 1 && first && Object.hasOwn(forms, first[0]))
    return forms[first[0] as keyof typeof forms](first[1])
  return Object.freeze(
    Object.fromEntries(
      entries.map(([key, part]) => [key.startsWith('$$') ? key.slice(1) : key, unmark(part, depth + 1)]),
    ),
  )
}

const forms = {
  $bytes(value: unknown): Uint8Array {
    if (typeof value !== 'string' || !base64.test(value)) throw new TypeError('its $bytes are no base64')
    return new Uint8Array(Buffer.from(value, 'base64'))
  },
  $date(value: unknown): Date {
    const date = new Date(typeof value === 'string' ? value : Number.NaN)
    if (Number.isNaN(date.getTime())) throw new TypeError('its $date is no ISO date')
    return Object.freeze(date)
  },
  $bigint(value: unknown): bigint {
    if (typeof value !== 'string' || !/^-?\d{1,1000}$/.test(value))
      throw new TypeError('its $bigint is no whole number')
    return BigInt(value)
  },
  $number(value: unknown): number {
    if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return Number(value)
    throw new TypeError('its $number is none of NaN, Infinity and -Infinity')
  },
} as const

function freeze(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  checkObject(value, depth)
  for (const part of Object.values(value)) freeze(part, depth + 1)
  return Object.freeze(value)
}

function checkObject(value: object, depth: number): void {
  if (depth > maxDepth) throw new TypeError(`it is more than ${maxDepth} levels deep`)
  if (Object.hasOwn(value, '__proto__')) throw new TypeError('it has a key __proto__')
}

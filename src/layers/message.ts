/** Messages as they are kept: deep copies of plain data, frozen, and of bounded size. */
import { isDate, isUint8Array } from 'node:util/types'
import type { Event } from '../asgi/protocol.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { toJson } from './wire.ts'

/** Deeper data is refused: nothing that is sent on purpose is, and each level costs stack. */
const maxDepth = 100

export interface Sealed {
  readonly message: Event
  /** Whether there is something in it that JSON has no form for. */
  readonly special: boolean
}

interface Walk {
  /** No less than the bytes of the message's JSON, reckoned without making it. */
  size: number
  special: boolean
}

/**
 * A frozen deep copy: what is sent can't be changed by its sender, nor by one of its receivers. (The bytes of a `Uint8Array`
 * can't be frozen; its receivers share one copy.)
 * @throws SignalboxError `bad_message` when it has no dotted type, is no plain data, or is larger than `maxSize` bytes as JSON.
 */
export function seal(value: unknown, maxSize: number): Sealed {
  const type: unknown = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined
  if (typeof type !== 'string' || !type.includes('.')) {
    throw new SignalboxError('bad_message', 'a message has a type with a dot in it, such as chat.message')
  }
  const walk: Walk = { size: 0, special: false }
  let message: Event
  try {
    message = copy(value, 0, walk) as Event // an object with a type goes in, and the same comes out
  } catch (error) {
    throw new SignalboxError('bad_message', `a ${type} message is no plain data: ${reason(error)}`, { cause: error })
  }
  const sealed = { message, special: walk.special }
  if (walk.size > maxSize) checkSize(sealed, maxSize)
  return sealed
}

function checkSize(sealed: Sealed, maxSize: number): void {
  const size = Buffer.byteLength(toJson(sealed))
  if (size <= maxSize) return
  const { type } = sealed.message
  throw new SignalboxError('bad_message', `a ${type} message has ${size} bytes as JSON, and ${maxSize} is the limit`)
}

function copy(value: unknown, depth: number, walk: Walk): unknown {
  switch (typeof value) {
    case 'string':
      // A control character or half a surrogate pair is written with six characters.
      walk.size += value.length * 6 + 3
      return value
    case 'number':
      walk.size += 25
      if (!Number.isFinite(value)) walk.special = true
      return value === 0 ? 0 : value // JSON has no -0
    case 'boolean':
      walk.size += 6
      return value
    case 'bigint':
      walk.size += value.toString().length + 20
      walk.special = true
      return value
    case 'object':
      walk.size += 5
      return value === null ? null : copyObject(value, depth, walk)
    default:
      throw new TypeError(`it has a value of the type ${typeof value}`)
  }
}

function copyObject(value: object, depth: number, walk: Walk): object {
  if (depth >= maxDepth) throw new TypeError(`it is more than ${maxDepth} levels deep`)
  // As JSON does: nothing in an array is null.
  if (Array.isArray(value)) {
    return Object.freeze(Array.from(value, (part: unknown) => copy(part === undefined ? null : part, depth + 1, walk)))
  }
  if (isUint8Array(value)) {
    walk.size += value.length * 2 + 20
    walk.special = true
    return new Uint8Array(value)
  }
  if (isDate(value)) {
    if (Number.isNaN(value.getTime())) throw new TypeError('it has an invalid date')
    walk.size += 40
    walk.special = true
    return Object.freeze(new Date(value))
  }
  // Of any realm: an object whose prototype is a root, or that has none.
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new TypeError(`it has a ${value.constructor?.name ?? 'class instance'} in it`)
  }
  const result: Record<string, unknown> = {}
  for (const [key, part] of Object.entries(value)) {
    if (part === undefined) continue
    if (key === '__proto__') throw new TypeError('it has a key __proto__')
    if (key.startsWith('$')) walk.special = true
    walk.size += key.length * 6 + 5
    result[key] = copy(part, depth + 1, walk)
  }
  return Object.freeze(result)
}

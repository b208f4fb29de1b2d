/** The entries of a stream: each is a message, or says what is wrong with it. */
import type { Event } from '../asgi/protocol.ts'
import { reason } from '../runtime/errors.ts'
import type { DeadLetter } from './limits.ts'
import { fromJson } from './wire.ts'

export interface StreamEntry {
  readonly id: string
  /** The message as JSON; of an entry that has none, all its fields and values, as a JSON list. */
  readonly text: string
  /** When it was sent, in milliseconds since 1970. */
  readonly at: number
  readonly content: Event | Flaw
}

/** Why an entry is no message. */
export class Flaw {
  readonly reason: DeadLetter['reason']
  readonly error: string

  constructor(reason: DeadLetter['reason'], error: string) {
    this.reason = reason
    this.error = error
  }
}

/** An entry as Redis answers it: its id, and fields and values in turn. */
export type RawEntry = readonly [id: string, fields: readonly string[]]

/** The entries in the answer of XREADGROUP for one stream. */
export function entriesOf(reply: unknown): readonly RawEntry[] {
  const [entries] = Object.values((reply ?? {}) as Record<string, readonly RawEntry[]>)
  return entries ?? []
}

export function readEntry([id, fields]: RawEntry, maxSize: number): StreamEntry {
  const message = fieldOf(fields, 'message')
  const text = message ?? JSON.stringify(fields)
  const at = Number(fieldOf(fields, 'at') ?? id.split('-', 1)[0])
  return { id, text, at, content: message === undefined ? withoutMessage(fields) : contentOf(message, maxSize) }
}

function withoutMessage(fields: readonly string[]): Flaw {
  const names = fields.filter((_, index) => index % 2 === 0)
  return new Flaw('malformed', `it has no field message, but ${names.join(', ').slice(0, 200)}`)
}

function contentOf(text: string, maxSize: number): Event | Flaw {
  const size = Buffer.byteLength(text)
  if (size > maxSize) return new Flaw('too_large', `it has ${size} bytes, and ${maxSize} is the limit`)
  try {
    return fromJson(text).message ?? new Flaw('malformed', 'it has no message')
  } catch (error) {
    return new Flaw('malformed', reason(error))
  }
}

function fieldOf(fields: readonly string[], name: string): string | undefined {
  const at = fields.findIndex((field, index) => index % 2 === 0 && field === name)
  return at === -1 ? undefined : fields[at + 1]
}

/** The journal for people: what is asked of it and what it answers, as plain JSON. */
import { z } from 'zod'
import type { ProtocolDefinition } from '../asgi/definition.ts'
import { decodeReadable, type ReadRecord } from '../journal/codec.ts'
import type { Journal } from '../journal/journal.ts'
import type { Counts, ListedRecord, RecordFilter, Selection } from '../journal/messages.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { masked } from '../runtime/redact.ts'

/** Which records. Times are milliseconds since 1970. */
const filter = {
  state: z.enum(['waiting', 'dead']).optional(),
  direction: z.enum(['in', 'out']).optional(),
  protocol: z.string().optional(),
  rule: z.string().optional(),
  olderThan: z.number().optional(),
  newerThan: z.number().optional(),
}
const ids = z.array(z.int().positive()).min(1).max(10_000)

const listQuestion = z.strictObject({
  ...filter,
  limit: z.int().min(1).max(1000).default(100),
  /** Only those with a lower id: the last one of the page before. */
  before: z.int().positive().optional(),
  /** Secrets, addresses and numbers as they are. */
  reveal: z.boolean().default(false),
})
const showQuestion = z.strictObject({ id: z.int().positive(), reveal: z.boolean().default(false) })
/** By their ids, or by what they are: at least one thing must be said. */
export const selection = z.union([
  z.strictObject({ ids }),
  z.strictObject(filter).refine((given) => Object.values(given).some((value) => value !== undefined), {
    error: 'expected ids, or state, direction, protocol, rule, olderThan or newerThan',
  }),
])

export type ListQuestion = z.input<typeof listQuestion>
export type ShowQuestion = z.input<typeof showQuestion>
export type JournalSelection = z.input<typeof selection>

/** A record in a list. Times are ISO 8601. */
export interface RecordLine {
  readonly id: number
  readonly state: 'waiting' | 'dead'
  readonly direction: 'in' | 'out'
  readonly protocol: string
  /** `file:line`; empty when there is none. */
  readonly rule: string
  /** Who sent it; of what goes out, who it goes to. */
  readonly peer: string
  /** Attempts that were begun. */
  readonly attempts: number
  readonly at: string
  /** When a waiting one is tried next; undefined: as soon as its turn comes. */
  readonly due?: string
  readonly died?: string
  /** Why the last attempt failed. */
  readonly error: string
  /** Bytes. */
  readonly size: number
}

export interface RecordPage extends RecordLine {
  readonly scope: unknown
  readonly event: unknown
  /** What belongs to it as a whole, such as a mail. */
  readonly body?: unknown
  /** Why some of it cannot be read; that is shown as its bytes to whoever asks for all, else as how many they are. */
  readonly unreadable?: string
}

export interface Touched {
  readonly ids: readonly number[]
}

/** Of a body or payload, at most this many bytes are shown. */
const longestShown = 256 * 1024

/** What people ask of journals, and are answered. */
export interface Desk {
  counts(): Promise<object>
  list(question: unknown): Promise<object>
  show(question: unknown): Promise<object>
  retry(question: unknown): Promise<object>
  discard(question: unknown): Promise<object>
}

/** A journal, as far as people are concerned. */
export type PeoplesJournal = Pick<Journal, 'counts' | 'list' | 'show' | 'retry' | 'discard'>

type BodyDefinition = Pick<ProtocolDefinition, 'name' | 'loadBodyReader'>

export class JournalDesk implements Desk {
  readonly #journal: PeoplesJournal
  readonly #definitions: readonly BodyDefinition[]

  /** `definitions`: of the protocols that say how their bodies are read. */
  constructor(journal: PeoplesJournal, definitions: readonly BodyDefinition[]) {
    this.#journal = journal
    this.#definitions = definitions
  }

  counts(): Promise<Counts> {
    return this.#journal.counts()
  }

  async list(question: unknown): Promise<readonly RecordLine[]> {
    const { reveal, limit, before, ...given } = parsed(listQuestion, question)
    const rows = await this.#journal.list({ ...filterOf(given), limit, before })
    const lines = rows.map(lineOf)
    return reveal ? lines : masked(lines)
  }

  /** @throws SignalboxError `bad_message` when there is no such record. */
  async show(question: unknown): Promise<RecordPage> {
    const { id, reveal } = parsed(showQuestion, question)
    const shown = await this.#journal.show(id)
    if (!shown) throw new SignalboxError('bad_message', `found no record ${id}: it was handled, or taken out`)
    const { body, ...content } = decodeReadable(shown)
    const read = body && { body: await this.#readBody(shown.protocol, body) }
    const page = {
      ...lineOf(shown),
      ...(readable({ ...(reveal ? content : withoutBytes(content)), ...read }, reveal) as Content),
    }
    return reveal ? page : masked(page)
  }

  /** Decoded by its protocol; the bytes themselves where that cannot be. */
  async #readBody(protocol: string, body: Uint8Array): Promise<string | Uint8Array> {
    const definition = this.#definitions.find(({ name }) => name === protocol)
    if (!definition?.loadBodyReader) return body
    try {
      const { readBody } = await definition.loadBodyReader()
      return await readBody(body)
    } catch {
      return body
    }
  }

  /** Dead letters are tried again, from their first attempt on. */
  async retry(question: unknown): Promise<Touched> {
    return { ids: await this.#journal.retry(selectionOf(question)) }
  }

  /** Takes them out for good. */
  async discard(question: unknown): Promise<Touched> {
    return { ids: await this.#journal.discard(selectionOf(question)) }
  }
}

type Content = Pick<RecordPage, 'scope' | 'event' | 'body' | 'unreadable'>

/** What is damaged: nothing can be masked in it, even where it is text. */
function withoutBytes({ scope, event, ...rest }: Omit<ReadRecord, 'body'>): Omit<ReadRecord, 'body'> {
  if (rest.unreadable === undefined) return { scope, event }
  const hidden = (part: unknown) => (ArrayBuffer.isView(part) ? `${part.byteLength} bytes` : part)
  return { scope: hidden(scope), event: hidden(event), ...rest }
}

/** @throws SignalboxError `bad_message` */
export function parsed<T>(schema: z.ZodType<T>, question: unknown): T {
  const result = schema.safeParse(question)
  if (result.success) return result.data
  const why = result.error.issues.map(({ path, message }) => [...path, message].join(': '))
  throw new SignalboxError('bad_message', why.join('; '))
}

function selectionOf(question: unknown): Selection {
  const given = parsed(selection, question)
  return 'ids' in given ? given.ids : filterOf(given)
}

const filterOf = ({ rule: route, ...rest }: RecordFilter & { readonly rule?: string | undefined }): RecordFilter => ({
  ...rest,
  route,
})

function lineOf(row: ListedRecord): RecordLine {
  const { id, state, direction, protocol, route: rule, peer, attempts, at, due, died, error, size } = row
  return {
    id,
    state,
    direction,
    protocol,
    rule,
    peer,
    attempts,
    at: new Date(at).toISOString(),
    ...(state === 'waiting' && due > 0 && { due: new Date(due).toISOString() }),
    ...(died !== undefined && { died: new Date(died).toISOString() }),
    error,
    size,
  }
}

/** Bytes as text where they are text, else as how many they are: nothing can be masked in them. Whoever wants all has them in base64. */
function readable(value: unknown, reveal: boolean): unknown {
  if (typeof value === 'string') return cut(value)
  if (ArrayBuffer.isView(value)) return textOf(Buffer.from(value.buffer, value.byteOffset, value.byteLength), reveal)
  if (Array.isArray(value)) return value.map((inner) => readable(inner, reveal))
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, readable(inner, reveal)]))
}

function textOf(bytes: Buffer, reveal: boolean): unknown {
  const shown = bytes.subarray(0, longestShown)
  const text = shown.toString('utf8')
  const isText = Buffer.from(text).equals(shown) && !/[\0-\x08\x0e-\x1f]/.test(text)
  if (!isText && !reveal) return `${bytes.length} bytes`
  const more = bytes.length > longestShown ? { more: bytes.length - longestShown } : {}
  if (isText && bytes.length <= longestShown) return text
  return isText ? { text, ...more } : { base64: shown.toString('base64'), ...more }
}

function cut(text: string): unknown {
  return text.length > longestShown ? { text: text.slice(0, longestShown), more: text.length - longestShown } : text
}

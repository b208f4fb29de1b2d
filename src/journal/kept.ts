/** Records that came together as the journal keeps them: which are there still, and what a list shows of them. */
import type { EncodedRecord } from './messages.ts'

/** What the records of a connection share. */
export interface KeptHead {
  /** Of the ledger. */
  readonly place: number
  readonly lane: string
  readonly peer: string
  /** Bytes. */
  readonly scope: number
  /** Bytes of the beginning that their events have in common. */
  readonly start: number
  /** Where their body is in the bytes of the parcel. Another head may have the same one. */
  readonly body?: KeptBody | undefined
}

export interface KeptBody {
  readonly from: number
  /** Bytes. */
  readonly size: number
}

/** Where a record's content is in the bytes of its parcel. */
export interface Span {
  /** From where to where. */
  readonly scope: readonly [number, number]
  readonly start: readonly [number, number]
  readonly event: readonly [number, number]
}

/** What a row takes besides its bytes and texts, about. */
export const rowBytes = 100
const rowWidth = 2
const unknownHead: KeptHead = { place: 0, lane: '', peer: '', scope: 0, start: 0 }

/** What a body takes of `maxSize`. */
export function bodyBytes(size: number): number {
  return rowBytes + size
}

export class Kept {
  /** The ids follow each other. */
  readonly first: number
  /** When they were accepted, in milliseconds since 1970. */
  readonly at: number
  readonly heads: readonly KeptHead[]
  /** How many are there. */
  left: number
  /** A bit for each that is gone. */
  readonly gone: Uint8Array
  readonly #rows: Uint32Array
  /** Of each head what its records take without what each has of its own. */
  #sizes: readonly number[] | undefined
  /** How many of those that are there have a body, by where that begins. */
  readonly #bodies: Map<number, number> | undefined
  #spans: Spans | undefined

  constructor(first: number, at: number, content: KeptContent, gone?: Uint8Array) {
    const { heads, rows } = content
    const count = rows.length / rowWidth
    this.first = first
    this.at = at
    this.heads = heads
    this.#rows = rows
    this.gone = new Uint8Array(Math.ceil(count / 8))
    this.left = count
    this.#bodies = heads.some(({ body }) => body) ? new Map() : undefined
    if (gone) this.gone.set(gone.subarray(0, this.gone.length))
    else if (!this.#bodies) return
    for (let id = first; id < first + count; id++) {
      if (this.has(id)) this.#countBody(id, 1)
      else this.left--
    }
  }

  get count(): number {
    return this.#rows.length / rowWidth
  }

  get last(): number {
    return this.first + this.count - 1
  }

  covers(id: number): boolean {
    return id >= this.first && id < this.first + this.count
  }

  /** Whether this one, which it covers, is there. */
  has(id: number): boolean {
    const number = id - this.first
    return ((this.gone[number >> 3] ?? 0) & (1 << (number & 7))) === 0
  }

  /** Takes one out; answers the bytes of `maxSize` that this gives back: 0 when it was not there. */
  take(id: number): number {
    if (!this.covers(id) || !this.has(id)) return 0
    const number = id - this.first
    this.gone[number >> 3] = (this.gone[number >> 3] ?? 0) | (1 << (number & 7))
    this.left--
    const size = this.size(id)
    return this.#countBody(id, -1) === 0 ? size + bodyBytes(this.head(id).body?.size ?? 0) : size
  }

  /** Those that are there and have the same body as this one, which is there; itself alone when it has none. */
  sharing(id: number): number[] {
    const { body } = this.head(id)
    if (!body || this.#bodies?.get(body.from) === 1) return [id]
    return this.ids().filter((other) => this.head(other).body?.from === body.from)
  }

  /** Those that are there. */
  ids(): number[] {
    return Array.from({ length: this.count }, (_, number) => this.first + number).filter((id) => this.has(id))
  }

  head(id: number): KeptHead {
    return this.heads[this.#headNumber(id)] ?? unknownHead
  }

  place(id: number): number {
    return this.head(id).place
  }

  /** Bytes that it takes of `maxSize`, without its body. */
  size(id: number): number {
    this.#sizes ??= this.heads.map(
      ({ lane, peer, scope, start }) => rowBytes + lane.length + peer.length + scope + start,
    )
    return (this.#sizes[this.#headNumber(id)] ?? rowBytes) + this.#eventSize(id)
  }

  span(id: number): Span {
    this.#spans ??= this.#locate()
    const head = this.head(id)
    const scope = this.#spans.heads[this.#headNumber(id)] ?? 0
    const start = scope + head.scope
    const event = this.#spans.events[id - this.first] ?? 0
    return {
      scope: [scope, start],
      start: [start, start + head.start],
      event: [event, event + this.#eventSize(id)],
    }
  }

  /** How many have this one's body now; undefined when it has none. */
  #countBody(id: number, change: number): number | undefined {
    const from = this.#bodies && this.head(id).body?.from
    if (from === undefined) return undefined
    const count = (this.#bodies?.get(from) ?? 0) + change
    this.#bodies?.set(from, count)
    return count
  }

  #headNumber(id: number): number {
    return this.#rows[(id - this.first) * rowWidth] ?? 0
  }

  #eventSize(id: number): number {
    return this.#rows[(id - this.first) * rowWidth + 1] ?? 0
  }

  #locate(): Spans {
    const heads: number[] = []
    const events: number[] = []
    let offset = 0
    for (let id = this.first; id <= this.last; id++) {
      const number = this.#headNumber(id)
      if (heads[number] === undefined) {
        const { scope, start, body } = this.head(id)
        heads[number] = offset
        offset += scope + start
        // An empty one takes a byte.
        if (body?.from === offset) offset += Math.max(body.size, 1)
      }
      events.push(offset)
      offset += this.#eventSize(id)
    }
    return { heads, events }
  }
}

export interface KeptContent {
  readonly heads: readonly KeptHead[]
  /** Two numbers a record: its head, and the bytes of its event after the start. */
  readonly rows: Uint32Array
}

interface Spans {
  readonly heads: readonly number[]
  readonly events: readonly number[]
}

type HeadTuple = [place: number, lane: string, peer: string, scope: number, start: number, from?: number, size?: number]

/** The heads as text. */
export function headsText(heads: readonly KeptHead[]): string {
  return JSON.stringify(
    heads.map(({ place, lane, peer, scope, start, body }) =>
      body ? [place, lane, peer, scope, start, body.from, body.size] : [place, lane, peer, scope, start],
    ),
  )
}

/** What was written. Of what is damaged so that quick_check does not see it, there are records without content: they can be dead letters. */
export function contentOf(heads: string, rows: Uint8Array): KeptContent {
  // SQLite's binding makes memory for each value.
  const numbers = new Uint32Array(rows.buffer, rows.byteOffset, Math.floor(rows.byteLength / 4 / rowWidth) * rowWidth)
  return { heads: readHeads(heads), rows: numbers }
}

function readHeads(text: string): KeptHead[] {
  try {
    const heads = JSON.parse(text) as HeadTuple[] // as headsText writes them
    return heads.map(([place, lane, peer, scope, start, from, size = 0]) => {
      return { place, lane, peer, scope, start, body: from === undefined ? undefined : { from, size } }
    })
  } catch {
    return []
  }
}

/** What a record takes that has a row of its own, without its body. */
export function sizeOf({ lane, peer, scope, start, event }: EncodedRecord): number {
  return rowBytes + lane.length + peer.length + scope.byteLength + (start?.byteLength ?? 0) + event.byteLength
}

/** How many records each place has. */
export function countsOf({ heads, rows }: KeptContent): number[] {
  const counts: number[] = []
  for (let at = 0; at < rows.length; at += rowWidth) {
    const { place } = heads[rows[at] ?? 0] ?? unknownHead
    counts[place] = (counts[place] ?? 0) + 1
  }
  return counts
}

/** What records that come together take; bodies that several heads have count once. */
export function needOf({ heads, rows }: KeptContent): number {
  let sum = 0
  const counted = new Set<number>()
  for (const { body } of heads) {
    if (!body || counted.has(body.from)) continue
    counted.add(body.from)
    sum += bodyBytes(body.size)
  }
  for (let at = 0; at < rows.length; at += rowWidth) {
    const { lane, peer, scope, start } = heads[rows[at] ?? 0] ?? unknownHead
    sum += rowBytes + lane.length + peer.length + scope + start + (rows[at + 1] ?? 0)
  }
  return sum
}

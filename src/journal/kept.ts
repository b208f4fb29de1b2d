/** Records that came together as the journal keeps them: which are there still, and what a list shows of them. */

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
  readonly #sizes: readonly number[]
  #spans: Spans | undefined

  constructor(first: number, at: number, content: KeptContent, gone?: Uint8Array) {
    const { heads, rows } = content
    const count = rows.length / rowWidth
    this.first = first
    this.at = at
    this.heads = heads
    this.#rows = rows
    this.#sizes = heads.map(({ lane, peer, scope, start }) => rowBytes + lane.length + peer.length + scope + start)
    this.gone = new Uint8Array(Math.ceil(count / 8))
    this.left = count
    if (!gone) return
    this.gone.set(gone.subarray(0, this.gone.length))
    for (let id = first; id < first + count; id++) if (!this.has(id)) this.left--
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

  /** Takes one out; answers whether it was there. */
  take(id: number): boolean {
    if (!this.covers(id) || !this.has(id)) return false
    const number = id - this.first
    this.gone[number >> 3] = (this.gone[number >> 3] ?? 0) | (1 << (number & 7))
    this.left--
    return true
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

  /** Bytes that it takes of `maxSize`. */
  size(id: number): number {
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
        const { scope, start } = this.head(id)
        heads[number] = offset
        offset += scope + start
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

/** The heads as text. */
export function headsText(heads: readonly KeptHead[]): string {
  return JSON.stringify(heads.map(({ place, lane, peer, scope, start }) => [place, lane, peer, scope, start]))
}

/** What was written. Of what is damaged so that quick_check does not see it, there are records without content: they can be dead letters. */
export function contentOf(heads: string, rows: Uint8Array): KeptContent {
  // SQLite's binding makes memory for each value.
  const numbers = new Uint32Array(rows.buffer, rows.byteOffset, Math.floor(rows.byteLength / 4 / rowWidth) * rowWidth)
  return { heads: readHeads(heads), rows: numbers }
}

function readHeads(text: string): KeptHead[] {
  try {
    const heads = JSON.parse(text) as [number, string, string, number, number][] // as headsText writes them
    return heads.map(([place, lane, peer, scope, start]) => ({ place, lane, peer, scope, start }))
  } catch {
    return []
  }
}

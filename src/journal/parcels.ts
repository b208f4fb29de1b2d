/** What came together is one row, and goes with the last of its records; those that are gone before that are bits. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { contentOf, headsText, Kept, type KeptContent } from './kept.ts'

/** Records of which it is known without reading what is there. */
const mostKnown = 500_000
/** A head takes as much memory as so many records, about, and so does a parcel besides. */
const headCost = 16
const parcelCost = 40
/** Bytes of contents that are kept for whoever reads the records of a parcel one by one; more when one has more. */
const mostRead = 8 * 2 ** 20

interface Row {
  readonly first: number
  readonly at: number
  readonly heads: string
  readonly rows: Uint8Array
  readonly gone: Uint8Array | null
}

export interface Content {
  readonly scope: Uint8Array
  readonly event: Uint8Array
}

export class Parcels {
  readonly #add: StatementSync
  readonly #find: StatementSync
  readonly #bytes: StatementSync
  readonly #remove: StatementSync
  readonly #note: StatementSync
  readonly #unnote: StatementSync
  /** Those that were used, in order. */
  #known: Kept[] = []
  #cost = 0
  #last: Kept | undefined
  readonly #changed = new Set<Kept>()
  /** The bytes of those that were read last, by their first ids. */
  readonly #read = new Map<number, Uint8Array>()
  #readBytes = 0

  constructor(database: DatabaseSync) {
    this.#add = database.prepare('INSERT INTO parcels VALUES (?, ?, ?, ?, ?, ?)')
    this.#find = database.prepare(`${selectKept} WHERE first <= ? ORDER BY first DESC LIMIT 1`)
    this.#bytes = database.prepare('SELECT bytes FROM parcels WHERE first = ?')
    this.#remove = database.prepare('DELETE FROM parcels WHERE first = ?')
    this.#note = database.prepare('INSERT OR REPLACE INTO gone VALUES (?, ?)')
    this.#unnote = database.prepare('DELETE FROM gone WHERE parcel = ?')
  }

  /** The ids are above all that there are. */
  add(first: number, at: number, content: KeptContent, bytes: Uint8Array): void {
    const kept = new Kept(first, at, content)
    const { rows } = content
    const numbers = new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength)
    this.#add.run(first, kept.last, at, headsText(content.heads), numbers, bytes)
    this.#known.push(kept)
    this.#cost += costOf(kept)
  }

  /** The one that has it, if it was used lately. */
  known(id: number): Kept | undefined {
    if (this.#last?.covers(id)) return this.#last
    const kept = this.#known[this.#position(id)]
    if (!kept?.covers(id)) return undefined
    this.#last = kept
    return kept
  }

  /** The one that has it. */
  find(id: number): Kept | undefined {
    const known = this.known(id)
    if (known) return known
    const row = this.#find.get(id) as Row | undefined
    const kept = row && keptOf(row)
    if (!kept?.covers(id)) return undefined
    this.#known.splice(this.#position(id) + 1, 0, kept)
    this.#cost += costOf(kept)
    this.#last = kept
    return kept
  }

  /** Takes a record out of its parcel; answers the bytes of `maxSize` that this gives back: 0 when it was not there. */
  take(kept: Kept, id: number): number {
    const bytes = kept.take(id)
    if (bytes > 0) this.#changed.add(kept)
    return bytes
  }

  /** What a record says. */
  content(kept: Kept, id: number): Content {
    const bytes = this.#bytesOf(kept.first)
    const { scope, start, event } = kept.span(id)
    return {
      scope: bytes.slice(...scope),
      event: joined(bytes.subarray(...start), bytes.subarray(...event)),
    }
  }

  /** What it may share with others. */
  body(kept: Kept, id: number): Uint8Array | undefined {
    const { body } = kept.head(id)
    return body && this.#bytesOf(kept.first).slice(body.from, body.from + body.size)
  }

  /** Writes what has changed, as part of the transaction. */
  save(): void {
    for (const kept of this.#changed) {
      if (kept.left > 0) this.#note.run(kept.first, kept.gone)
      else this.#end(kept)
    }
    this.#changed.clear()
    if (this.#cost > mostKnown) this.forget()
  }

  /** What is on disk counts: a transaction came to nothing, or memory is short. */
  forget(): void {
    this.#known = []
    this.#cost = 0
    this.#last = undefined
    this.#changed.clear()
    for (const first of this.#read.keys()) this.#unread(first)
  }

  #end(kept: Kept): void {
    this.#remove.run(kept.first)
    this.#unnote.run(kept.first)
    const position = this.#position(kept.first)
    if (this.#known[position] === kept) {
      this.#known.splice(position, 1)
      this.#cost -= costOf(kept)
    }
    if (this.#last === kept) this.#last = undefined
    this.#unread(kept.first)
  }

  /** Of the last one that begins at this id or before it; -1 when there is none. */
  #position(id: number): number {
    let low = 0
    let high = this.#known.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#known[middle]?.first ?? 0) <= id) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  #bytesOf(first: number): Uint8Array {
    const known = this.#read.get(first)
    if (known) return known
    const row = this.#bytes.get(first) as { bytes: Uint8Array } | undefined
    const bytes = row?.bytes ?? new Uint8Array()
    this.#read.set(first, bytes)
    this.#readBytes += bytes.byteLength
    for (const oldest of this.#read.keys()) {
      if (this.#readBytes <= mostRead || oldest === first) break
      this.#unread(oldest)
    }
    return bytes
  }

  #unread(first: number): void {
    this.#readBytes -= this.#read.get(first)?.byteLength ?? 0
    this.#read.delete(first)
  }
}

/** What `keptOf` takes. */
export const selectKept = `
  SELECT first, at, heads, rows, (SELECT bits FROM gone WHERE parcel = first) AS gone FROM parcels`

export function keptOf(row: unknown): Kept {
  const { first, at, heads, rows, gone } = row as Row // as selectKept has it
  return new Kept(first, at, contentOf(heads, rows), gone ?? undefined)
}

function costOf({ count, heads }: Kept): number {
  return parcelCost + count + headCost * heads.length
}

function joined(start: Uint8Array, end: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(start.byteLength + end.byteLength)
  bytes.set(start)
  bytes.set(end, start.byteLength)
  return bytes
}

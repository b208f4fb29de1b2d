/** The keys that a journal's file has, read into memory: its own process adds to them, the others read on. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { entryBytes, KeyEntries, KeySegment } from './key-segment.ts'
import type { Limits } from './messages.ts'

/** What a key takes, in memory and on disk together, about. */
export const keyBytes = 96
/** Of `maxSize`, for the keys; and never more bytes than these, because they are in memory. */
const keyShare = 1 / 8
const mostKeyBytes = 512 * 2 ** 20
/** So many have the time of a window, and so many the room of the share: what goes is the oldest one as a whole. */
const segments = 16

/** A row of the table. */
export interface KeyRow {
  readonly number: number
  readonly entries: Uint8Array
}

export const emptyRow: KeyRow = { number: 0, entries: new Uint8Array() }

export class KeyLog {
  /** The last row, which may grow. */
  row = emptyRow
  readonly #window: number
  readonly #share: number
  readonly #rows: StatementSync
  /** The oldest first. */
  #segments: KeySegment[] = []

  /** Throws what SQLite throws: it may be the file of somebody else. */
  constructor(database: DatabaseSync, { dedupeWindow, maxSize }: Pick<Limits, 'dedupeWindow' | 'maxSize'>) {
    this.#window = dedupeWindow
    this.#share = Math.min(maxSize * keyShare, mostKeyBytes)
    this.#rows = database.prepare('SELECT number, entries FROM known WHERE number >= ? ORDER BY number')
  }

  get last(): KeySegment | undefined {
    return this.#segments.at(-1)
  }

  /** Reads what has come since the last time. */
  read(): void {
    for (const row of this.rows(this.row.number)) {
      const entries = KeyEntries.of(row.entries)
      const read = row.number === this.row.number ? Math.floor(this.row.entries.byteLength / entryBytes) : 0
      this.row = row
      if (read >= entries.count) continue
      const segment = read === 0 && this.isOver(entries.at(0)) ? this.begin(entries.at(0)) : this.last
      for (let number = read; number < entries.count; number++) segment?.put(entries, number)
      if (segment) segment.lastRow = row.number
    }
  }

  /** From this one on. */
  rows(first: number): Iterable<KeyRow> {
    return this.#rows.iterate(first) as unknown as Iterable<KeyRow> // as the statement has it
  }

  /** Reads all of it anew. */
  reload(): void {
    this.row = emptyRow
    this.#segments = []
    this.read()
  }

  /** The id of the record that is known by this key. */
  find(entries: KeyEntries, number: number, now: number): number | undefined {
    for (let index = this.#segments.length - 1; index >= 0; index--) {
      const known = this.#segments[index]?.find(entries, number)
      if (known) return known.at > now - this.#window ? known.id : undefined
    }
    return undefined
  }

  /** Whether what comes now belongs to a new segment. */
  isOver(at: number): boolean {
    const { last } = this
    if (!last) return true
    return last.entries >= this.#share / keyBytes / segments || at - last.begin > this.#window / segments
  }

  begin(at: number): KeySegment {
    const segment = new KeySegment(at)
    this.#segments.push(segment)
    return segment
  }

  /** Takes back the last `begin`. */
  unbegin(): void {
    this.#segments.pop()
  }

  /** Those that are too old are known no more; when all take more than their share, neither are the oldest. Answers their last row, or 0. */
  forget(now: number): number {
    let bytes = 0
    let lastRow = 0
    for (const { entries } of this.#segments) bytes += entries * keyBytes
    for (let [oldest] = this.#segments; oldest; [oldest] = this.#segments) {
      if (oldest.end > now - this.#window && bytes <= this.#share) break
      bytes -= oldest.entries * keyBytes
      lastRow = oldest.lastRow
      this.#segments.shift()
    }
    return lastRow
  }
}

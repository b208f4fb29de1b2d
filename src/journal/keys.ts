/** The keys that events are known by, for a window of time: one that comes again is told by its own. A log on disk, tables in memory. */
import { createHash, hash } from 'node:crypto'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { elsewhere } from './elsewhere.ts'
import { emptyRow, keyBytes, KeyLog, type KeyRow } from './key-log.ts'
import { digestWords, entryBytes, KeyEntries, type KnownKey } from './key-segment.ts'
import type { Ledger } from './ledger.ts'
import type { EncodedRecord, Limits, Parcel } from './messages.ts'
import { headsOf, placesOf, rowWidth } from './parcel.ts'
import type { Siblings } from './siblings.ts'

/** A row with as many entries grows no more: so many have room on one page. */
const fullRow = 100
/** Longer keys are known by their hash. */
const longestKey = 300
/** Rows that are deleted in one transaction. */
const stepRows = 500
/** Keys of one transaction that there is room for. */
const firstRoom = 256
const mostRoom = 2 ** 14
/** Of a key that was never noted, as it turned out. */
const nobody: KnownKey = { id: -1, at: 0 }

export class Keys {
  readonly #ledger: Ledger
  readonly #siblings: Siblings | undefined
  readonly #log: KeyLog
  readonly #write: StatementSync
  readonly #remove: StatementSync
  readonly #oldest: StatementSync
  /** Those of the transaction, known already. */
  #noted = KeyEntries.empty(firstRoom)
  /** What each of them was before. */
  #before: (KnownKey | undefined)[] = []
  /** Whether a segment began in the transaction. */
  #begins = false
  /** What becomes of the last row in it. */
  #next = emptyRow
  /** The rows up to this one are to be deleted. */
  #forgotten = 0
  /** Room for one that is looked for. */
  readonly #wanted = KeyEntries.empty(1)

  /** `siblings`: who may know others. */
  constructor(
    database: DatabaseSync,
    ledger: Ledger,
    { limits, siblings }: { readonly limits: Limits; readonly siblings?: Siblings | undefined },
  ) {
    this.#ledger = ledger
    this.#siblings = siblings
    this.#log = new KeyLog(database, limits)
    this.#write = database.prepare('INSERT OR REPLACE INTO known VALUES (?, ?)')
    this.#remove = database.prepare('DELETE FROM known WHERE number = ?')
    this.#oldest = database.prepare(
      `SELECT number, length(entries) AS size FROM known WHERE number <= ? ORDER BY number LIMIT ${stepRows}`,
    )
    this.#log.read()
  }

  /**
   * The id of the record that is known by it; `elsewhere` for one of another process.
   * @throws SignalboxError `journal_failed` when another process is storing it now.
   */
  find(name: string, now: number): number | undefined {
    setDigest(this.#wanted, 0, name)
    return this.#log.find(this.#wanted, 0, now) ?? this.#siblings?.find(name, this.#wanted, now)
  }

  /** From now on it is this record's. */
  note(name: string, id: number, at: number): void {
    this.#put(this.#room(name, { id, at }))
  }

  /** Notes the keys of a parcel whose first record has this id. False: one of them is known, and none is noted. */
  noteNew(parcel: Parcel, first: number, now: number): boolean {
    const mark = this.#before.length
    for (const { name, record, mayRepeat } of keysOf(parcel)) {
      const number = this.#room(name, { id: first + record, at: now })
      const isKnown = mayRepeat && (this.#siblings?.isTaken(name) || this.#isKnown(name, number, now))
      if (isKnown) {
        this.#takeBack(mark)
        return false
      }
      this.#put(number)
    }
    return true
  }

  /** Writes what was noted, as part of the transaction: one row, however many they are. */
  save(): void {
    const { length: count } = this.#before
    if (count === 0) return
    const { row } = this.#log
    const isFull = this.#begins || row.entries.byteLength >= fullRow * entryBytes
    const open = isFull ? { ...emptyRow, number: row.number + 1 } : row
    this.#next = { number: open.number, entries: Buffer.concat([open.entries, this.#noted.bytes(count)]) }
    this.#write.run(this.#next.number, this.#next.entries)
    this.#ledger.keyBytes += keyBytes * count
  }

  /** The transaction is on disk. */
  saved(): void {
    if (this.#before.length === 0) return this.undo()
    this.#log.row = this.#next
    const { last } = this.#log
    if (last) last.lastRow = this.#next.number
    this.#end()
  }

  /** The transaction came to nothing. */
  undo(): void {
    this.#takeBack(0)
    if (this.#begins) this.#log.unbegin()
    this.#end()
  }

  /** Those that are too old are known no more; and when they take more than their share, neither are the oldest. */
  forget(now: number): void {
    this.#forgotten = Math.max(this.#forgotten, this.#log.forget(now))
  }

  /** Whether anything is on disk that is not known any more. */
  get hasForgotten(): boolean {
    return this.#forgotten > 0
  }

  /** Deletes some of that. */
  clear(): void {
    const rows = this.#oldest.all(this.#forgotten) as unknown as { number: number; size: number }[]
    for (const { number, size } of rows) {
      this.#remove.run(number)
      this.#ledger.keyBytes -= keyBytes * Math.floor(size / entryBytes)
    }
    // Only now: a transaction that comes to nothing forgets nothing.
    if (rows.length === 0) this.#forgotten = 0
  }

  /** Which records above this id have a key. */
  idsAbove(id: number): number[] {
    const ids = new Set<number>()
    for (const { entries } of this.#log.rows(0)) {
      const all = KeyEntries.of(entries)
      for (let index = 0; index < all.count; index++) {
        const one = all.id(index)
        if (one > id && one < elsewhere) ids.add(one)
      }
    }
    return [...ids]
  }

  /** What is noted of records above this id was never answered. */
  unmake(answered: number): void {
    const changed: KeyRow[] = []
    for (const { number, entries } of this.#log.rows(0)) {
      const all = KeyEntries.of(entries)
      const left = KeyEntries.empty(all.count)
      let count = 0
      for (let index = 0; index < all.count; index++) {
        const isAnswered = all.id(index) <= answered || all.id(index) === elsewhere
        if (isAnswered) left.copy(count++, all, index)
      }
      if (count === all.count) continue
      changed.push({ number, entries: left.bytes(count) })
      this.#ledger.keyBytes -= keyBytes * (all.count - count)
    }
    for (const { number, entries } of changed) {
      if (entries.byteLength > 0) this.#write.run(number, entries)
      else this.#remove.run(number)
    }
    this.#log.reload()
  }

  #isKnown(name: string, number: number, now: number): boolean {
    if (this.#siblings) return this.find(name, now) !== undefined
    return this.#log.find(this.#noted, number, now) !== undefined
  }

  /** The number of an entry of the transaction, the next one. */
  #room(name: string, known: KnownKey): number {
    const { length: number } = this.#before
    if (number === this.#noted.count) this.#noted = this.#noted.grown()
    setDigest(this.#noted, number, name)
    this.#noted.set(number, known)
    return number
  }

  #put(number: number): void {
    const at = this.#noted.at(number)
    let segment = this.#log.last
    if (!segment || (number === 0 && !this.#begins && this.#log.isOver(at))) {
      this.#begins = true
      segment = this.#log.begin(at)
    }
    this.#before.push(segment.find(this.#noted, number))
    segment.put(this.#noted, number)
  }

  /** All from this one on, the last first. */
  #takeBack(first: number): void {
    for (let number = this.#before.length - 1; number >= first; number--) {
      this.#noted.set(number, this.#before.pop() ?? nobody)
      this.#log.last?.takeBack(this.#noted, number)
    }
  }

  #end(): void {
    this.#before = []
    this.#begins = false
    // A commit of very many is not to be paid for for ever.
    if (this.#noted.count > mostRoom) this.#noted = KeyEntries.empty(firstRoom)
  }
}

/** The names of all keys of these parcels. */
export function namesIn(parcels: readonly Parcel[]): ReadonlySet<string> {
  const names = new Set<string>()
  for (const parcel of parcels) for (const { name } of keysOf(parcel)) names.add(name)
  return names
}

function* keysOf(
  parcel: Parcel,
): Generator<{ readonly name: string; readonly record: number; readonly mayRepeat: boolean }> {
  const { rows, keys, keyed } = parcel
  if (keys.length === 0) return
  const heads = headsOf(parcel)
  const places = placesOf(parcel)
  for (const [index, key] of keys.entries()) {
    const record = keyed[index * 2] ?? 0
    const place = places[heads[rows[record * rowWidth] ?? 0]?.place ?? 0]
    if (place) yield { name: nameOf(place, key), record, mayRepeat: keyed[index * 2 + 1] === 1 }
  }
}

/** Keys of different protocols are different. */
function nameOf({ direction, protocol }: Pick<EncodedRecord, 'direction' | 'protocol'>, key: string): string {
  const short = key.length > longestKey ? createHash('sha256').update(key).digest('base64') : key
  return `${direction} ${protocol} ${short}`
}

/** What a record's key is called, if it has one. */
export function keyNameOf(record: Pick<EncodedRecord, 'direction' | 'protocol' | 'key'>): string | undefined {
  return record.key === undefined ? undefined : nameOf(record, record.key)
}

/** The versions before had a row a key. */
export function takeOverKeys(database: DatabaseSync): void {
  const write = database.prepare('INSERT INTO known VALUES (?, ?)')
  const entries = KeyEntries.empty(fullRow)
  let row = 0
  let all = 0
  let count = 0
  const end = () => {
    if (count > 0) write.run(++row, entries.bytes(count))
    all += count
    count = 0
  }
  for (const { key, id, at } of database.prepare('SELECT key, id, at FROM keys ORDER BY at').iterate()) {
    setDigest(entries, count, String(key))
    entries.set(count++, { id: Number(id), at: Number(at) })
    if (count === fullRow) end()
  }
  end()
  database.prepare('UPDATE ledger SET key_bytes = ?').run(all * keyBytes)
  database.exec('DROP TABLE keys')
}

function setDigest(entries: KeyEntries, number: number, name: string): void {
  // As text, because bytes would be memory outside of the heap for each.
  const text = hash('sha256', name, 'binary')
  for (let word = 0; word < digestWords; word++) {
    const at = word * 4
    const low = text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8)
    entries.setWord(number, word, low | (text.charCodeAt(at + 2) << 16) | (text.charCodeAt(at + 3) << 24))
  }
}

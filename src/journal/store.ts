/** What the journal has on disk, and each change to it: synchronous, in the worker's thread, always inside of a transaction. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { SignalboxError } from '../runtime/errors.ts'
import { eventOf } from './codec.ts'
import { bodyBytes, countsOf, type Kept, needOf, sizeOf } from './kept.ts'
import { keyNameOf, Keys } from './keys.ts'
import { type End, Ledger, type Place } from './ledger.ts'
import { type EncodedRecord, type Limits, type Note, type Parcel, type RecordState, underWay } from './messages.ts'
import { headsOf, placesOf, rowWidth } from './parcel.ts'
import { Parcels } from './parcels.ts'
import type { Siblings } from './siblings.ts'

/** Fewer records than these have rows of their own, unless they have bodies; and so have larger ones. */
const fewestTogether = 4
const mostBytesTogether = 4 * 2 ** 20
/** Characters that are kept of an error. */
const longestError = 2000

interface Gone {
  readonly id: number
  readonly place: number
  readonly size: number
  readonly body: number | null
}

interface Found {
  readonly place: number
  readonly size: number
  readonly error: string
}

export class JournalStore {
  readonly database: DatabaseSync
  readonly limits: Limits
  readonly ledger: Ledger
  readonly parcels: Parcels
  readonly keys: Keys
  readonly siblings: Siblings | undefined
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #add: Readonly<Record<RecordState, StatementSync>>
  readonly #addBody: StatementSync
  readonly #useBody: StatementSync
  readonly #removeBody: StatementSync
  readonly #remove: Readonly<Record<RecordState, StatementSync>>
  readonly #find: StatementSync
  readonly #fail: StatementSync
  readonly #count: StatementSync
  readonly #bury: StatementSync
  readonly #revive: StatementSync
  /** Whether the ledger in memory is not what is on disk. */
  #stale = false

  constructor(database: DatabaseSync, limits: Limits, siblings?: Siblings) {
    const prepare = (sql: string) => database.prepare(sql)
    const add = (table: RecordState) => prepare(`INSERT INTO ${table} VALUES (?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?)`)
    const remove = (table: RecordState) => prepare(`DELETE FROM ${table} WHERE id = ? RETURNING id, place, size, body`)
    this.database = database
    this.limits = limits
    this.ledger = new Ledger(database)
    this.parcels = new Parcels(database)
    this.siblings = siblings
    this.keys = new Keys(database, this.ledger, { limits, siblings })
    this.#begin = prepare('BEGIN IMMEDIATE')
    this.#commit = prepare('COMMIT')
    this.#add = { waiting: add('waiting'), dead: add('dead') }
    this.#addBody = prepare('INSERT INTO bodies VALUES (?, ?, ?)')
    this.#useBody = prepare('UPDATE bodies SET uses = uses - 1 WHERE id = ? RETURNING uses, length(data) AS size')
    this.#removeBody = prepare('DELETE FROM bodies WHERE id = ?')
    this.#remove = { waiting: remove('waiting'), dead: remove('dead') }
    this.#find = prepare('SELECT place, size, error FROM waiting WHERE id = ?')
    this.#fail = prepare('UPDATE waiting SET attempts = ?, due = ?, error = ?, size = ? WHERE id = ?')
    this.#count = prepare(`UPDATE waiting SET attempts = attempts + ?1, due = iif(?1 > 0, ${underWay}, 0) WHERE id = ?`)
    this.#bury = prepare(`INSERT INTO dead
      SELECT id, place, lane, ?, 0, at, ?, ?, body, peer, ?, scope, event FROM waiting WHERE id = ?`)
    this.#revive = prepare(`INSERT INTO waiting
      SELECT id, place, lane, 0, 0, at, NULL, size, body, peer, error, scope, event FROM dead WHERE id = ?`)
  }

  /** Does it all or not at all; on disk when this returns. */
  write<T>(work: () => T): T {
    this.#begin.run()
    try {
      this.counted()
      this.#stale = true
      const result = work()
      this.parcels.save()
      this.keys.save()
      this.ledger.save()
      this.#commit.run()
      this.#stale = false
      this.keys.saved()
      return result
    } catch (error) {
      this.#undo()
      throw error
    }
  }

  /** The ledger as it is on disk. */
  counted(): Ledger {
    if (this.#stale) this.ledger.load()
    this.#stale = false
    return this.ledger
  }

  /**
   * Stores a parcel as it is, the records of all its calls; answers the first one's id. Undefined, and nothing is changed, when some
   * of it is known or finds no room, or is better stored record by record.
   */
  keep(parcel: Parcel, now: number): number | undefined {
    const { rows, bytes } = parcel
    const count = rows.length / rowWidth
    const heads = headsOf(parcel)
    const isFew = count < fewestTogether && !heads.some(({ body }) => body)
    if (isFew || bytes.byteLength > mostBytesTogether) return undefined
    const { ledger } = this
    const places = placesOf(parcel)
    const counts = countsOf({ heads, rows })
    const need = needOf({ heads, rows })
    if (ledger.bytes + need > this.limits.maxSize) return undefined
    const first = ledger.lastId + 1
    if (!this.keys.noteNew(parcel, first, now)) return undefined
    ledger.lastId += count
    ledger.bytes += need
    const ids = places.map(({ direction, protocol, route }, number) => {
      const place = ledger.open(direction, protocol, route)
      place.accepted += counts[number] ?? 0
      place.waiting += counts[number] ?? 0
      return place.id
    })
    const kept = heads.map((head) => ({ ...head, place: ids[head.place] ?? 0 }))
    this.parcels.add(first, now, { heads: kept, rows }, bytes)
    return first
  }

  /**
   * Stores the records of one call; answers their ids, negative for those that were known by their key.
   * @throws SignalboxError `journal_full`, `journal_failed` (another process is storing it), before anything is changed.
   */
  accept(records: readonly EncodedRecord[], now: number): number[] {
    const { ledger } = this
    const names = records.map(keyNameOf)
    const ids: number[] = []
    const sizes: number[] = []
    const bodies = new Map<Uint8Array, { uses: number; id: number }>()
    let last = ledger.lastId
    let need = 0
    for (const [index, record] of records.entries()) {
      const known = record.mayRepeat ? this.#known(names, index, { ids, now }) : undefined
      const size = sizeOf(record)
      sizes.push(size)
      ids.push(known === undefined ? ++last : -known)
      if (known !== undefined) continue
      need += size
      if (record.body) need += this.#share(bodies, record.body)
    }
    this.#demand(need)
    ledger.lastId = last
    ledger.bytes += need
    this.#storeBodies(bodies)
    for (const [index, record] of records.entries()) {
      const id = ids[index] ?? 0
      const name = names[index]
      if (id <= 0) {
        // Who sends it again has not heard the answer, and may send it once more.
        if (name !== undefined) this.keys.note(name, -id, now)
        continue
      }
      const body = record.body ? (bodies.get(record.body)?.id ?? null) : null
      const place = this.ledger.open(record.direction, record.protocol, record.route)
      const { lane, peer, scope } = record
      this.#add.waiting.run(id, place.id, lane, now, null, sizes[index] ?? 0, body, peer, '', scope, eventOf(record))
      place.accepted++
      place.waiting++
      if (name !== undefined) this.keys.note(name, id, now)
    }
    return ids
  }

  /**
   * Writes a note. What it names may be gone: a person was faster.
   * @throws SignalboxError `journal_full` for a dead letter that finds no room; it is counted as dropped.
   */
  note(note: Note, now: number): void {
    switch (note.kind) {
      case 'handled':
        for (const id of note.ids) this.remove('waiting', id, 'handled')
        return
      case 'begun':
        for (const id of note.ids) this.#begun(id, note.by)
        return
      case 'failed':
        this.#failed(note)
        return
      case 'dead':
        this.#dead(note, now)
        return
      case 'letter':
        this.#letter(note, now)
        return
      default:
        note satisfies never
    }
  }

  /** Takes a record out; answers whether it was there. */
  remove(state: RecordState, id: number, end: End): boolean {
    const place = this.#takeOut(state, id)
    if (!place) return false
    place[state]--
    place[end]++
    return true
  }

  /** Gives a record of a parcel a row of its own, where it can change, and those that have its body too; answers whether there was one. */
  apart(id: number): boolean {
    const kept = this.parcels.find(id)
    if (!kept?.has(id)) return false
    const ids = kept.sharing(id)
    const body = this.parcels.body(kept, id)
    const bodyId = body ? ++this.ledger.lastBody : null
    if (body) this.#addBody.run(bodyId, ids.length, body)
    for (const each of ids) {
      const { place, lane, peer } = kept.head(each)
      const { scope, event } = this.parcels.content(kept, each)
      this.#add.waiting.run(each, place, lane, kept.at, null, kept.size(each), bodyId, peer, '', scope, event)
      this.parcels.take(kept, each)
    }
    return true
  }

  /** Makes a dead letter wait again; answers whether it was there. */
  revive(id: number): boolean {
    this.#revive.run(id)
    const row = this.#remove.dead.get(id) as Gone | undefined
    if (!row) return false
    const place = this.ledger.change(row.place)
    place.dead--
    place.waiting++
    return true
  }

  /**
   * Unmakes what was stored above this id: its senders were told that it was not, because the worker ended. What has a key and may
   * be known to another process stays: that may have told its sender that it is stored. Answers which.
   */
  unmake(answered: number): readonly number[] {
    const kept = new Set(this.siblings ? this.keys.idsAbove(answered) : [])
    const rows = this.database
      .prepare(
        'SELECT id AS first, id AS last FROM waiting WHERE id > ?1 UNION SELECT first, last FROM parcels WHERE last > ?1',
      )
      .all(answered) as unknown as { first: number; last: number }[]
    for (const { first, last } of rows) {
      for (let id = Math.max(first, answered + 1); id <= last; id++) {
        if (kept.has(id)) continue
        const place = this.#takeOut('waiting', id)
        if (!place) continue
        place.waiting--
        place.accepted--
      }
    }
    if (!this.siblings) this.keys.unmake(answered)
    return [...kept]
  }

  #undo(): void {
    this.parcels.forget()
    this.keys.undo()
    try {
      // Some errors have SQLite roll back by itself.
      if (this.database.isTransaction) this.database.exec('ROLLBACK')
      this.counted()
    } catch {
      // It cannot even be read: the next transaction tries again, and says so.
    }
  }

  #demand(need: number): void {
    const { bytes } = this.ledger
    const { maxSize } = this.limits
    if (need === 0 || bytes + need <= maxSize) return
    throw new SignalboxError(
      'journal_full',
      `the journal keeps ${bytes} bytes of at most ${maxSize}, so ${need} more find no room: it is to be tried again later`,
    )
  }

  /** The id of the record that this key is known by: from before, or from this call. */
  #known(
    keys: readonly (string | undefined)[],
    index: number,
    { ids, now }: { readonly ids: readonly number[]; readonly now: number },
  ): number | undefined {
    const key = keys[index]
    if (key === undefined) return undefined
    const before = index === 0 ? -1 : keys.lastIndexOf(key, index - 1)
    if (before >= 0) return Math.abs(ids[before] ?? 0)
    return this.keys.find(key, now)
  }

  /** Counts a use of a body; answers what that takes. */
  #share(bodies: Map<Uint8Array, { uses: number; id: number }>, body: Uint8Array): number {
    const shared = bodies.get(body)
    if (shared) shared.uses++
    else bodies.set(body, { uses: 1, id: 0 })
    return shared ? 0 : bodyBytes(body.byteLength)
  }

  #storeBodies(bodies: Map<Uint8Array, { uses: number; id: number }>): void {
    for (const [data, body] of bodies) {
      body.id = ++this.ledger.lastBody
      this.#addBody.run(body.id, body.uses, data)
    }
  }

  /** Takes a record out, wherever it is; answers its place, to be changed. */
  #takeOut(state: RecordState, id: number): Place | undefined {
    const known = state === 'waiting' ? this.parcels.known(id) : undefined
    const kept = this.#takeKept(known, id)
    if (kept) return kept
    const row = this.#take(state, id)
    if (row) return this.ledger.change(row.place)
    // Of those that came long ago nobody knows yet whether they are in a parcel.
    return state === 'waiting' && !known ? this.#takeKept(this.parcels.find(id), id) : undefined
  }

  #takeKept(kept: Kept | undefined, id: number): Place | undefined {
    const bytes = kept ? this.parcels.take(kept, id) : 0
    if (!kept || bytes === 0) return undefined
    this.ledger.bytes -= bytes
    return this.ledger.change(kept.place(id))
  }

  /** Deletes a record, and its body when nobody else has it. */
  #take(state: RecordState, id: number): Gone | undefined {
    const gone = this.#remove[state].get(id) as Gone | undefined
    if (!gone) return undefined
    this.ledger.bytes -= gone.size
    if (gone.body === null) return gone
    const left = this.#useBody.get(gone.body) as { uses: number; size: number } | undefined
    if (left?.uses !== 0) return gone
    this.#removeBody.run(gone.body)
    this.ledger.bytes -= bodyBytes(left.size)
    return gone
  }

  #begun(id: number, by: number): void {
    if (this.#count.run(by, id).changes === 0 && this.apart(id)) this.#count.run(by, id)
  }

  #failed({ id, attempts, due, error }: Note & { kind: 'failed' }): void {
    const row = this.#found(id)
    if (!row) return
    const said = error.slice(0, longestError)
    const size = row.size - row.error.length + said.length
    this.#fail.run(attempts, due, said, size, id)
    this.ledger.bytes += size - row.size
  }

  #dead({ id, attempts, error }: Note & { kind: 'dead' }, now: number): void {
    const row = this.#found(id)
    if (!row) return
    const said = error.slice(0, longestError)
    const size = row.size - row.error.length + said.length
    this.#bury.run(attempts, now, size, said, id)
    this.#remove.waiting.get(id)
    this.ledger.bytes += size - row.size
    const place = this.ledger.change(row.place)
    place.waiting--
    place.dead++
  }

  #letter({ record, error }: Note & { kind: 'letter' }, now: number): void {
    const { ledger } = this
    const { direction, protocol, route, lane, peer, scope, body } = record
    const place = ledger.open(direction, protocol, route)
    const said = error.slice(0, longestError)
    const size = sizeOf(record) + said.length
    const need = size + (body ? bodyBytes(body.byteLength) : 0)
    try {
      this.#demand(need)
    } catch (full) {
      place.dropped++
      throw full
    }
    ledger.bytes += need
    const bodyId = body ? ++ledger.lastBody : null
    if (body) this.#addBody.run(bodyId, 1, body)
    this.#add.dead.run(++ledger.lastId, place.id, lane, now, now, size, bodyId, peer, said, scope, eventOf(record))
    place.accepted++
    place.dead++
  }

  #found(id: number): Found | undefined {
    const row = this.#find.get(id) ?? (this.apart(id) ? this.#find.get(id) : undefined)
    return row as Found | undefined
  }
}

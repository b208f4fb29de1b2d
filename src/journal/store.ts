/** What the journal has on disk, and each change to it: synchronous, in the worker's thread, always inside of a transaction. */
import { createHash } from 'node:crypto'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { SignalboxError } from '../runtime/errors.ts'
import { type End, Ledger, type Place } from './ledger.ts'
import type { EncodedRecord, Limits, Note, RecordState } from './messages.ts'

/** What a row takes besides its bytes and texts, about. */
const rowBytes = 100
const keyRowBytes = 40
/** Longer keys are kept as their hash. */
const longestKey = 300
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
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #findKey: StatementSync
  readonly #replaceKey: StatementSync
  readonly #addKey: StatementSync
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

  constructor(database: DatabaseSync, limits: Limits) {
    const prepare = (sql: string) => database.prepare(sql)
    const add = (table: RecordState) => prepare(`INSERT INTO ${table} VALUES (?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?)`)
    const remove = (table: RecordState) => prepare(`DELETE FROM ${table} WHERE id = ? RETURNING id, place, size, body`)
    this.database = database
    this.limits = limits
    this.ledger = new Ledger(database)
    this.#begin = prepare('BEGIN IMMEDIATE')
    this.#commit = prepare('COMMIT')
    this.#findKey = prepare('SELECT id, at FROM keys WHERE key = ?')
    this.#replaceKey = prepare('UPDATE keys SET id = ?, at = ? WHERE key = ?')
    this.#addKey = prepare('INSERT INTO keys (id, at, key) VALUES (?, ?, ?)')
    this.#add = { waiting: add('waiting'), dead: add('dead') }
    this.#addBody = prepare('INSERT INTO bodies VALUES (?, ?, ?)')
    this.#useBody = prepare('UPDATE bodies SET uses = uses - 1 WHERE id = ? RETURNING uses, length(data) AS size')
    this.#removeBody = prepare('DELETE FROM bodies WHERE id = ?')
    this.#remove = { waiting: remove('waiting'), dead: remove('dead') }
    this.#find = prepare('SELECT place, size, error FROM waiting WHERE id = ?')
    this.#fail = prepare('UPDATE waiting SET attempts = ?, due = ?, error = ?, size = ? WHERE id = ?')
    this.#count = prepare('UPDATE waiting SET attempts = attempts + 1 WHERE id = ?')
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
      this.ledger.save()
      this.#commit.run()
      this.#stale = false
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
   * Stores the records of one call; answers their ids, negative for those that were known by their key.
   * @throws SignalboxError `journal_full`, before anything is changed.
   */
  accept(records: readonly EncodedRecord[], now: number): number[] {
    const { ledger } = this
    const keys = records.map(keyOf)
    const ids: number[] = []
    const sizes: number[] = []
    const bodies = new Map<Uint8Array, { uses: number; id: number }>()
    let last = ledger.lastId
    let need = 0
    for (const [index, record] of records.entries()) {
      const known = record.mayRepeat ? this.#known(keys, index, { ids, now }) : undefined
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
      if (id <= 0) continue
      const body = record.body ? (bodies.get(record.body)?.id ?? null) : null
      const place = this.#open(record)
      const { lane, peer, scope, event } = record
      this.#add.waiting.run(id, place.id, lane, now, null, sizes[index] ?? 0, body, peer, '', scope, event)
      place.accepted++
      place.waiting++
      const key = keys[index]
      if (key !== undefined) this.#note(key, id, now)
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
        for (const id of note.ids) this.#count.run(id)
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
    const gone = this.#take(state, id)
    if (!gone) return false
    const place = this.ledger.change(gone.place)
    place[state]--
    place[end]++
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

  /** Unmakes what was stored above this id: its senders were told that it was not, because the worker ended. */
  unmake(answered: number): void {
    const rows = this.database.prepare('SELECT id FROM waiting WHERE id > ?').all(answered) as unknown as Gone[]
    for (const { id } of rows) {
      const gone = this.#take('waiting', id)
      const place = gone && this.ledger.change(gone.place)
      if (!place) continue
      place.waiting--
      place.accepted--
    }
    const keys = this.database.prepare('SELECT key FROM keys WHERE id > ?').all(answered) as unknown as {
      key: string
    }[]
    for (const { key } of keys) this.forget(key)
  }

  /** Knows a key no longer. */
  forget(key: string): void {
    this.database.prepare('DELETE FROM keys WHERE key = ?').run(key)
    this.ledger.keyBytes -= keyRowBytes + key.length
  }

  #undo(): void {
    try {
      // Some errors have SQLite roll back by itself.
      if (this.database.isTransaction) this.database.exec('ROLLBACK')
      this.counted()
    } catch {
      // It cannot even be read: the next transaction tries again, and says so.
    }
  }

  #open({ direction, protocol, route }: EncodedRecord): Place {
    return this.ledger.open(direction, protocol, route)
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
    const row = this.#findKey.get(key) as { id: number; at: number } | undefined
    return row && row.at > now - this.limits.dedupeWindow ? row.id : undefined
  }

  #note(key: string, id: number, now: number): void {
    if (this.#replaceKey.run(id, now, key).changes > 0) return
    this.#addKey.run(id, now, key)
    this.ledger.keyBytes += keyRowBytes + key.length
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
    const { lane, peer, scope, event, body } = record
    const place = this.#open(record)
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
    this.#add.dead.run(++ledger.lastId, place.id, lane, now, now, size, bodyId, peer, said, scope, event)
    place.accepted++
    place.dead++
  }

  #found(id: number): Found | undefined {
    return this.#find.get(id) as Found | undefined
  }
}

function sizeOf({ lane, peer, scope, event }: EncodedRecord): number {
  return rowBytes + lane.length + peer.length + scope.byteLength + event.byteLength
}

function bodyBytes(length: number): number {
  return rowBytes + length
}

/** Keys of different protocols are different, and none takes more room than it should. */
function keyOf({ direction, protocol, key }: EncodedRecord): string | undefined {
  if (key === undefined) return undefined
  const short = key.length > longestKey ? createHash('sha256').update(key).digest('base64') : key
  return `${direction} ${protocol} ${short}`
}

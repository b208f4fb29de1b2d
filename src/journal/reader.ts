/** What can be read of the journal: a page of it at a time, so that no commit waits for a reader. */
import type { StatementSync } from 'node:sqlite'
import type { Kept } from './kept.ts'
import type {
  Counts,
  ListedRecord,
  ListFilter,
  LoadedRecord,
  RecordFilter,
  RecordState,
  ShownRecord,
  WaitingRow,
} from './messages.ts'
import { keptOf, selectKept } from './parcels.ts'
import type { JournalStore } from './store.ts'

/** Rows that are looked at before commits have their turn. */
const stepRows = 2000
const defaultLimit = 100
export const states: readonly RecordState[] = ['waiting', 'dead']

interface Row {
  readonly id: number
  readonly place: number
  readonly lane: string
  readonly attempts: number
  readonly due: number
  readonly at: number
  readonly died: number | null
  readonly size: number
  /** Of its body, which other records may share. */
  readonly shared: number | null
  readonly peer: string
  readonly error: string
}

interface ContentRow {
  readonly id: number
  readonly scope: Uint8Array
  readonly event: Uint8Array
  readonly body: Uint8Array | null
}

const light = (table: RecordState) => `id, place, lane, attempts, due, at, died, size, peer, error,
  (SELECT length(data) FROM bodies WHERE bodies.id = ${table}.body) AS shared`

/** What is read. */
export type Readable = Pick<JournalStore, 'database' | 'ledger' | 'parcels' | 'counted'>

export class Reader {
  readonly #store: Readable
  readonly #waiting: StatementSync
  readonly #pages: Readonly<Record<RecordState, StatementSync>>
  readonly #rows: Readonly<Record<RecordState, StatementSync>>
  readonly #contents: Readonly<Record<RecordState, StatementSync>>
  readonly #parcelsUp: StatementSync
  readonly #parcelsDown: StatementSync

  constructor(store: Readable) {
    const each = (sql: (table: RecordState) => string) => ({
      waiting: store.database.prepare(sql('waiting')),
      dead: store.database.prepare(sql('dead')),
    })
    this.#store = store
    this.#waiting = store.database.prepare(`SELECT ${light('waiting')} FROM waiting WHERE id > ? ORDER BY id LIMIT ?`)
    this.#pages = each(
      (table) => `SELECT ${light(table)} FROM ${table} WHERE id < ? ORDER BY id DESC LIMIT ${stepRows}`,
    )
    this.#rows = each((table) => `SELECT ${light(table)} FROM ${table} WHERE id = ?`)
    this.#contents = each(
      (table) => `SELECT ${table}.id, scope, event, data AS body
        FROM ${table} LEFT JOIN bodies ON bodies.id = ${table}.body WHERE ${table}.id = ?`,
    )
    this.#parcelsUp = store.database.prepare(
      `${selectKept} WHERE first >= coalesce((SELECT max(first) FROM parcels WHERE first <= ?), 0) ORDER BY first`,
    )
    this.#parcelsDown = store.database.prepare(`${selectKept} WHERE first < ? ORDER BY first DESC`)
  }

  waiting(after: number, limit: number): WaitingRow[] {
    const rows = this.#waiting.all(after, limit) as unknown as Row[]
    const together = this.#upFrom(after + 1, limit)
    return inOrder(rows, together, (a, b) => a.id - b.id)
      .slice(0, limit)
      .map((row) => this.#light(row))
  }

  /** Those of them that wait. */
  waitingOf(ids: readonly number[]): WaitingRow[] {
    return ids.flatMap((id) => this.row('waiting', id) ?? [])
  }

  load(ids: readonly number[]): LoadedRecord[] {
    return ids.flatMap((id) => this.#content('waiting', id) ?? this.#content('dead', id) ?? this.#together(id) ?? [])
  }

  row(state: RecordState, id: number): WaitingRow | undefined {
    const row = this.#row(state, id)
    return row && this.#light(row)
  }

  show(id: number): ShownRecord | undefined {
    for (const state of states) {
      const row = this.#row(state, id)
      const content = row && (this.#content(state, id) ?? this.#together(id))
      if (content) return { ...this.#listed(state, row), ...content }
    }
    return undefined
  }

  counts(): Counts {
    const ledger = this.#store.counted()
    return { ...ledger.total(), bytes: ledger.bytes, byProtocolAndRoute: ledger.busiest() }
  }

  /** The newest first, after each step what was found. Both tables are in the order of ids, and so is what comes of them. */
  *list(filter: ListFilter): Generator<undefined, ListedRecord[]> {
    const limit = filter.limit ?? defaultLimit
    const found: ListedRecord[] = []
    for (const state of states) {
      let taken = 0
      for (const rows of this.matching(state, filter)) {
        const wanted = rows.slice(0, limit - taken)
        taken += wanted.length
        found.push(...wanted.map((row) => this.#listed(state, row)))
        if (taken >= limit) break
        yield undefined
      }
    }
    return found.toSorted((a, b) => b.id - a.id).slice(0, limit)
  }

  /** The rows of a table that a filter takes, the newest first, some of them a step. */
  *matching(state: RecordState, filter: ListFilter): Generator<Row[]> {
    if (filter.state !== undefined && filter.state !== state) return
    const places = this.#places(state, filter)
    if (places.size === 0) return
    let before = filter.before ?? Number.MAX_SAFE_INTEGER
    for (;;) {
      const rows = this.#page(state, before)
      const last = rows.at(-1)
      if (!last) return
      before = last.id
      yield rows.filter(({ place, at }) => places.has(place) && isWithin(at, filter))
    }
  }

  /** The places that the filter takes, of those that have a record in this state. */
  #places(state: RecordState, { direction, protocol, route }: RecordFilter): ReadonlySet<number> {
    const places = new Set<number>()
    for (const place of this.#store.counted().places()) {
      if (place[state] === 0) continue
      if (direction !== undefined && place.direction !== direction) continue
      if (protocol !== undefined && place.protocol !== protocol) continue
      if (route === undefined || place.route === route) places.add(place.id)
    }
    return places
  }

  /** The next rows below an id, the newest first. */
  #page(state: RecordState, before: number): readonly Row[] {
    const rows = this.#pages[state].all(before) as unknown as Row[]
    if (state === 'dead') return rows
    return inOrder(rows, this.#downFrom(before, stepRows), (a, b) => b.id - a.id).slice(0, stepRows)
  }

  #upFrom(id: number, limit: number): Row[] {
    const rows: Row[] = []
    for (const found of this.#parcelsUp.iterate(id)) {
      const kept = keptOf(found)
      for (let next = Math.max(id, kept.first); next <= kept.last && rows.length < limit; next++) {
        if (kept.has(next)) rows.push(rowOf(kept, next))
      }
      if (rows.length === limit) break
    }
    return rows
  }

  #downFrom(before: number, limit: number): Row[] {
    const rows: Row[] = []
    for (const found of this.#parcelsDown.iterate(before)) {
      const kept = keptOf(found)
      for (let next = Math.min(before - 1, kept.last); next >= kept.first && rows.length < limit; next--) {
        if (kept.has(next)) rows.push(rowOf(kept, next))
      }
      if (rows.length === limit) break
    }
    return rows
  }

  #row(state: RecordState, id: number): Row | undefined {
    const row = this.#rows[state].get(id) as Row | undefined
    if (row || state === 'dead') return row
    const kept = this.#store.parcels.find(id)
    return kept?.has(id) ? rowOf(kept, id) : undefined
  }

  /** What a record of a parcel says. */
  #together(id: number): LoadedRecord | undefined {
    const { parcels } = this.#store
    const kept = parcels.find(id)
    return kept?.has(id) ? { id, ...parcels.content(kept, id), body: parcels.body(kept, id) } : undefined
  }

  #light({ id, place, lane, attempts, due, size, shared }: Row): WaitingRow {
    const { direction, protocol, route } = this.#store.ledger.place(place)
    return { id, direction, protocol, route, lane, attempts, due, bytes: size + (shared ?? 0) }
  }

  #listed(state: RecordState, row: Row): ListedRecord {
    const { at, died, size, peer, error } = row
    return { ...this.#light(row), state, at, died: died ?? undefined, error, peer, size }
  }

  #content(state: RecordState, id: number): LoadedRecord | undefined {
    const row = this.#contents[state].get(id) as ContentRow | undefined
    if (!row) return undefined
    const { scope, event, body } = row
    return { id, scope, event, body: body ?? undefined }
  }
}

/** Of a record that is in a parcel: nobody has tried it, or it would have a row of its own. */
function rowOf(kept: Kept, id: number): Row {
  const { place, lane, peer, body } = kept.head(id)
  const size = kept.size(id)
  const shared = body?.size ?? null
  return { id, place, lane, attempts: 0, due: 0, at: kept.at, died: null, size, shared, peer, error: '' }
}

function inOrder(some: readonly Row[], others: readonly Row[], order: (a: Row, b: Row) => number): readonly Row[] {
  if (some.length === 0) return others
  return others.length === 0 ? some : [...some, ...others].toSorted(order)
}

function isWithin(at: number, { olderThan, newerThan }: RecordFilter): boolean {
  return (olderThan === undefined || at < olderThan) && (newerThan === undefined || at >= newerThan)
}

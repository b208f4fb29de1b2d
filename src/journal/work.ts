/** Work that would hold up the commits if it were done at once: each step is a short transaction, and commits come in between. */
import type { RecordState, Selection, WaitingRow } from './messages.ts'
import { type Reader, states } from './reader.ts'
import type { JournalStore } from './store.ts'

/** Rows that one transaction changes. */
const stepRows = 500
/** Milliseconds for which a parcel of which something is gone keeps the room of all of it. */
const parcelAge = 60_000
/** Pages that are free and stay so: what was used once is used again. */
const sparePages = 4096
/** Pages that one step gives back. */
const stepPages = 500

/** What the main thread is told of a step. */
export interface Progress {
  readonly retried?: readonly WaitingRow[]
  readonly discarded?: readonly number[]
}

/** Work in steps; it returns what the person is answered. */
export type Steps = Generator<Progress | undefined, unknown>

/** Makes dead letters wait again. */
export function* retry(store: JournalStore, reader: Reader, selection: Selection): Steps {
  const ids: number[] = []
  for (const { rows } of selected(store, reader, { selection, among: ['dead'] })) {
    const retried = change(store, rows, (id) => (store.revive(id) ? reader.row('waiting', id) : undefined))
    ids.push(...retried.map(({ id }) => id))
    yield { retried }
  }
  return ids
}

/** Takes records out. */
export function* discard(store: JournalStore, reader: Reader, selection: Selection): Steps {
  const ids: number[] = []
  for (const { state, rows } of selected(store, reader, { selection, among: states })) {
    const discarded = change(store, rows, (id) => (store.remove(state, id, 'discarded') ? id : undefined))
    ids.push(...discarded)
    yield { discarded }
  }
  return ids
}

/** Does it with all of them in one transaction; gives what it gave, where it was anything. */
function change<T>(store: JournalStore, rows: readonly number[], work: (id: number) => T | undefined): T[] {
  if (rows.length === 0) return []
  return store.write(() => rows.map(work).filter((result) => result !== undefined))
}

interface Choice {
  readonly selection: Selection
  readonly among: readonly RecordState[]
}

interface Chosen {
  readonly state: RecordState
  readonly rows: readonly number[]
}

/** What is chosen of what is there now, at most so many a step; perhaps none of a step. */
function* selected(store: JournalStore, reader: Reader, { selection, among }: Choice): Generator<Chosen> {
  const before = store.counted().lastId + 1
  for (const state of among) {
    const pages = isIds(selection) ? inPages(selection) : reader.matching(state, { ...selection, before })
    for (const page of pages) {
      const ids = page.map((row) => (typeof row === 'number' ? row : row.id))
      for (const rows of inPages(ids)) yield { state, rows }
    }
  }
}

function* inPages(ids: readonly number[]): Generator<readonly number[]> {
  for (let start = 0; start === 0 || start < ids.length; start += stepRows) yield ids.slice(start, start + stepRows)
}

function isIds(selection: Selection): selection is readonly number[] {
  return Array.isArray(selection)
}

/** Lets go of what is too old: dead letters, keys, and the room of records that came together with others. */
export function* sweep(store: JournalStore): Steps {
  yield* divide(store)
  yield* expire(store)
  yield* forgetKeys(store)
  yield* shrink(store)
  return undefined
}

/** What is left of old parcels that are half gone gets rows of its own: else one that waits for days would keep the room of all. */
function* divide(store: JournalStore): Steps {
  const { database, parcels } = store
  const next = database.prepare(
    'SELECT first FROM gone JOIN parcels ON first = parcel WHERE first > ? AND at <= ? ORDER BY first',
  )
  const old = Date.now() - parcelAge
  for (let last = 0; ;) {
    const row = next.get(last, old) as { first: number } | undefined
    if (!row) return undefined
    last = row.first
    const kept = parcels.find(last)
    if (!kept || kept.left > kept.count / 2) continue
    for (const ids of inPages(kept.ids())) {
      store.write(() => {
        for (const id of ids) store.apart(id)
      })
      yield undefined
    }
  }
}

function* expire(store: JournalStore): Steps {
  const { database, limits } = store
  const oldest = database.prepare(`SELECT id FROM dead WHERE died < ? ORDER BY died LIMIT ${stepRows}`)
  for (;;) {
    const rows = oldest.all(Date.now() - limits.deadLetterAge) as unknown as { id: number }[]
    if (rows.length === 0) return undefined
    store.write(() => {
      for (const { id } of rows) store.remove('dead', id, 'expired')
    })
    yield undefined
  }
}

function* forgetKeys(store: JournalStore): Steps {
  store.keys.forget(Date.now())
  while (store.keys.hasForgotten) {
    store.write(() => store.keys.clear())
    yield undefined
  }
  return undefined
}

/** Gives the disk back what is free, when that is most of the file. A file that was begun by the version before keeps it. */
function* shrink({ database }: JournalStore): Steps {
  const number = (pragma: string) => Number(database.prepare(`PRAGMA ${pragma}`).get()?.[pragma])
  for (let free = number('freelist_count'); free > sparePages && free > number('page_count') / 2;) {
    database.exec(`PRAGMA incremental_vacuum(${stepPages})`)
    const left = number('freelist_count')
    if (left === free) return undefined
    free = left
    yield undefined
  }
  return undefined
}

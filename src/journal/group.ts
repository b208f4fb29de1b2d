/** Group commit: what several turns of the main thread brought, in one transaction, and the answer to all of it. */
import { hasCode, reason } from '../runtime/errors.ts'
import { failureOf } from './failure.ts'
import { namesIn } from './keys.ts'
import type { Answer, Batch, CallOutcomes, EncodedRecord, Failure, Note, Outcome, Parcel } from './messages.ts'
import { unpack } from './parcel.ts'
import { resultCode } from './sqlite.ts'
import type { JournalStore } from './store.ts'

type Notes = NonNullable<Batch['notes']>
type Dropped = NonNullable<Answer['dropped']>[number]
type CallOutcome = readonly number[] | Failure

/** SQLITE_FULL: what takes room away may still be written. */
const diskFull = 13
/** PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB: it is the file, whatever was to be written. */
const fileTrouble = new Set([3, 5, 6, 7, 8, 10, 11, diskFull, 14, 26])

/** Writes it all, and says how that went. Undefined when there was nothing to write. */
export function commitGroup(store: JournalStore, batches: readonly Batch[]): Committed | undefined {
  const parcels = batches.flatMap(({ parcel }) => parcel ?? [])
  const notes = batches.flatMap((batch) => batch.notes ?? [])
  if (parcels.length === 0 && notes.length === 0 && !batches.some(({ probe }) => probe)) return undefined
  const { siblings } = store
  const names = siblings && namesIn(parcels)
  if (!siblings || !names?.size) return commit(store, parcels, notes)
  try {
    return commit(store, parcels, notes, () => siblings.claim(names))
  } finally {
    siblings.release()
  }
}

function commit(
  store: JournalStore,
  parcels: readonly Parcel[],
  notes: readonly Notes[],
  prepare?: () => void,
): Committed {
  try {
    prepare?.()
    return store.write(() => answer(keepAll(store, parcels), noteAll(store, notes)))
  } catch (error) {
    if (!isFileTrouble(error)) return apart(store, parcels, notes)
    const failure = failureOf(error)
    const refused = parcels.map(({ calls }) => outcomesOf(calls.map(() => failure)))
    if (resultCode(error) !== diskFull || parcels.length === 0)
      return answer(refused, notedNothing(notes, failure), failure)
    return answer(refused, notesAlone(store, notes), failure)
  }
}

function isFileTrouble(error: unknown): boolean {
  return fileTrouble.has(resultCode(error) ?? 0)
}

/** What a commit adds to the answer. */
export type Committed = Pick<Answer, 'outcomes' | 'notes' | 'dropped' | 'faults' | 'written'>

interface Noted {
  readonly notes?: Answer['notes']
  readonly dropped?: readonly Dropped[]
  readonly faults?: readonly string[]
}

function keepAll(store: JournalStore, parcels: readonly Parcel[]): Outcome[] {
  const now = Date.now()
  return parcels.map((parcel) => store.keep(parcel, now) ?? outcomesOf(acceptAll(store, unpack(parcel))))
}

function acceptAll(store: JournalStore, calls: readonly EncodedRecord[][]): CallOutcome[] {
  const now = Date.now()
  return calls.map((records) => {
    try {
      return store.accept(records, now)
    } catch (error) {
      // Refused before anything was changed; the others of the group go on.
      if (hasCode(error, 'journal_full') || hasCode(error, 'journal_failed')) return failureOf(error)
      throw error
    }
  })
}

function noteAll(store: JournalStore, all: readonly Notes[]): Noted {
  const dropped: Dropped[] = []
  for (const { number, list } of all) {
    // Written by a worker that ended before it could say so.
    if (number <= store.ledger.notes) continue
    for (const note of list) noteOne(store, note, dropped)
    store.ledger.notes = number
  }
  const number = all.at(-1)?.number
  return number === undefined ? {} : { dropped, notes: { number } }
}

function noteOne(store: JournalStore, note: Note, dropped: Dropped[]): void {
  try {
    store.note(note, Date.now())
  } catch (error) {
    if (note.kind !== 'letter' || !hasCode(error, 'journal_full')) throw error
    const { route, peer } = note.record
    dropped.push({ route, peer, error: note.error })
  }
}

/** One of them cannot be stored, wherever it were: the others are not to suffer for it. */
function apart(store: JournalStore, parcels: readonly Parcel[], notes: readonly Notes[]): Committed {
  const one = (call: EncodedRecord[]): CallOutcome[] => {
    try {
      return store.write(() => acceptAll(store, [call]))
    } catch (error) {
      return [failureOf(error)]
    }
  }
  const outcomes = parcels.map((parcel) => outcomesOf(unpack(parcel).flatMap(one)))
  return answer(outcomes, notesAlone(store, notes))
}

function notesAlone(store: JournalStore, notes: readonly Notes[]): Noted {
  try {
    return notes.length === 0 ? {} : store.write(() => noteAll(store, notes))
  } catch (error) {
    return isFileTrouble(error) ? notedNothing(notes, failureOf(error)) : eachNote(store, notes)
  }
}

/** What can be written of them; the rest would stand in the way of all later ones. */
function eachNote(store: JournalStore, notes: readonly Notes[]): Noted {
  const faults: string[] = []
  const dropped: Dropped[] = []
  try {
    for (const { number, list } of notes) {
      if (number <= store.counted().notes) continue
      for (const note of list) {
        try {
          store.write(() => noteOne(store, note, dropped))
        } catch (error) {
          if (isFileTrouble(error)) throw error
          faults.push(`${note.kind}: ${reason(error)}`)
        }
      }
      store.write(() => (store.ledger.notes = number))
    }
  } catch (error) {
    return { ...notedNothing(notes, failureOf(error)), dropped, faults }
  }
  return { dropped, faults, notes: { number: notes.at(-1)?.number ?? 0 } }
}

function notedNothing(notes: readonly Notes[], failure: Failure): Noted {
  const number = notes.at(-1)?.number
  return number === undefined ? {} : { notes: { number, failure } }
}

function answer(
  outcomes: readonly Outcome[],
  { notes, dropped = [], faults = [] }: Noted,
  failure?: Failure,
): Committed {
  return {
    outcomes,
    ...(notes && { notes }),
    ...(dropped.length > 0 && { dropped }),
    ...(faults.length > 0 && { faults }),
    written: { failure: failure ?? notes?.failure },
  }
}

function outcomesOf(calls: readonly CallOutcome[]): CallOutcomes {
  const results: number[] = []
  const failures: Failure[] = []
  for (const outcome of calls) {
    if ('code' in outcome) {
      results.push(0)
      failures.push(outcome)
    } else {
      for (const id of outcome) results.push(id)
    }
  }
  return { results, failures }
}

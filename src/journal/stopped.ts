/** The journal of a data folder that no gateway answers for, as a command has it. */
import type { Counts, Limits, ListedRecord, ListFilter, Selection, ShownRecord } from './messages.ts'
import { errorOf, failureOf } from './failure.ts'
import { fileIn, openExisting, openSound, sizeOf } from './file.ts'
import { FolderLock } from './lock.ts'
import { alone, lookAt } from './look.ts'
import { Reader } from './reader.ts'
import { JournalStore } from './store.ts'
import { discard, retry, type Steps } from './work.ts'

const nothing: Counts = {
  accepted: 0,
  handled: 0,
  waiting: 0,
  dead: 0,
  discarded: 0,
  expired: 0,
  dropped: 0,
  bytes: 0,
  byProtocolAndRoute: [],
}

/**
 * Whoever looks leaves no trace, and whoever changes something holds the folder for as long as that takes. Nothing is begun, set
 * aside or taken out because it is old: that is for the gateway. Each call throws SignalboxError `journal_failed` when the journal is
 * damaged or cannot be read.
 */
export class StoppedJournal {
  readonly #folder: string
  readonly #limits: Limits

  /** `limits`: those of the gateway. */
  constructor(folder: string, limits: Limits) {
    this.#folder = folder
    this.#limits = limits
  }

  /** A page of what waits or is dead, the newest first. */
  async list(filter: ListFilter): Promise<readonly ListedRecord[]> {
    return (await this.#look((reader) => ended(reader.list(filter)))) ?? []
  }

  show(id: number): Promise<ShownRecord | undefined> {
    return this.#look((reader) => reader.show(id))
  }

  async counts(): Promise<Counts> {
    return (await this.#look((reader) => reader.counts())) ?? nothing
  }

  /**
   * Lets dead letters be tried again at the next start, from their first attempt on; answers which.
   * @throws SignalboxError `journal_locked` when another process has it.
   */
  retry(selection: Selection): Promise<readonly number[]> {
    return this.#change((store, reader) => retry(store, reader, selection))
  }

  /**
   * Takes records out for good; answers which.
   * @throws SignalboxError `journal_locked` when another process has it.
   */
  discard(selection: Selection): Promise<readonly number[]> {
    return this.#change((store, reader) => discard(store, reader, selection))
  }

  async #look<T>(look: (reader: Reader) => T): Promise<T | undefined> {
    try {
      return await lookAt(this.#folder, look)
    } catch (error) {
      throw errorOf(failureOf(error))
    }
  }

  async #change(work: (store: JournalStore, reader: Reader) => Steps): Promise<readonly number[]> {
    const file = fileIn(this.#folder)
    if (sizeOf(file) === undefined && sizeOf(`${file}-wal`) === undefined) return []
    using _lock = FolderLock.take(this.#folder)
    try {
      // Closing one that may write would have SQLite write its log into a file that is damaged.
      const found = openExisting(this.#folder, alone)
      if (!found) return []
      found.close()
      using database = openSound(this.#folder)
      const store = new JournalStore(database, this.#limits)
      return ended(work(store, new Reader(store))) as readonly number[] // what both of them answer
    } catch (error) {
      throw errorOf(failureOf(error))
    }
  }
}

/** Nobody waits in between: all steps at once. */
function ended<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

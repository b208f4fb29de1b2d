/** The journal as the main thread has it: what it accepts is on disk when it says so, and no call blocks the event loop. */
import path from 'node:path'
import type { Log } from '../asgi/context.ts'
import type { Accepted } from '../asgi/delivery.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { errorOf } from './failure.ts'
import { Gathering, enoughCalls } from './gathering.ts'
import { FolderLock } from './lock.ts'
import type {
  Answer,
  Ask,
  Batch,
  Counts,
  EncodedRecord,
  FailedAttempt,
  JournalWatcher,
  LastAttempt,
  ListedRecord,
  ListFilter,
  LoadedRecord,
  Ready,
  Selection,
  ShownRecord,
  SiblingPlace,
  WaitingRow,
} from './messages.ts'
import { deadNote, failedNote, Notes } from './notes.ts'
import type { JournalOptions } from './options.ts'
import { acceptedOf, type Caller, hasStored, Outbox } from './outbox.ts'
import { inTime, Thread } from './thread.ts'

export interface JournalSettings extends Pick<JournalOptions, 'maxSize' | 'deadLetterAge' | 'dedupeWindow'> {
  /** The data folder; made when it does not exist. */
  readonly folder: string
  /** Which of several processes this is; left out: there are no others, and what they knew is not asked for. */
  readonly sibling?: SiblingPlace | undefined
}

/** Milliseconds before what could not be written, or a worker that ended, is tried again; doubled each time. */
const firstPause = 100
const longestPause = 5000
/** Of `maxSize`: with less in it the journal is not full, whatever was refused before. */
const roomy = 0.9

export class Journal implements AsyncDisposable {
  /** The last part of its folder's path: what it is called beside others of one gateway. */
  readonly name: string
  readonly #settings: JournalSettings
  readonly #log: Log
  readonly #lock: FolderLock
  readonly #outbox: Outbox
  readonly #notes = new Notes()
  readonly #gathering: Gathering
  readonly #opened = Promise.withResolvers<void>()
  #watcher: JournalWatcher | undefined
  #buried = 0
  #thread: Thread | undefined
  #state: 'opening' | 'ready' | 'down' | 'closing' | 'closed' = 'opening'
  #underway = 0
  /** What is above this id was never answered. */
  #lastId: number | undefined
  /** Why it cannot be written or reached. */
  #problem: SignalboxError | undefined
  /** Why there is no room. */
  #full: SignalboxError | undefined
  /** Whether the notes under way were refused, and are to be sent again. */
  #refused = false
  #pause = firstPause
  #repairing: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined
  #dismissed = false // the thread, which may end now

  private constructor(settings: JournalSettings, log: Log, lock: FolderLock) {
    this.name = path.basename(settings.folder)
    this.#settings = settings
    this.#log = log
    this.#lock = lock
    this.#gathering = new Gathering(enoughCalls(settings.sibling !== undefined), () => this.#send())
    this.#outbox = new Outbox((error) => log.error({ err: error }, 'who was told by the journal failed'))
  }

  /**
   * Opens the journal of a data folder. A damaged file is set aside and named in the log, and a new one begun.
   * @throws SignalboxError `journal_locked` when another process has it, `journal_failed` when it cannot be opened.
   */
  static async open(settings: JournalSettings, log: Log): Promise<Journal> {
    const lock = FolderLock.take(settings.folder)
    const journal = new Journal(settings, log, lock)
    journal.#start()
    try {
      await journal.#opened.promise
      return journal
    } catch (error) {
      await journal.close()
      throw error
    }
  }

  /** Why the last thing that was to be stored could not be; undefined when it could. Tried again by itself. */
  get healthy(): SignalboxError | undefined {
    return this.#problem ?? this.#full
  }

  /** How many records have become dead letters since it was opened. */
  get buried(): number {
    return this.#buried
  }

  /** One is told, the last one that asked. */
  watch(watcher: JournalWatcher): void {
    this.#watcher = watcher
  }

  /**
   * Stores all of them or none; resolves when they are on disk. Those whose key is known are answered so, and not stored.
   * @throws SignalboxError `journal_full`, `journal_failed`: nothing of this call is stored.
   */
  accept(records: readonly EncodedRecord[]): Promise<readonly Accepted[]> {
    const { length: count } = records
    return new Promise((resolve, reject) => {
      const stored = (ids: readonly number[], at: number) => resolve(ids.slice(at, at + count).map(acceptedOf))
      this.store(records, { count, stored, refused: reject })
    })
  }

  /** The same, for a caller who is told when this has returned: of those of one answer each in its turn. */
  store(records: readonly EncodedRecord[], caller: Caller): void {
    if (records.length === 0) return queueMicrotask(() => caller.stored([], 0))
    try {
      if (this.#state !== 'ready') throw this.#unreachable()
      this.#outbox.store(records, caller)
      this.#gathering.soon(this.#underway === 0, this.#outbox.calls)
    } catch (error) {
      queueMicrotask(() => caller.refused(error as SignalboxError)) // nothing else is thrown here
    }
  }

  /** Notes that a record was handled. Notes are written soon, and tried again until they are on disk. */
  handled(id: number): void {
    this.#notes.handled(id)
    this.#gathering.later()
  }

  /** Notes that an attempt failed, and that the record waits for its next one. */
  failed(id: number, attempt: FailedAttempt): void {
    this.#notes.add(failedNote(id, attempt))
    this.#gathering.later()
  }

  /** Notes that a record is a dead letter now. */
  dead(id: number, attempt: LastAttempt): void {
    this.#buried++
    this.#notes.add(deadNote(id, attempt))
    this.#gathering.later()
  }

  /**
   * Counts one more attempt of each. Resolves when that is on disk: only then may they be tried, or a record that ends the
   * process each time would be tried for ever.
   * @throws SignalboxError `journal_failed` when the journal was closed before.
   */
  begun(ids: readonly number[]): Promise<void> {
    this.#notes.add({ kind: 'begun', ids: [...ids], by: 1 })
    return this.flush()
  }

  /** Notes that these attempts, which were counted, do not count: the gateway has cut them off. */
  spared(ids: readonly number[]): void {
    this.#notes.add({ kind: 'begun', ids: [...ids], by: -1 })
    this.#gathering.later()
  }

  /** Keeps a record that is dead from the start. What finds no room, on disk or until it can be written, is logged, and counted as dropped. */
  deadLetter(record: EncodedRecord, error: string): void {
    this.#buried++
    if (this.#notes.addLetter(record, error)) return this.#gathering.later()
    const { route, peer } = record
    this.#log.error({ route, peer, error }, 'a dead letter is lost: too many wait until the journal can be written')
  }

  /**
   * Resolves when every note so far is on disk.
   * @throws SignalboxError `journal_failed` when the journal was closed before.
   */
  flush(): Promise<void> {
    if (this.#state === 'closed') return Promise.reject(this.#unreachable())
    this.#gathering.soon(this.#underway === 0)
    return this.#notes.settled()
  }

  /** Up to `limit` waiting records with an id above `after`, by id. */
  waiting(after: number, limit: number): Promise<readonly WaitingRow[]> {
    return this.#ask({ kind: 'waiting', after, limit })
  }

  /** Those of them that wait, in this order. */
  rows(ids: readonly number[]): Promise<readonly WaitingRow[]> {
    return this.#ask({ kind: 'rows', ids })
  }

  /** The content of those of them that there are, in this order. */
  load(ids: readonly number[]): Promise<readonly LoadedRecord[]> {
    return this.#ask({ kind: 'load', ids })
  }

  /** A page of what waits or is dead, the newest first. */
  list(filter: ListFilter = {}): Promise<readonly ListedRecord[]> {
    return this.#ask({ kind: 'list', filter })
  }

  show(id: number): Promise<ShownRecord | undefined> {
    return this.#ask({ kind: 'show', id })
  }

  /** Lets dead letters be tried again, from their first attempt on; answers which. */
  retry(selection: Selection): Promise<readonly number[]> {
    return this.#ask({ kind: 'retry', selection })
  }

  /** Takes records out for good; answers which. */
  discard(selection: Selection): Promise<readonly number[]> {
    return this.#ask({ kind: 'discard', selection })
  }

  /** As of the last commit. */
  async counts(): Promise<Counts> {
    const counts = await this.#ask<Counts>({ kind: 'counts' })
    return { ...counts, dropped: counts.dropped + this.#notes.lost }
  }

  /** Writes what is noted, and ends. What could not be written is tried again at the next start. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #ask<T>(ask: Ask): Promise<T> {
    if (this.#state !== 'ready') return Promise.reject(this.#unreachable())
    this.#gathering.soon(this.#underway === 0)
    // Each kind of question has its kind of answer: see Ask and worker.ts.
    return this.#outbox.ask(ask) as Promise<T>
  }

  #unreachable(): SignalboxError {
    const closed = this.#state === 'closing' || this.#state === 'closed'
    if (!closed && this.#problem) return this.#problem
    return new SignalboxError('journal_failed', `the journal is ${closed ? 'closed' : 'not open'}`)
  }

  #start(): void {
    const { folder, sibling, maxSize, deadLetterAge, dedupeWindow } = this.#settings
    const start = { folder, sibling, limits: { maxSize, deadLetterAge, dedupeWindow }, answered: this.#lastId }
    this.#thread = new Thread(start, {
      onReady: (ready) => this.#onReady(ready),
      onAnswer: (answer) => this.#onAnswer(answer),
      onEnd: (error) => this.#onEnd(error),
    })
  }

  #onReady({ damaged, notes, lastId, kept }: Ready): void {
    if (damaged) this.#log.error(damaged, 'the journal was damaged: its file is set aside, and a new one begun')
    this.#lastId = lastId
    this.#notes.begin(notes)
    if (this.#state === 'down') this.#log.info({}, 'the journal is open again')
    if (this.#state !== 'closing') this.#state = 'ready'
    this.#problem = undefined
    this.#pause = firstPause
    this.#opened.resolve()
    this.#refused = false
    this.#post(this.#notes.again())
    this.#gathering.now()
    if (kept) this.#watcher?.retried(kept)
  }

  #onAnswer(answer: Answer): void {
    const { notes, written, retried, discarded } = answer
    this.#underway -= answer.batches
    this.#lastId = answer.lastId
    if (notes?.failure) this.#refused = true
    else if (notes) this.#notes.written()
    if (written?.failure) this.#onFailure(errorOf(written.failure))
    else if (written) this.#onSuccess()
    this.#heed(answer)
    this.#outbox.settle(answer)
    if (retried) this.#watcher?.retried(retried)
    if (discarded) this.#watcher?.discarded(discarded)
    if (this.#state === 'closing') return this.#gathering.now()
    this.#gathering.workerIsIdle(this.#outbox.calls)
    if (!this.#notes.isEmpty) this.#gathering.later()
  }

  #onFailure(error: SignalboxError): void {
    if (!this.#problem) this.#log.error({ err: error }, 'the journal cannot be written')
    this.#problem = error
    this.#repair(() => this.#post({ ...this.#notes.again(), probe: true }))
  }

  #onSuccess(): void {
    if (this.#problem) this.#log.info({}, 'the journal can be written again')
    this.#problem = undefined
    this.#pause = firstPause
    if (!this.#refused) return
    this.#refused = false
    this.#post(this.#notes.again())
  }

  /** What there was no room for. */
  #heed({ outcomes, dropped = [], faults = [], bytes }: Answer): void {
    const failures = outcomes.flatMap((outcome) => (typeof outcome === 'number' ? [] : outcome.failures))
    const full = failures.findLast(({ code }) => code === 'journal_full')
    if (full) {
      if (!this.#full) this.#log.error({ bytes }, 'the journal is full')
      this.#full = errorOf(full)
    } else if (this.#full && (outcomes.some(hasStored) || bytes < this.#settings.maxSize * roomy)) {
      this.#full = undefined
      this.#log.info({ bytes }, 'the journal has room again')
    }
    for (const letter of dropped) this.#log.error(letter, 'a dead letter is lost: the journal is full')
    for (const reason of faults) this.#log.error({ reason }, 'a note cannot be written')
  }

  #onEnd(error: SignalboxError): void {
    this.#underway = 0
    this.#outbox.fail(error)
    if (this.#dismissed) return
    const opening = this.#state === 'opening'
    this.#state = 'down'
    this.#problem = error
    this.#opened.reject(error)
    if (opening) return
    this.#log.error({ err: error }, "the journal's worker thread ended: another one is started")
    this.#repair(() => this.#start())
  }

  /** Tries again after a pause, one thing at a time. */
  #repair(work: () => void): void {
    if (this.#repairing && this.#state !== 'down') return
    clearTimeout(this.#repairing)
    this.#repairing = setTimeout(() => {
      this.#repairing = undefined
      work()
    }, this.#pause)
    this.#pause = Math.min(this.#pause * 2, longestPause)
  }

  #send(): boolean {
    if (this.#underway > 0) return false
    this.#post({ ...this.#outbox.take(), ...this.#notes.take() })
    return true
  }

  #post(batch: Batch): void {
    const { parcel, notes, asks, probe } = batch
    if (!this.#thread || this.#state === 'down' || !(parcel || notes || asks || probe)) return
    this.#underway++
    try {
      this.#thread.post(batch)
    } catch (error) {
      // Something that cannot go to another thread, whatever the types say. A new worker begins without it.
      this.#log.error({ err: error }, 'the journal was told something that cannot be stored')
      if (notes) this.#notes.written()
      void this.#thread.end()
    }
  }

  async #close(): Promise<void> {
    const isOpen = this.#state === 'ready' || this.#state === 'down'
    if (isOpen) {
      this.#state = this.#state === 'down' ? 'down' : 'closing'
      // Now, so that it comes before the end: what was asked before is answered.
      this.#post({ ...this.#outbox.take(), ...this.#notes.take() })
      if (!(await inTime(this.#notes.settled()))) {
        this.#log.error({}, 'the journal was closed before it could be written: what was not noted is handled again')
      }
    }
    this.#state = 'closing'
    this.#dismissed = true
    clearTimeout(this.#repairing)
    this.#gathering.stop()
    if (this.#thread && isOpen) await this.#thread.close()
    this.#state = 'closed'
    const error = this.#unreachable()
    this.#outbox.fail(error)
    this.#notes.abandon(error)
    this.#lock[Symbol.dispose]()
  }
}

/** The other processes of a data folder: what came to one of them is known to all, and none stores it while another does. */
import fs from 'node:fs'
import path from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { SignalboxError } from '../runtime/errors.ts'
import { elsewhere } from './elsewhere.ts'
import { journalFolder } from './folders.ts'
import { KeyLog } from './key-log.ts'
import { KeyEntries } from './key-segment.ts'
import type { Limits, SiblingPlace } from './messages.ts'
import { busyTimeout, resultCode } from './sqlite.ts'

/** Milliseconds that a key is waited for which another process is storing. */
const patience = 200
const pause = 2
const nothing = new Int32Array(new SharedArrayBuffer(4))
/** CORRUPT, NOTADB */
const damaged = [11, 26]
/** ERROR, CORRUPT, CANTOPEN, NOTADB: there is no such journal, or none that can be read, until its process begins another. */
const unreadable = [1, 11, 14, 26]

interface Sibling {
  /** How often its journal was begun. */
  readonly begun: number
  readonly database: DatabaseSync | undefined
  /** What it knows, as far as it was read. */
  readonly log: KeyLog | undefined
}

/**
 * A key is claimed in `claims.sqlite` of the data folder before it is stored, and let go when its commit is over: of two processes
 * that have the same event one comes second, and finds it in the journal of the first. What is known is in the journals alone, so
 * that nothing is lost with the claims, and no claim costs an fsync.
 */
export class Siblings {
  readonly #place: SiblingPlace
  readonly #limits: Limits
  readonly #claims: DatabaseSync
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #rollback: StatementSync
  readonly #claim: StatementSync
  readonly #release: StatementSync
  readonly #processes: StatementSync
  readonly #known = new Map<number, Sibling>()
  /** Whether it was read what the others know, since these keys are claimed. */
  #isRead = false
  /** What others are storing now. */
  #taken: ReadonlySet<string> = new Set()

  /**
   * To be made when the journal of this process is open: what its predecessor had claimed and not stored is free again.
   */
  constructor(place: SiblingPlace, limits: Limits) {
    this.#place = place
    this.#limits = limits
    const claims = openClaims(place.data)
    this.#claims = claims
    this.#begin = claims.prepare('BEGIN IMMEDIATE')
    this.#commit = claims.prepare('COMMIT')
    this.#rollback = claims.prepare('ROLLBACK')
    this.#claim = claims.prepare('INSERT OR IGNORE INTO claims (key, process) VALUES (?, ?)')
    this.#release = claims.prepare('DELETE FROM claims WHERE process = ?')
    this.#processes = claims.prepare('SELECT number, begun FROM processes WHERE number <> ?')
    this.#write(() => {
      claims
        .prepare('INSERT INTO processes VALUES (?, 1) ON CONFLICT DO UPDATE SET begun = begun + 1')
        .run(place.number)
      this.#release.run(place.number)
    })
  }

  /** Before these keys are looked for and stored. Throws what SQLite throws. */
  claim(names: ReadonlySet<string>): void {
    const late = performance.now() + patience
    for (;;) {
      const taken = this.#claimAll(names, performance.now() >= late)
      this.#taken = taken
      this.#isRead = false
      if (taken.size === 0 || performance.now() >= late) return
      // Its commit takes a few milliseconds. The claims of a process that died are taken away by its successor.
      Atomics.wait(nothing, 0, 0, pause)
    }
  }

  /** When they are stored, or are not to be. */
  release(): void {
    try {
      this.#release.run(this.#place.number)
    } catch {
      // The next claim lets them go; until then the others say "later" to these keys.
    }
    this.#taken = new Set()
  }

  /** Whether another process is storing it. */
  isTaken(name: string): boolean {
    return this.#taken.has(name)
  }

  /**
   * `elsewhere`, when another process has stored it.
   * @throws SignalboxError `journal_failed` when one is about to.
   */
  find(name: string, digest: KeyEntries, now: number): number | undefined {
    if (this.isTaken(name)) {
      throw new SignalboxError('journal_failed', 'another process is storing the same event: it is to be tried again')
    }
    if (!this.#isRead) this.#read(now)
    for (const { log } of this.#known.values()) if (log?.find(digest, 0, now) !== undefined) return elsewhere
    return undefined
  }

  close(): void {
    this.release()
    for (const { database } of this.#known.values()) database?.close()
    this.#claims.close()
  }

  /** Claims what is free; all or nothing, unless it is `enough`. Answers what others have. */
  #claimAll(names: ReadonlySet<string>, enough: boolean): ReadonlySet<string> {
    const { number } = this.#place
    return this.#write(() => {
      this.#release.run(number)
      const taken = new Set<string>()
      for (const name of names) if (this.#claim.run(name, number).changes === 0) taken.add(name)
      // Who waits holds nothing that another one may wait for.
      if (taken.size > 0 && !enough) this.#release.run(number)
      else this.#look()
      return taken
    })
  }

  /** Which others there are now. A journal that was begun again may be another file. */
  #look(): void {
    const rows = this.#processes.all(this.#place.number) as unknown as { number: number; begun: number }[]
    for (const { number, begun } of rows) {
      const known = this.#known.get(number)
      if (known?.begun === begun) continue
      known?.database?.close()
      const file = path.join(journalFolder(this.#place.data, number), 'journal.sqlite')
      this.#known.set(number, openSibling(file, begun, this.#limits))
    }
  }

  /** What has come since the last time. */
  #read(now: number): void {
    for (const { log } of this.#known.values()) {
      log?.read()
      log?.forget(now)
    }
    this.#isRead = true
  }

  #write<T>(work: () => T): T {
    this.#begin.run()
    try {
      const result = work()
      this.#commit.run()
      return result
    } catch (error) {
      // Some errors have SQLite roll back by itself.
      if (this.#claims.isTransaction) this.#rollback.run()
      throw error
    }
  }
}

/** When the last of the events came that this journal knows by their keys, in milliseconds since 1970; 0: it knows none. */
export function lastKnownAt(folder: string): number {
  using database = new DatabaseSync(path.join(folder, 'journal.sqlite'), { readOnly: true, timeout: busyTimeout })
  const row = database.prepare('SELECT entries FROM known ORDER BY number DESC LIMIT 1').get()
  const entries = KeyEntries.of((row?.['entries'] ?? new Uint8Array()) as Uint8Array) // as the table has it
  let last = 0
  for (let number = 0; number < entries.count; number++) last = Math.max(last, entries.at(number))
  return last
}

function openClaims(data: string): DatabaseSync {
  const file = path.join(data, 'claims.sqlite')
  try {
    return beginClaims(file)
  } catch (error) {
    if (!damaged.includes(resultCode(error) ?? 0)) throw error
    // Nothing is in it but what is being stored in this moment.
    for (const suffix of ['-wal', '-shm', '']) fs.rmSync(file + suffix, { force: true })
    return beginClaims(file)
  }
}

function beginClaims(file: string): DatabaseSync {
  const database = new DatabaseSync(file, { timeout: busyTimeout })
  try {
    // SQLite gives its other files the mode of this one.
    fs.chmodSync(file, 0o600)
    // Not synced with each commit: after a power failure nobody is storing anything.
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      BEGIN IMMEDIATE;
      CREATE TABLE IF NOT EXISTS processes (number INTEGER PRIMARY KEY, begun INTEGER NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, process INTEGER NOT NULL) STRICT, WITHOUT ROWID;
      COMMIT;`)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

function openSibling(file: string, begun: number, limits: Limits): Sibling {
  let database: DatabaseSync | undefined
  try {
    // Closing one that may write would take away the write-ahead log of a file that stands in its place by now.
    database = new DatabaseSync(file, { readOnly: true, timeout: busyTimeout })
    return { begun, database, log: new KeyLog(database, limits) }
  } catch (error) {
    database?.close()
    if (!unreadable.includes(resultCode(error) ?? 0)) throw error
    return { begun, database: undefined, log: undefined }
  }
}

/** The journal's SQLite file: how it is opened, checked and laid out, and how a damaged one is set aside. */
import fs from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { makeFolder } from '../runtime/make-folder.ts'
import { takeOverKeys } from './keys.ts'
import { busyTimeout, resultCode } from './sqlite.ts'

/** 'sbxj': tells a journal from any other SQLite file. */
const applicationId = 0x73_62_78_6a
const schemaVersion = 3
/** The first one had no parcels, and both before this one a row a key. */
const olderVersions = [1, 2]

/** Pages that the write-ahead log takes before it is written back: what is handled soon is never written twice. */
const checkpointPages = 4000
/** Bytes that it keeps once it was written back. */
const logLimit = 64 * 2 ** 20

const columns = `
  id INTEGER PRIMARY KEY,
  place INTEGER NOT NULL,
  lane TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  due INTEGER NOT NULL,
  at INTEGER NOT NULL,
  died INTEGER,
  size INTEGER NOT NULL,
  body INTEGER,
  peer TEXT NOT NULL,
  error TEXT NOT NULL,
  scope BLOB NOT NULL,
  event BLOB NOT NULL`

/**
 * Records that came together are one row of `parcels`, until the last of them is gone; which ones are gone before that is in `gone`.
 * What their columns say is in kept.ts.
 */
export const parcelTables = `
  CREATE TABLE parcels (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    at INTEGER NOT NULL,
    heads TEXT NOT NULL,
    rows BLOB NOT NULL,
    bytes BLOB NOT NULL
  ) STRICT;
  CREATE TABLE gone (
    parcel INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
  ) STRICT;`

/** Keys with their records, as key-segment.ts has them: a log of which the last row grows until it is full. */
const keyTable = `
  CREATE TABLE known (
    number INTEGER PRIMARY KEY,
    entries BLOB NOT NULL
  ) STRICT;`

/**
 * What waits and what is dead are two tables, so that a record that is handled at once touches no index. The blobs stand last:
 * a list does not read them.
 */
const schema = `${parcelTables} ${keyTable}
  CREATE TABLE waiting (${columns}) STRICT;
  CREATE TABLE dead (${columns}) STRICT;
  CREATE INDEX dead_by_age ON dead (died);
  CREATE TABLE bodies (
    id INTEGER PRIMARY KEY,
    uses INTEGER NOT NULL,
    data BLOB NOT NULL
  ) STRICT;
  CREATE TABLE places (
    id INTEGER PRIMARY KEY,
    direction TEXT NOT NULL,
    protocol TEXT NOT NULL,
    route TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    handled INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    expired INTEGER NOT NULL,
    dropped INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE ledger (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last_id INTEGER NOT NULL,
    last_body INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    key_bytes INTEGER NOT NULL,
    notes INTEGER NOT NULL
  ) STRICT;
  INSERT INTO ledger VALUES (1, 0, 0, 0, 0, 0);
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};`

export interface Opened {
  readonly database: DatabaseSync
  /** What was set aside instead, and why. */
  readonly damaged?: { readonly file: string; readonly reason: string } | undefined
}

/** Opens `journal.sqlite` of a data folder, or begins it. Throws what SQLite or the file system throws. */
export function openFile(folder: string): Opened {
  const file = fileIn(folder)
  const found = tryFile(file, toWrite)
  if (found && 'database' in found) return found
  const damaged = found && setAside(file, found.damage)
  return { damaged, database: begin(file) }
}

/** Opens what is there to be written, and was found sound. Throws what SQLite throws. */
export function openSound(folder: string): DatabaseSync {
  const database = toWrite.open(fileIn(folder))
  try {
    toWrite.ready(database, versionOf(database))
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/**
 * Opens what is there, and moves nothing; undefined: there is nothing.
 * @throws SignalboxError `journal_failed` when it is damaged; else what SQLite or the file system throws.
 */
export function openExisting(folder: string, way: Way): DatabaseSync | undefined {
  const file = fileIn(folder)
  const found = tryFile(file, way)
  if (!found || 'database' in found) return found?.database
  const later = 'It stays where it is; the next start of the gateway sets it aside, and names it'
  throw new SignalboxError('journal_failed', `the journal ${file} is damaged: ${found.damage}. ${later}`)
}

export function fileIn(folder: string): string {
  return path.join(folder, 'journal.sqlite')
}

/** How a file that is there is opened. */
export interface Way {
  open(file: string): DatabaseSync
  /** Once it is known to be a journal, of this version. */
  readonly ready: (database: DatabaseSync, version: number) => void
}

const toWrite: Way = {
  open: (file) => new DatabaseSync(file, { timeout: busyTimeout }),
  ready: (database, version) => {
    prepare(database)
    renew(database, version)
  },
}

/** What is there, checked; or what is wrong with it. Nothing is moved. */
function tryFile(
  file: string,
  way: Way,
): { readonly database: DatabaseSync } | { readonly damage: string } | undefined {
  const lost = lostContent(file)
  if (lost !== undefined) return { damage: lost }
  if (!fs.existsSync(file)) return undefined
  readAhead(file)
  let database: DatabaseSync | undefined
  try {
    database = way.open(file)
    const damage = check(database)
    if (damage === undefined) {
      way.ready(database, versionOf(database))
      return { database }
    }
    database.close()
    return { damage }
  } catch (error) {
    if (database?.isOpen) database.close()
    if (!isDamage(error)) throw error
    return { damage: reason(error) }
  }
}

/** SQLite itself would take an empty file for a new one, and throw away the write-ahead log that belongs to what it was. */
function lostContent(file: string): string | undefined {
  const size = sizeOf(file)
  if (size === 0) return 'the file is empty'
  if (size === undefined && sizeOf(`${file}-wal`)) return 'its write-ahead log is there, but not the file'
  return undefined
}

/** Bytes; undefined: it is not there. */
export function sizeOf(file: string): number | undefined {
  return fs.statSync(file, { throwIfNoEntry: false })?.size
}

/** The check reads everything in the order of the tables; from a cold disk that takes many times as long as from front to end. */
function readAhead(file: string): void {
  const chunk = Buffer.allocUnsafe(2 ** 20)
  const handle = fs.openSync(file, 'r')
  try {
    while (fs.readSync(handle, chunk) > 0);
  } finally {
    // Only before SQLite has the file: closing it frees the locks that this process has on it (POSIX says so).
    fs.closeSync(handle)
  }
}

/** What is wrong with it. */
function check(database: DatabaseSync): string | undefined {
  const owner = number(database, 'application_id')
  if (owner !== applicationId)
    return `it is no journal: its application_id is ${String(owner)}, expected ${applicationId}`
  const version = versionOf(database)
  if (version !== schemaVersion && !olderVersions.includes(version))
    return `its schema has version ${version}, expected ${schemaVersion}`
  const row = database.prepare('PRAGMA quick_check(1)').get()
  const found = row && Object.values(row)[0]
  return found === 'ok' ? undefined : `quick_check says: ${String(found).replaceAll(/\s+/g, ' ')}`
}

/** What an older version wrote is there afterwards. */
function renew(database: DatabaseSync, version: number): void {
  if (version === schemaVersion) return
  database.exec(`BEGIN IMMEDIATE; ${version === 1 ? parcelTables : ''} ${keyTable}`)
  takeOverKeys(database)
  database.exec(`PRAGMA user_version = ${schemaVersion}; COMMIT;`)
}

const versionOf = (database: DatabaseSync): number => Number(number(database, 'user_version'))

function number(database: DatabaseSync, pragma: string): unknown {
  return database.prepare(`PRAGMA ${pragma}`).get()?.[pragma]
}

/** SQLITE_CORRUPT and SQLITE_NOTADB, with any of their extended codes. */
function isDamage(error: unknown): boolean {
  return [11, 26].includes(resultCode(error) ?? 0)
}

function begin(file: string): DatabaseSync {
  makeFolder(path.dirname(file))
  // SQLite gives its other files the mode of this one.
  fs.closeSync(fs.openSync(file, 'wx', 0o600))
  const database = new DatabaseSync(file, { timeout: busyTimeout })
  try {
    prepare(database)
    database.exec(`BEGIN; ${schema} COMMIT;`)
  } catch (error) {
    database.close()
    // Nothing is in it yet; left behind, it would pass for a damaged one.
    fs.rmSync(file, { force: true })
    throw error
  }
  return database
}

function prepare(database: DatabaseSync): void {
  // The first one is for a file that is begun now: work.ts gives back what is free for long.
  database.exec(`
    PRAGMA auto_vacuum = INCREMENTAL;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = ${checkpointPages};
    PRAGMA journal_size_limit = ${logLimit};
    PRAGMA cache_size = -16000;`)
}

function setAside(file: string, reason: string): { readonly file: string; readonly reason: string } {
  const time = new Date().toISOString().replaceAll(':', '-')
  const aside = path.join(path.dirname(file), `journal.damaged-${time}.sqlite`)
  // The file last: as long as it stands there, what follows is set aside again at the next start.
  for (const suffix of ['-wal', '-shm', '']) {
    if (fs.existsSync(file + suffix)) fs.renameSync(file + suffix, aside + suffix)
  }
  return { file: aside, reason }
}

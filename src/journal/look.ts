/** The journal's file as somebody looks at it: nothing in its folder is changed, moved or made, and no gateway is kept from starting. */
import fs from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { fileIn, openExisting, parcelTables, sizeOf, type Way } from './file.ts'
import { Ledger } from './ledger.ts'
import { Parcels } from './parcels.ts'
import { Reader } from './reader.ts'
import { busyTimeout } from './sqlite.ts'

/** How often it is looked again, when a gateway is just starting on the file. */
const mostLooks = 10
/** Milliseconds that it has to begin its file. */
const patience = 100
/** Of the write-ahead log: its salts are in it. */
const logHead = 32

/**
 * Answers what `look` finds; undefined: there is no journal.
 * @throws SignalboxError `journal_failed` when it is damaged; else what SQLite or the file system throws.
 */
export async function lookAt<T>(folder: string, look: (reader: Reader) => T): Promise<T | undefined> {
  let way = alone
  for (let left = mostLooks; ; left--) {
    const before = stampOf(folder)
    try {
      const found = lookOnce(folder, way, look)
      if (way === shared || stampOf(folder) === before) return found
    } catch (error) {
      await pause(patience)
      if (left === 0 || stampOf(folder) === before) throw error
    }
    way = shared
  }
}

function lookOnce<T>(folder: string, way: Way, look: (reader: Reader) => T): T | undefined {
  using database = openExisting(folder, way)
  if (!database) return undefined
  const ledger = new Ledger(database)
  return look(new Reader({ database, ledger, parcels: new Parcels(database), counted: () => ledger }))
}

/** Nobody else has it, as far as is known: what is read is right unless its stamp has changed afterwards. */
export const alone: Way = {
  open: (file) => {
    const url = pathToFileURL(file)
    // What was closed in peace is all in the file; to read it SQLite would make an empty log beside it.
    if (!sizeOf(`${file}-wal`)) url.searchParams.set('immutable', '1')
    // The index of a log that a killed process left: SQLite makes one in memory then. Without that file it would not.
    else if (fs.existsSync(`${file}-shm`)) url.searchParams.set('readonly_shm', '1')
    return open(url)
  },
  ready,
}

/** Somebody runs on it: SQLite's own locks have each see what was there at one moment. */
const shared: Way = { open: (file) => open(pathToFileURL(file)), ready }

function open(url: URL): DatabaseSync {
  return new DatabaseSync(url, { readOnly: true, timeout: busyTimeout })
}

function ready(database: DatabaseSync, version: number): void {
  database.exec('PRAGMA temp_store = MEMORY')
  // The first version had none.
  if (version === 1) database.exec(parcelTables.replaceAll('CREATE TABLE', 'CREATE TEMP TABLE'))
  // All that is read is of one moment.
  database.exec('BEGIN')
}

/** Changes when what was written comes into the file, and when its log begins anew. */
function stampOf(folder: string): string {
  const file = fileIn(folder)
  const stat = fs.statSync(file, { throwIfNoEntry: false, bigint: true })
  return `${stat?.ino} ${stat?.size} ${stat?.mtimeNs} ${headOf(`${file}-wal`)}`
}

function headOf(log: string): string {
  if (!sizeOf(log)) return ''
  const head = Buffer.alloc(logHead)
  const handle = fs.openSync(log, 'r')
  try {
    return head.toString('hex', 0, fs.readSync(handle, head))
  } finally {
    fs.closeSync(handle)
  }
}

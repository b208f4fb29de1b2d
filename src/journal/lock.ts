/** One process a data folder: a lock that the operating system frees however its holder ends. */
import fs from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { makeFolder } from '../runtime/make-folder.ts'
import { resultCode } from './sqlite.ts'

/** SQLITE_BUSY */
const busy = 5
/** Milliseconds that it is waited for: a command that changes something has it for a moment. */
const patience = 1000

/** Holds a data folder. Node has no lock of its own; SQLite has one that every system knows. */
export class FolderLock implements Disposable {
  readonly #database: DatabaseSync

  private constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** @throws SignalboxError `journal_locked`, with the process that has it; `journal_failed` when the folder cannot be used. */
  static take(folder: string): FolderLock {
    const file = path.join(folder, 'journal.lock')
    // Beside it: whoever opens the file itself and closes it again would free the lock of its process (POSIX says so).
    const pidFile = path.join(folder, 'journal.pid')
    let database: DatabaseSync | undefined
    try {
      makeFolder(folder)
      database = new DatabaseSync(file, { timeout: patience })
      database.exec('BEGIN EXCLUSIVE')
      fs.writeFileSync(pidFile, `${process.pid}\n`)
      return new FolderLock(database)
    } catch (error) {
      database?.close()
      if (resultCode(error) === busy) throw lockedError(folder, pidFile)
      throw new SignalboxError('journal_failed', `the data folder ${folder} cannot be used: ${reason(error)}`, {
        cause: error,
      })
    }
  }

  [Symbol.dispose](): void {
    if (this.#database.isOpen) this.#database.close()
  }
}

function lockedError(folder: string, pidFile: string): SignalboxError {
  return new SignalboxError(
    'journal_locked',
    `the journal of ${folder} is in use by ${holder(pidFile)}: a data folder belongs to one gateway`,
  )
}

function holder(pidFile: string): string {
  try {
    const pid = Number(fs.readFileSync(pidFile, 'utf8'))
    if (pid === process.pid) return `this process (${pid})`
    if (pid > 0) return `process ${pid}`
  } catch {
    // It has just taken the lock, or the file was taken away.
  }
  return 'another process'
}

/** Texts that the provider has taken, until it says what became of them. */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import type { Outgoing } from './outgoing.ts'

/** The provider knows within ten hours at most what became of a text; reports of later than this come to nothing. */
const kept = 4 * 24 * 3600 * 1000

/** A SQLite file. A crash of the machine may cost the last entries, and so no more than a dead letter that nobody sees. */
export class SentMessages {
  readonly #database: DatabaseSync
  readonly #insert: StatementSync
  readonly #take: StatementSync
  readonly #prune: StatementSync

  /** @throws SignalboxError `bad_config` when the file is no such record, or cannot be written. */
  constructor(file: string) {
    try {
      this.#database = new DatabaseSync(file, { timeout: 500 })
      this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
      this.#database.exec(`CREATE TABLE IF NOT EXISTS sent (
        sid TEXT PRIMARY KEY, message TEXT NOT NULL, at INTEGER NOT NULL
      ) STRICT, WITHOUT ROWID; CREATE INDEX IF NOT EXISTS sent_at ON sent (at)`)
      this.#insert = this.#database.prepare('INSERT OR REPLACE INTO sent (sid, message, at) VALUES (?, ?, ?)')
      this.#take = this.#database.prepare('DELETE FROM sent WHERE sid = ? RETURNING message')
      this.#prune = this.#database.prepare('DELETE FROM sent WHERE at < ?')
    } catch (error) {
      throw new SignalboxError('bad_config', `the record of sent texts ${file} cannot be opened: ${reason(error)}`, {
        cause: error,
      })
    }
  }

  keep(sid: string, message: Outgoing): void {
    const now = Date.now()
    this.#prune.run(now - kept)
    this.#insert.run(sid, JSON.stringify(message), now)
  }

  /** The text of this id, which is forgotten with that. */
  take(sid: string): Outgoing | undefined {
    const message = this.#take.get(sid)?.['message']
    return typeof message === 'string' ? (JSON.parse(message) as Outgoing) : undefined // as `keep` wrote it
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close()
  }
}

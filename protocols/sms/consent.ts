/** Who does not want to be written to: the opt-out words, and the record of them that outlives a restart. */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import type { SmsMessage } from './scope.ts'

export type Consent = SmsMessage['consent']

/** What Twilio takes for an opt-out when it is the whole text: from then on it refuses to send (error 21610). */
const stopWords = new Set(['STOP', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'OPTOUT', 'REVOKE'])
const startWords = new Set(['START', 'UNSTOP'])
const longestWord = 'UNSUBSCRIBE'.length

/**
 * What a text says about consent. `optOutType` is what a messaging service with own words made of it; it goes first. `stopped`
 * is asked only where it matters.
 */
export function consentOf(body: string, optOutType = '', stopped = () => false): Consent {
  const type = optOutType.toUpperCase()
  if (type === 'STOP' || type === 'START') return type === 'STOP' ? 'stop' : 'start'
  const text = body.trim()
  if (text.length > longestWord) return ''
  const word = text.toUpperCase()
  if (stopWords.has(word)) return 'stop'
  // YES opts in again, but to everybody else it is an answer like any other.
  return startWords.has(word) || (word === 'YES' && stopped()) ? 'start' : ''
}

/** How long one look at the file holds, in milliseconds. */
const longestLook = 2

/**
 * A SQLite file; what `record` has returned from is on the disk. Several processes share it: what one of them has recorded,
 * the others see two milliseconds later at the latest, or when they `lookAgain`.
 */
export class ConsentStore {
  readonly #database: DatabaseSync
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #select: StatementSync
  readonly #upsert: StatementSync
  /** Until when the transaction is good that questions share; 0: there is none. */
  #lookingUntil = 0

  /** @throws SignalboxError `bad_config` when the file is no such record, or cannot be written. */
  constructor(file: string) {
    try {
      this.#database = new DatabaseSync(file, { timeout: 500 })
      this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
      this.#database.exec(`CREATE TABLE IF NOT EXISTS consent (
        person TEXT NOT NULL, sender TEXT NOT NULL, stopped INTEGER NOT NULL, source TEXT NOT NULL, at TEXT NOT NULL,
        PRIMARY KEY (person, sender)
      ) STRICT, WITHOUT ROWID`)
      this.#begin = this.#database.prepare('BEGIN')
      this.#commit = this.#database.prepare('COMMIT')
      this.#select = this.#database.prepare('SELECT stopped FROM consent WHERE person = ? AND sender = ?')
      this.#upsert = this.#database
        .prepare(`INSERT INTO consent (person, sender, stopped, source, at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (person, sender) DO UPDATE SET stopped = excluded.stopped, source = excluded.source, at = excluded.at`)
    } catch (error) {
      throw new SignalboxError('bad_config', `the record of opt-outs ${file} cannot be opened: ${reason(error)}`, {
        cause: error,
      })
    }
  }

  /** Whether this person has opted out of what this sender sends. */
  stopped(person: string, sender: string): boolean {
    this.#look()
    return this.#select.get(person, sender)?.['stopped'] === 1
  }

  /** `source`: the word, or the provider's error code. */
  record(
    person: string,
    sender: string,
    { stopped, source }: { readonly stopped: boolean; readonly source: string },
  ): void {
    this.lookAgain()
    this.#upsert.run(person, sender, Number(stopped), source, new Date().toISOString())
  }

  /** What others have recorded until now counts in the next question. */
  lookAgain(): void {
    if (this.#lookingUntil === 0) return
    this.#lookingUntil = 0
    // A fault of the disk may have ended it.
    if (this.#database.isTransaction) this.#commit.run()
  }

  close(): void {
    if (!this.#database.isOpen) return
    this.lookAgain()
    this.#database.close()
  }

  /** The locks of a transaction cost several times as much as a question. */
  #look(): void {
    const now = performance.now()
    if (now < this.#lookingUntil) return
    this.lookAgain()
    this.#begin.run()
    this.#lookingUntil = now + longestLook
    setTimeout(() => this.lookAgain(), longestLook)
  }
}

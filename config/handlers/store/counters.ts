/** How many messages have arrived on each protocol, over all runs and processes of the gateway. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

export type Counts = Readonly<Record<string, number>>

const protocols = ['http', 'websocket', 'mqtt', 'email', 'sms']

/** Counted in memory, because a counter must not cost a disk write a message; saved now and then, and at the end. */
export class Counters {
  /** As of the last save. */
  readonly #saved: Map<string, number>
  /** Since then, in this process. */
  readonly #added = new Map<string, number>()
  readonly #database: DatabaseSync
  readonly #save: StatementSync

  constructor(database: DatabaseSync) {
    database.exec('CREATE TABLE IF NOT EXISTS counters (protocol TEXT PRIMARY KEY, messages INTEGER NOT NULL) STRICT')
    this.#database = database
    this.#save = database.prepare(`INSERT INTO counters (protocol, messages) VALUES (?, ?)
      ON CONFLICT (protocol) DO UPDATE SET messages = messages + excluded.messages RETURNING messages`)
    const rows = database.prepare('SELECT protocol, messages FROM counters').all()
    const saved = rows.map((row): [string, number] => [String(row['protocol']), Number(row['messages'])])
    this.#saved = new Map([...protocols.map((protocol): [string, number] => [protocol, 0]), ...saved])
  }

  add(protocol: string): void {
    this.#added.set(protocol, (this.#added.get(protocol) ?? 0) + 1)
  }

  all(): Counts {
    const names = new Set([...this.#saved.keys(), ...this.#added.keys()])
    return Object.fromEntries(
      Array.from(names, (name) => [name, (this.#saved.get(name) ?? 0) + (this.#added.get(name) ?? 0)]),
    )
  }

  /** Does nothing once the database is closed: a last timer may come late. */
  save(): void {
    if (!this.#database.isOpen) return
    this.#database.exec('BEGIN IMMEDIATE')
    // Those that did not count here are read: another process may have counted them.
    for (const protocol of Object.keys(this.all())) {
      const row = this.#save.get(protocol, this.#added.get(protocol) ?? 0)
      this.#saved.set(protocol, Number(row?.['messages']))
    }
    this.#database.exec('COMMIT')
    this.#added.clear()
  }
}

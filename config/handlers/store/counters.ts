/** How many messages have arrived on each protocol, over all runs of the gateway. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

export type Counts = Readonly<Record<string, number>>

const protocols = ['http', 'websocket', 'mqtt', 'email', 'sms']

/** Counted in memory, because a counter must not cost a disk write a message; saved now and then, and at the end. */
export class Counters {
  readonly #counts: Map<string, number>
  readonly #database: DatabaseSync
  readonly #save: StatementSync

  constructor(database: DatabaseSync) {
    database.exec('CREATE TABLE IF NOT EXISTS counters (protocol TEXT PRIMARY KEY, messages INTEGER NOT NULL) STRICT')
    this.#database = database
    this.#save = database.prepare('INSERT OR REPLACE INTO counters (protocol, messages) VALUES (?, ?)')
    const rows = database.prepare('SELECT protocol, messages FROM counters').all()
    const saved = rows.map((row): [string, number] => [String(row['protocol']), Number(row['messages'])])
    this.#counts = new Map([...protocols.map((protocol): [string, number] => [protocol, 0]), ...saved])
  }

  add(protocol: string): void {
    this.#counts.set(protocol, (this.#counts.get(protocol) ?? 0) + 1)
  }

  all(): Counts {
    return Object.fromEntries(this.#counts)
  }

  /** Does nothing once the database is closed: a last timer may come late. */
  save(): void {
    if (!this.#database.isOpen) return
    this.#database.exec('BEGIN')
    for (const [protocol, messages] of this.#counts) this.#save.run(protocol, messages)
    this.#database.exec('COMMIT')
  }
}

/** The keys that events are known by, for a window of time: an event that comes again is told by its own. */
import { createHash } from 'node:crypto'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Ledger } from './ledger.ts'
import type { EncodedRecord, Parcel } from './messages.ts'
import { type Head, rowWidth } from './parcel.ts'

/** What a row takes besides its key, about. */
const keyRowBytes = 40
/** Longer keys are kept as their hash. */
const longestKey = 300

export class Keys {
  readonly #database: DatabaseSync
  readonly #ledger: Ledger
  readonly #window: number
  readonly #find: StatementSync
  readonly #replace: StatementSync
  readonly #add: StatementSync
  readonly #remove: StatementSync

  /** `window`: for how long they are known, in milliseconds. */
  constructor(database: DatabaseSync, ledger: Ledger, window: number) {
    this.#database = database
    this.#ledger = ledger
    this.#window = window
    this.#find = database.prepare('SELECT id, at FROM keys WHERE key = ?')
    this.#replace = database.prepare('UPDATE keys SET id = ?, at = ? WHERE key = ?')
    this.#add = database.prepare('INSERT OR IGNORE INTO keys (id, at, key) VALUES (?, ?, ?)')
    this.#remove = database.prepare('DELETE FROM keys WHERE key = ?')
  }

  /** The id of the record that is known by it. */
  find(name: string, now: number): number | undefined {
    const row = this.#find.get(name) as { id: number; at: number } | undefined
    return row && row.at > now - this.#window ? row.id : undefined
  }

  /** From now on it is this record's. */
  note(name: string, id: number, now: number): void {
    if (this.#add.run(id, now, name).changes > 0) this.#ledger.keyBytes += keyRowBytes + name.length
    else this.#replace.run(id, now, name)
  }

  forget(name: string): void {
    this.#remove.run(name)
    this.#ledger.keyBytes -= keyRowBytes + name.length
  }

  /** Those of records above this id. */
  above(id: number): string[] {
    const rows = this.#database.prepare('SELECT key FROM keys WHERE id > ?').all(id)
    return rows.map(({ key }) => String(key))
  }

  /** The names of a parcel's keys; undefined when one of them is known, from before or in the parcel itself. */
  allNew({ rows, keys, keyed }: Parcel, heads: readonly Head[], now: number): readonly string[] | undefined {
    const names = new Set<string>()
    for (const [number, key] of keys.entries()) {
      const head = heads[rows[(keyed[number * 2] ?? 0) * rowWidth] ?? 0]
      const name = head && nameOf({ ...head, key })
      if (name === undefined || names.has(name)) return undefined
      const mayRepeat = keyed[number * 2 + 1] === 1
      if (mayRepeat && this.find(name, now) !== undefined) return undefined
      names.add(name)
    }
    return [...names]
  }
}

/** Keys of different protocols are different, and none takes more room than it should. */
export function nameOf({
  direction,
  protocol,
  key,
}: Pick<EncodedRecord, 'direction' | 'protocol' | 'key'>): string | undefined {
  if (key === undefined) return undefined
  const short = key.length > longestKey ? createHash('sha256').update(key).digest('base64') : key
  return `${direction} ${protocol} ${short}`
}

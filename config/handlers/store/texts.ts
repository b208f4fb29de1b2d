/** The text messages that came in. */
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import { time } from './time.ts'

export interface NewText {
  /** The provider's identifier of the message: the same one is stored once. */
  readonly sid: string
  readonly from: string
  readonly body: string
  /** What was answered; empty when nothing was. */
  readonly answer: string
}

/** A text as it is shown: the number is masked, because the page is for more eyes than the phone's owner's. */
export interface Text {
  readonly id: number
  readonly from: string
  readonly body: string
  readonly answer: string
  readonly at: string
}

const schema = `
  CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY, sid TEXT NOT NULL UNIQUE, sender TEXT NOT NULL,
    body TEXT NOT NULL, answer TEXT NOT NULL, at INTEGER NOT NULL
  ) STRICT`

export class Texts {
  readonly #insert: StatementSync
  readonly #list: StatementSync

  constructor(database: DatabaseSync) {
    database.exec(schema)
    this.#insert = database.prepare(`
      INSERT INTO texts (sid, sender, body, answer, at) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (sid) DO NOTHING RETURNING id, sender, body, answer, at`)
    this.#list = database.prepare('SELECT id, sender, body, answer, at FROM texts ORDER BY id DESC LIMIT ?')
  }

  /** Undefined when this message is stored already. */
  add({ sid, from, body, answer }: NewText): Text | undefined {
    const row = this.#insert.get(sid, from, body, answer, Date.now())
    return row && toText(row)
  }

  /** Newest first. */
  list(limit: number): Text[] {
    return this.#list.all(limit).map(toText)
  }
}

function toText(row: Readonly<Record<string, SQLOutputValue>>): Text {
  return {
    id: Number(row['id']),
    from: masked(String(row['sender'])),
    body: String(row['body']),
    answer: String(row['answer']),
    at: time(row['at']),
  }
}

/** `+14155550100` -> `+1 *** 0100`; what is too short to hide anything in becomes `***`. */
export function masked(phone: string): string {
  return phone.length < 8 ? '***' : `${phone.slice(0, 2)} *** ${phone.slice(-4)}`
}

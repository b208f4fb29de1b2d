/** The temperatures of the rooms. */
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import { time } from './time.ts'

/** One measurement; `stamped` says that `at` is the device's own time, not the time of arrival. Times are epoch ms. */
export interface Measurement {
  readonly room: string
  readonly celsius: number
  readonly at: number
  readonly stamped: boolean
  readonly received: number
}

/** A reading as it is shown; `id` grows with each reading. */
export interface Reading {
  readonly id: number
  readonly room: string
  readonly celsius: number
  readonly at: string
}

const schema = `
  CREATE TABLE IF NOT EXISTS readings (
    id INTEGER PRIMARY KEY, room TEXT NOT NULL, celsius REAL NOT NULL,
    at INTEGER NOT NULL, stamped INTEGER NOT NULL, received INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS readings_by_time ON readings (room, at);
  CREATE UNIQUE INDEX IF NOT EXISTS readings_stamped ON readings (room, at) WHERE stamped = 1;
  CREATE TABLE IF NOT EXISTS rooms (room TEXT PRIMARY KEY, latest INTEGER NOT NULL REFERENCES readings) STRICT`

export class Readings {
  readonly #insert: StatementSync
  readonly #moveLatest: StatementSync
  readonly #since: StatementSync
  readonly #rooms: StatementSync
  readonly #latest: StatementSync
  readonly #history: StatementSync
  readonly #spelling: StatementSync

  constructor(database: DatabaseSync) {
    database.exec(schema)
    this.#insert = database.prepare(
      `INSERT INTO readings (room, celsius, at, stamped, received) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (room, at) WHERE stamped = 1 DO NOTHING RETURNING id, room, celsius, at`,
    )
    // `rooms` keeps the newest reading of each room, so that the list of rooms does not read all that was ever measured.
    this.#moveLatest = database.prepare(`
      INSERT INTO rooms (room, latest) VALUES (:room, :id) ON CONFLICT (room) DO UPDATE SET latest = excluded.latest
      WHERE (SELECT at FROM readings WHERE id = rooms.latest) <= :at`)
    this.#since = database.prepare('SELECT 1 FROM readings WHERE room = ? AND celsius = ? AND at >= ? LIMIT 1')
    const latest = 'SELECT r.id, r.room, r.celsius, r.at FROM rooms JOIN readings r ON r.id = rooms.latest'
    this.#rooms = database.prepare(`${latest} ORDER BY r.at DESC, r.id DESC LIMIT ?`)
    this.#latest = database.prepare(`${latest} WHERE rooms.room = ?`)
    this.#history = database.prepare(
      'SELECT id, room, celsius, at FROM readings WHERE room = ? ORDER BY at DESC, id DESC LIMIT ?',
    )
    this.#spelling = database.prepare(
      'SELECT room FROM rooms WHERE room = ? COLLATE NOCASE ORDER BY room = ? DESC LIMIT 1',
    )
  }

  /** Stores a measurement; undefined when this room already has one of this very (device's own) time. */
  add({ room, celsius, at, stamped, received }: Measurement): Reading | undefined {
    const row = this.#insert.get(room, celsius, at, stamped ? 1 : 0, received)
    if (!row) return undefined
    const reading = toReading(row)
    this.#moveLatest.run({ room, id: reading.id, at })
    return reading
  }

  /** Whether this room measured this very value at `since` or later. */
  hasSince(room: string, celsius: number, since: number): boolean {
    return this.#since.get(room, celsius, since) !== undefined
  }

  /** The latest reading of each room, newest first. */
  rooms(limit: number): Reading[] {
    return this.#rooms.all(limit).map(toReading)
  }

  latest(room: string): Reading | undefined {
    const row = this.#latest.get(room)
    return row && toReading(row)
  }

  /** Newest first. */
  history(room: string, limit: number): Reading[] {
    return this.#history.all(room, limit).map(toReading)
  }

  /** The room's name as the devices write it: `Kitchen`, typed on a phone, is `kitchen`. */
  spelling(room: string): string | undefined {
    const row = this.#spelling.get(room, room)
    return row && String(row['room'])
  }
}

function toReading(row: Readonly<Record<string, SQLOutputValue>>): Reading {
  return { id: Number(row['id']), room: String(row['room']), celsius: Number(row['celsius']), at: time(row['at']) }
}

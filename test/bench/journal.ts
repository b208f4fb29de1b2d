/** The journal's process: stores and settles records as fast as they go, by the journal or by SQLite alone, and prints how many a second. */
import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { encode } from '../../src/journal/codec.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { silentLog } from '../../src/runtime/log.ts'

const [side = '', seconds = '1'] = process.argv.slice(2)
const time = Number(seconds) * 1000
/** Records that wait for their commit at once: 32 connections with 20 publishes each. */
const inFlight = 640
const folder = mkdtempSync(path.join(tmpdir(), 'signalbox-bench-'))
const payload = Buffer.from('21.5')

/** Calls `lot`, which says how many it did, until the time is up; answers how many a second. */
async function rate(lot: () => number | Promise<number>): Promise<number> {
  const begin = performance.now()
  let done = 0
  while (performance.now() - begin < time) done += await lot()
  return (done * 1000) / (performance.now() - begin)
}

async function byJournal(): Promise<number> {
  await using journal = await Journal.open({ folder, ...journalOptions.parse({}) }, silentLog)
  const scope = { type: 'mqtt', client: null, server: null }
  const event = { type: 'mqtt.publish', topic: 'sensors/1/temperature', payload, qos: 1, retain: false, dup: false }
  const record = { direction: 'in', scope, event } as const
  const one = async () => {
    const [accepted] = await journal.accept([encode(record, { protocol: 'mqtt', route: 'a.yaml:1', lane: '1' })])
    if (accepted?.id !== undefined) journal.handled(accepted.id)
  }
  return await rate(async () => {
    await Promise.all(Array.from({ length: inFlight }, one))
    return inFlight
  })
}

/** The same bytes in and out again, one commit a lot. */
async function bySqlite(): Promise<number> {
  const database = new DatabaseSync(path.join(folder, 'bare.sqlite'))
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  database.exec('CREATE TABLE record (id INTEGER PRIMARY KEY, scope BLOB, event BLOB) STRICT')
  const insert = database.prepare('INSERT INTO record (scope, event) VALUES (?, ?)')
  const remove = database.prepare('DELETE FROM record WHERE id = ?')
  const scope = Buffer.alloc(100)
  const event = Buffer.alloc(120)
  let ids: (number | bigint)[] = []
  const perSecond = await rate(() => {
    database.exec('BEGIN')
    for (const id of ids) remove.run(id)
    ids = Array.from({ length: inFlight }, () => insert.run(scope, event).lastInsertRowid)
    database.exec('COMMIT')
    return inFlight
  })
  database.close()
  return perSecond
}

process.stdout.write(`${await (side === 'gateway' ? byJournal() : bySqlite())}\n`)
rmSync(folder, { recursive: true })

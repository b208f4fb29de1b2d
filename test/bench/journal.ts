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
const connections = 32
/** Records that wait for their commit at once: 20 publishes of each connection. */
const inFlight = 20 * connections
const folder = mkdtempSync(path.join(tmpdir(), 'signalbox-bench-'))

/** Calls `lot`, which says how many it did, until the time is up; answers how many a second. */
async function rate(lot: () => number | Promise<number>): Promise<number> {
  const begin = performance.now()
  let done = 0
  while (performance.now() - begin < time) done += await lot()
  return (done * 1000) / (performance.now() - begin)
}

async function byJournal(): Promise<number> {
  await using journal = await Journal.open({ folder, ...journalOptions.parse({}) }, silentLog)
  const devices = Array.from({ length: connections }, (_, number) => ({
    scope: { type: 'mqtt', client: ['192.0.2.1', 40_000 + number], server: null } as const,
    topic: `sensors/${number}/temperature`,
    placing: { protocol: 'mqtt', route: 'a.yaml:1', lane: `device-${number}` },
  }))
  let reading = 0
  const publish = async ({ scope, topic, placing }: (typeof devices)[number]) => {
    const payload = Buffer.from(`{"celsius":${reading++ % 100}}`)
    const event = { type: 'mqtt.publish', topic, payload, qos: 1, retain: false, dup: false }
    const [accepted] = await journal.accept([encode({ direction: 'in', scope, event }, placing)])
    if (accepted?.id !== undefined) journal.handled(accepted.id)
  }
  const lot = Array.from({ length: inFlight / connections }, () => devices).flat()
  return await rate(async () => {
    await Promise.all(lot.map(publish))
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

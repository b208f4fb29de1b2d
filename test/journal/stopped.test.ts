/** The journal of a data folder that nobody runs on: looked at without a trace, and changed as far as a person says and no further. */
import { describe, expect, test } from '@jest/globals'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { FolderLock } from '../../src/journal/lock.ts'
import { StoppedJournal } from '../../src/journal/stopped.ts'
import { Running } from '../support/child.ts'
import { accept, day, Folder, openJournal, record, rejection } from './support.ts'

const fixture = (name: string): string => path.join(import.meta.dirname, 'fixtures', name)
const fileOf = (folder: Folder): string => path.join(folder.path, 'journal.sqlite')
const stopped = ({ path: folder }: Folder): StoppedJournal =>
  new StoppedJournal(folder, { maxSize: 2 ** 30, deadLetterAge: 365 * day, dedupeWindow: day })

/** What is in a folder, to the last byte. */
function contentOf(folder: string): Readonly<Record<string, string>> {
  const hash = (name: string) =>
    createHash('sha256')
      .update(fs.readFileSync(path.join(folder, name)))
      .digest('hex')
  return Object.fromEntries(fs.readdirSync(folder).map((name) => [name, hash(name)]))
}

/** The same without who holds it. */
function journalIn(folder: Folder): readonly (readonly [string, string])[] {
  return Object.entries(contentOf(folder.path)).filter(([name]) => name.includes('.sqlite'))
}

/** The last hundred. */
async function listed(journal: StoppedJournal): Promise<string[]> {
  return (await journal.list({})).map(({ id, state }) => `${id} ${state}`)
}

/** 1 and 2 wait, 3 is dead. */
async function filled(): Promise<Folder> {
  const folder = new Folder()
  await using journal = await openJournal(folder.path)
  await accept(journal, 'a', 'b')
  journal.deadLetter(record(), 'no answer')
  await journal.flush()
  return folder
}

const damage = (folder: Folder): void => {
  const handle = fs.openSync(fileOf(folder), 'r+')
  fs.writeSync(handle, Buffer.alloc(12_000, 0xa5), 0, 12_000, 8192)
  fs.closeSync(handle)
}

describe('whoever looks leaves no trace:', () => {
  test.each<[string, (folder: Folder) => Promise<readonly string[]> | readonly string[]]>([
    ['of a gateway that has closed', () => ['3 dead', '2 waiting', '1 waiting']],
    [
      'of one that was killed, whose last events are in the log alone',
      async (folder) => {
        // Fewer than are listed, however late it is killed.
        await using writer = new Running(fixture('writer.ts'), [folder.path, '0', '80'])
        await writer.sees('out', /accepted 50 /)
        writer.kill('SIGKILL')
        await writer.ended()
        expect(fs.statSync(`${fileOf(folder)}-wal`).size).toBeGreaterThan(0)
        return []
      },
    ],
    ['without a folder', (folder) => (fs.rmSync(folder.path, { recursive: true }), [])],
    ['without a journal', (folder) => (fs.rmSync(fileOf(folder)), [])],
    [
      'of the first version',
      (folder) => {
        using database = new DatabaseSync(fileOf(folder))
        database.exec('DROP TABLE parcels; DROP TABLE gone; DROP TABLE known; PRAGMA user_version = 1')
        return ['3 dead', '2 waiting', '1 waiting']
      },
    ],
    [
      'in a folder that may not be written',
      (folder) => {
        fs.chmodSync(folder.path, 0o500)
        return ['3 dead', '2 waiting', '1 waiting']
      },
    ],
  ])('%s', async (_, prepare) => {
    using folder = await filled()
    const expected = await prepare(folder)
    const before = fs.existsSync(folder.path) && contentOf(folder.path)
    const journal = stopped(folder)
    const found = await listed(journal)
    if (expected.length > 0) expect(found).toEqual(expected)
    const [first] = found.map((line) => Number(line.split(' ')[0]))
    if (first !== undefined) expect(await journal.show(first)).toMatchObject({ id: first })
    expect(await journal.counts()).toMatchObject({ waiting: found.filter((line) => line.endsWith('waiting')).length })
    expect(fs.existsSync(folder.path) && contentOf(folder.path)).toEqual(before)
    if (fs.existsSync(folder.path)) fs.chmodSync(folder.path, 0o700)
  })

  test('what a killed gateway had stored is shown to the last', async () => {
    using folder = new Folder()
    await using writer = new Running(fixture('writer.ts'), [folder.path, '1', '900'])
    await writer.sees('out', /accepted 100 /)
    writer.kill('SIGKILL')
    const { out } = await writer.ended()
    const shown = new Set((await stopped(folder).list({ limit: 1000 })).map(({ id }) => id))
    // What is divisible by 3 was handled.
    const ids = [...out.matchAll(/^accepted (\d+) (\d+)\n/gm)].filter(([, name]) => Number(name) % 3 > 0)
    expect(ids.length).toBeGreaterThan(50)
    expect(ids.filter(([, , id]) => !shown.has(Number(id)))).toEqual([])
    // Also when only the file and its log were saved.
    fs.rmSync(`${fileOf(folder)}-shm`)
    expect((await stopped(folder).list({ limit: 1000 })).length).toBe(shown.size)
  })
})

test('a gateway starts while somebody looks again and again, and each look finds everything', async () => {
  using folder = await filled()
  let over = false
  const looking = (async () => {
    for (let looks = 0; ; looks++) {
      const found = await stopped(folder).list({ before: 4 })
      expect(found.map(({ id }) => id)).toEqual([3, 2, 1])
      if (over) return looks
      await new Promise((resolve) => void setImmediate(resolve))
    }
  })()
  for (let round = 0; round < 4; round++) {
    await using holder = new Running(fixture('writer.ts'), [folder.path, String(1 + round * 10_000)])
    await holder.sees('out', new RegExp(`accepted ${round * 10_000 + 40} `))
    if (round % 2 === 0) holder.kill('SIGKILL')
  }
  over = true
  expect(await looking).toBeGreaterThan(0)
})

test.each<[string, (folder: Folder) => void | Promise<void>, RegExp]>([
  [
    'overwritten while its log was not written back',
    async (folder) => {
      await using writer = new Running(fixture('writer.ts'), [folder.path, '0'])
      await writer.sees('out', /accepted 50 /)
      writer.kill('SIGKILL')
      await writer.ended()
      fs.writeFileSync(fileOf(folder), Buffer.alloc(fs.statSync(fileOf(folder)).size, 0xa5))
    },
    /quick_check|malformed|not a database/,
  ],
  ['overwritten', damage, /quick_check|malformed/],
  ['empty', (folder) => fs.truncateSync(fileOf(folder), 0), /the file is empty/],
  ['no SQLite', (folder) => fs.writeFileSync(fileOf(folder), 'nonsense '.repeat(1000)), /not a database/],
])('a damaged file is named and left where it is: %s', async (_, spoil, why) => {
  using folder = await filled()
  await spoil(folder)
  const before = journalIn(folder)
  const journal = stopped(folder)
  const asked = [() => journal.list({}), () => journal.show(1), () => journal.counts()]
  for (const ask of [...asked, () => journal.retry([3]), () => journal.discard({ state: 'dead' })]) {
    const error = await rejection(ask())
    expect(error).toMatchObject({ code: 'journal_failed' })
    expect(error.message).toContain(`the journal ${fileOf(folder)} is damaged: `)
    expect(error.message).toMatch(why)
    expect(journalIn(folder)).toEqual(before)
  }
})

describe('whoever changes something', () => {
  test('changes that, and takes out nothing else because it is old', async () => {
    using folder = await filled()
    {
      using database = new DatabaseSync(fileOf(folder))
      database.prepare('UPDATE dead SET at = ?1, died = ?1').run(Date.now() - 400 * day)
    }
    const journal = stopped(folder)
    expect(await journal.discard([1])).toEqual([1])
    expect(await listed(journal)).toEqual(['3 dead', '2 waiting'])
    expect(await journal.retry({ state: 'dead' })).toEqual([3])
    expect(await listed(journal)).toEqual(['3 waiting', '2 waiting'])
    await using next = await openJournal(folder.path)
    expect(await next.counts()).toMatchObject({ accepted: 3, waiting: 2, discarded: 1, expired: 0 })
  })

  test('is refused while somebody has the folder, and whoever looks is not', async () => {
    using folder = await filled()
    using _lock = FolderLock.take(folder.path)
    const journal = stopped(folder)
    expect(await rejection(journal.retry([3]))).toMatchObject({ code: 'journal_locked' })
    expect(await rejection(journal.discard([3]))).toMatchObject({ code: 'journal_locked' })
    expect(await listed(journal)).toEqual(['3 dead', '2 waiting', '1 waiting'])
  })

  test('keeps a gateway that starts in that moment waiting, and not from starting', async () => {
    using folder = await filled()
    const told = new Int32Array(new SharedArrayBuffer(8))
    const command = new Worker(fixture('lock-holder.ts'), { workerData: { folder: folder.path, told } })
    await once(command, 'message')
    Atomics.store(told, 0, 1)
    Atomics.notify(told, 0)
    await using journal = await openJournal(folder.path)
    expect(await journal.counts()).toMatchObject({ waiting: 2, dead: 1 })
  })

  test('finds nothing, and begins nothing, where no journal is', async () => {
    using folder = new Folder()
    const journal = stopped(folder)
    expect(await journal.retry({ state: 'dead' })).toEqual([])
    expect(await journal.discard([1])).toEqual([])
    expect(fs.readdirSync(folder.path)).toEqual([])
  })
})

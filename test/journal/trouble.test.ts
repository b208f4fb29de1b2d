/** The journal in trouble: a disk that is full, a file that is locked or damaged, a process or thread that is killed. */
import fs from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { describe, expect, jest, test } from '@jest/globals'
import { Running, run } from '../support/child.ts'
import { where } from '../support/requirements.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { accept, eventsOf, Folder, logged, openJournal, readableLog, record, rejection } from './support.ts'

const fixture = (name: string) => path.join(import.meta.dirname, 'fixtures', name)
const fileOf = (folder: Folder) => path.join(folder.path, 'journal.sqlite')
const mounted = where(canMount(), 'no small disk can be mounted here')

function canMount(): boolean {
  using folder = new Folder()
  using disk = new SmallDisk(folder.path, '64k')
  return disk.isMounted
}

describe('a file that cannot be written', () => {
  test('because another connection has it locked: refused in words, nothing stored, recovered by itself', async () => {
    using folder = new Folder()
    const { log, lines } = readableLog()
    await using journal = await openJournal(folder.path, {}, log)
    const [a = 0, b = 0] = await accept(journal, 'a', 'b')
    const other = new DatabaseSync(fileOf(folder))
    other.exec('BEGIN IMMEDIATE')
    journal.handled(a)
    const error = await rejection(accept(journal, 'c'))
    expect(error).toMatchObject({ code: 'journal_failed' })
    expect(error.message).toContain('locked')
    expect(journal.healthy).toMatchObject({ code: 'journal_failed' })
    journal.handled(b)
    other.exec('ROLLBACK')
    other.close()
    // The notes are tried again, and so it is known to be well without a new record.
    await journal.flush()
    expect(journal.healthy).toBeUndefined()
    expect(lines.map(({ msg }) => msg)).toEqual(['the journal cannot be written', 'the journal can be written again'])
    expect(await accept(journal, 'd')).toEqual([3])
    expect(await journal.counts()).toMatchObject({ accepted: 3, handled: 2, waiting: 1 })
  })

  test('is found well again though nothing is to be written', async () => {
    using folder = new Folder()
    const { log, lines } = readableLog()
    await using journal = await openJournal(folder.path, {}, log)
    const other = new DatabaseSync(fileOf(folder))
    other.exec('BEGIN IMMEDIATE')
    await rejection(accept(journal, 'a'))
    other.exec('ROLLBACK')
    other.close()
    await logged(lines, /can be written again/)
    expect(journal.healthy).toBeUndefined()
    expect(await eventsOf(journal)).toEqual([])
  })

  test('keeps 64 MiB of dead letters waiting, and of more says what is lost', async () => {
    using folder = new Folder()
    const { log, lines } = readableLog()
    await using journal = await openJournal(folder.path, {}, log)
    const other = new DatabaseSync(fileOf(folder))
    other.exec('BEGIN IMMEDIATE')
    const body = Buffer.alloc(15 * 2 ** 20)
    for (const peer of ['a', 'b', 'c', 'd', 'e']) journal.deadLetter(record({ peer, body }), 'nobody to ask')
    await rejection(accept(journal, 'x'))
    other.exec('ROLLBACK')
    other.close()
    await journal.flush()
    expect(await journal.counts()).toMatchObject({ accepted: 4, dead: 4, dropped: 1 })
    expect(lines.filter(({ msg }) => msg.startsWith('a dead letter is lost'))).toMatchObject([{ peer: 'e' }])
    // What is written makes room for others.
    journal.deadLetter(record({ peer: 'f', body }), 'nobody to ask')
    await journal.flush()
    expect(await journal.counts()).toMatchObject({ dead: 5, dropped: 1 })
  })

  test('when it is closed: what was not noted is there at the next start', async () => {
    using folder = new Folder()
    const { log, lines } = readableLog()
    const journal = await openJournal(folder.path, {}, log)
    const [a = 0] = await accept(journal, 'a')
    const other = new DatabaseSync(fileOf(folder))
    other.exec('BEGIN IMMEDIATE')
    journal.handled(a)
    const flushed = rejection(journal.flush())
    await journal.close()
    expect(await flushed).toMatchObject({ code: 'journal_failed' })
    expect(lines.at(-1)?.msg).toContain('handled again')
    other.exec('ROLLBACK')
    other.close()
    await using again = await openJournal(folder.path)
    expect(await eventsOf(again)).toEqual(['a'])
  })
})

mounted.test(
  'a disk that is full: refused, nothing of it stored, notes kept, and recovered when there is room',
  async () => {
    using folder = new Folder()
    using disk = new SmallDisk(folder.path, '4m')
    const { log, lines } = readableLog()
    const event = Buffer.alloc(8000, 'e')
    {
      await using journal = await openJournal(folder.path, {}, log)
      const [a = 0, b = 0] = await accept(journal, 'a', 'b')
      disk.fill()
      const error = await rejection(journal.accept([record({ event }), record({ event })]))
      expect(error).toMatchObject({ code: 'journal_failed' })
      expect(error.message).toContain('full')
      journal.handled(a)
      journal.dead(b, { attempts: 1, error: 'it failed' })
      const flushed = journal.flush()
      expect(await rejection(journal.accept([record({ event })]))).toMatchObject({ code: 'journal_failed' })
      expect(journal.healthy).toMatchObject({ code: 'journal_failed' })
      expect(await eventsOf(journal)).toEqual(['a', 'b'])
      disk.makeRoom()
      await flushed
      expect(journal.healthy).toBeUndefined()
      expect(await accept(journal, 'c')).toEqual([3])
    }
    expect(lines.map(({ msg }) => msg)).toEqual(['the journal cannot be written', 'the journal can be written again'])
    await using journal = await openJournal(folder.path)
    expect(await journal.counts()).toMatchObject({ accepted: 3, handled: 1, dead: 1, waiting: 1 })
  },
)

describe('a data folder', () => {
  test('is refused to a second process, in words, with the first one; and is free when that is killed', async () => {
    using folder = new Folder()
    await using holder = new Running(fixture('holder.ts'), [folder.path])
    await holder.sees('out', /open/)
    const error = await rejection(openJournal(folder.path))
    expect(error).toMatchObject({ code: 'journal_locked' })
    expect(error.message).toMatch(/in use by process \d+: a data folder belongs to one gateway/)
    holder.kill('SIGKILL')
    await holder.ended()
    await using journal = await openJournal(folder.path)
    expect(await accept(journal, 'a')).toEqual([1])
  })

  test('is refused to the same process a second time, and free after a close', async () => {
    using folder = new Folder()
    const first = await openJournal(folder.path)
    expect(await rejection(openJournal(folder.path))).toMatchObject({ code: 'journal_locked' })
    expect(await accept(first, 'a')).toEqual([1])
    expect((await run(fixture('holder.ts'), [folder.path])).code).not.toBe(0)
    await first.close()
    await using second = await openJournal(folder.path)
    expect(await accept(second, 'b')).toEqual([2])
  })

  test('that cannot be made is refused in words', async () => {
    using folder = new Folder()
    const file = path.join(folder.path, 'file')
    fs.writeFileSync(file, '')
    const error = await rejection(openJournal(path.join(file, 'data')))
    expect(error).toMatchObject({ code: 'journal_failed' })
    expect(error.message).toContain('cannot be used')
  })
})

describe('a damaged file is set aside and named, and a new one begun:', () => {
  const large = { event: Buffer.alloc(3000, 'e') }
  const middle = (file: string) => {
    const handle = fs.openSync(file, 'r+')
    const { size } = fs.fstatSync(handle)
    for (let at = 8192; at < size; at += 4096) fs.writeSync(handle, Buffer.alloc(600, 0xa5), 0, 600, at)
    fs.closeSync(handle)
  }
  test.each<[string, (file: string) => void, RegExp]>([
    ['bytes overwritten in the middle', middle, /quick_check|malformed/],
    ['truncated', (file) => fs.truncateSync(file, 40_960), /malformed/],
    ['empty', (file) => fs.truncateSync(file, 0), /the file is empty/],
    ['no SQLite', (file) => fs.writeFileSync(file, 'nonsense '.repeat(1000)), /not a database/],
    ['of another schema', (file) => execute(file, 'PRAGMA user_version = 99'), /version 99, expected 3/],
    ['of another program', (file) => execute(file, 'PRAGMA application_id = 5'), /it is no journal/],
  ])('%s', async (_, damage, why) => {
    using folder = new Folder()
    {
      await using journal = await openJournal(folder.path)
      await journal.accept(Array.from({ length: 100 }, () => record(large)))
    }
    damage(fileOf(folder))
    const damaged = fs.readFileSync(fileOf(folder))
    const { log, lines } = readableLog()
    await using journal = await openJournal(folder.path, {}, log)
    const [line] = lines
    expect(line).toMatchObject({ level: 50, msg: expect.stringContaining('the journal was damaged') })
    expect(line?.['reason']).toMatch(why)
    const aside = String(line?.['file'])
    expect(path.relative(folder.path, aside)).toMatch(/^journal\.damaged-[\dTZ.-]+\.sqlite$/)
    expect(fs.readFileSync(aside).equals(damaged)).toBe(true)
    expect(await accept(journal, 'a')).toEqual([1])
    expect(await journal.counts()).toMatchObject({ accepted: 1 })
  })

  test('gone, with its write-ahead log still there', async () => {
    using folder = new Folder()
    await using writer = new Running(fixture('writer.ts'), [folder.path])
    await writer.sees('out', /accepted 50 /)
    writer.kill('SIGKILL')
    await writer.ended()
    fs.rmSync(fileOf(folder))
    const { log, lines } = readableLog()
    await using journal = await openJournal(folder.path, {}, log)
    expect(lines[0]).toMatchObject({ reason: 'its write-ahead log is there, but not the file' })
    expect(fs.statSync(`${String(lines[0]?.['file'])}-wal`).size).toBeGreaterThan(0)
    expect(await accept(journal, 'a')).toEqual([1])
  })
})

test('kill -9 in the middle of it, five times: everything that was answered is there, and the count adds up', async () => {
  using folder = new Folder()
  const answered = new Map<string, number>()
  let next = 0
  for (let round = 0; round < 5; round++) {
    await using writer = new Running(fixture('writer.ts'), [folder.path, String(next)])
    await writer.sees('out', new RegExp(`accepted ${next + 100 + 37 * round} `))
    writer.kill('SIGKILL')
    const { out } = await writer.ended()
    for (const [, name = '', id] of out.matchAll(/^accepted (\d+) (\d+)\n/gm)) answered.set(name, Number(id))
    next += 10_000
  }
  await using journal = await openJournal(folder.path)
  const counts = await journal.counts()
  expect(counts.accepted).toBe(counts.handled + counts.waiting + counts.dead)
  expect(counts.accepted).toBeGreaterThanOrEqual(answered.size)
  // Each is known by its key, under the number that was answered.
  for (const [name, id] of answered) {
    const accepted = await journal.accept([record({ key: `key ${name}` })])
    expect([name, ...accepted]).toEqual([name, { id, known: true }])
  }
  const unhandled = [...answered.keys()].filter((name) => Number(name) % 3 !== 0)
  const kept = await journal.load([...answered.values()])
  const there = new Set(kept.map(({ event }) => Buffer.from(event).toString()))
  expect(unhandled.filter((name) => !there.has(name))).toEqual([])
  expect(kept.every(({ event, body }) => Buffer.from(event).equals(body ?? Buffer.alloc(0)))).toBe(true)
})

test('a worker thread that ends in the middle of it is replaced: what was under way fails, what was answered and noted is there', async () => {
  using folder = new Folder()
  const { code, out, error } = await run(fixture('crashes.ts'), [folder.path])
  expect([code, error]).toEqual([0, ''])
  const { answered, letters, codes, counts, healthy } = JSON.parse(out) as {
    answered: number[]
    letters: number
    codes: string[]
    counts: { accepted: number; handled: number; waiting: number; dead: number }
    healthy: boolean
  }
  expect({ codes, healthy }).toEqual({ codes: ['journal_failed'], healthy: true })
  expect(counts).toMatchObject({
    accepted: answered.length + letters,
    dead: letters,
    handled: answered.filter((number) => number % 2 === 0).length,
    waiting: answered.filter((number) => number % 2 === 1).length,
  })
  await using journal = await openJournal(folder.path)
  const odd = answered.filter((number) => number % 2 === 1).map(String)
  expect((await eventsOf(journal)).toSorted()).toEqual(odd.toSorted())
})

function execute(file: string, sql: string): void {
  const database = new DatabaseSync(file)
  database.exec(sql)
  database.close()
}

test('a worker thread that ends while the journal is closed has a successor, which writes what was noted', async () => {
  using folder = new Folder()
  const { log, lines } = readableLog()
  const listened = jest.spyOn(Worker.prototype, 'on')
  const journal = await openJournal(folder.path, {}, log)
  const [worker] = listened.mock.contexts as readonly Worker[]
  listened.mockRestore()
  const [a = 0, b = 0] = await accept(journal, 'a', 'b')
  const other = new DatabaseSync(fileOf(folder))
  other.exec('BEGIN IMMEDIATE')
  journal.handled(a)
  await rejection(accept(journal, 'c'))
  journal.handled(b)
  const closed = journal.close()
  await worker?.terminate()
  other.exec('ROLLBACK')
  other.close()
  await closed
  expect(lines.map(({ msg }) => msg)).not.toContainEqual(expect.stringContaining('closed before it could be written'))
  await using again = await openJournal(folder.path)
  expect(await again.counts()).toMatchObject({ accepted: 2, handled: 2, waiting: 0 })
})

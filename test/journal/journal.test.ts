/** The journal as the gateway uses it: real files, and the real thread. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, jest, test } from '@jest/globals'
import type { Journal } from '../../src/journal/journal.ts'
import { atLull } from '../../src/journal/lull.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { accept, day, eventsOf, Folder, logged, openJournal, readableLog, record, rejection } from './support.ts'

describe('what is accepted', () => {
  test('is there after a restart, in order, with its content', async () => {
    using folder = new Folder()
    const body = Buffer.from('a whole mail')
    {
      await using journal = await openJournal(folder.path)
      const calls = [journal.accept([record({ body }), record({ body })]), journal.accept([record({ lane: 'b' })])]
      expect((await Promise.all(calls)).flat()).toEqual([1, 2, 3].map((id) => ({ id, known: false })))
      expect(await journal.accept([])).toEqual([])
    }
    await using journal = await openJournal(folder.path)
    const rows = await journal.waiting(0, 10)
    expect(rows.map(({ id, lane, attempts, due }) => [id, lane, attempts, due])).toEqual([
      [1, 'a', 0, 0],
      [2, 'a', 0, 0],
      [3, 'b', 0, 0],
    ])
    const loaded = await journal.load([3, 99, 2])
    expect(loaded.map(({ id, body: stored }) => [id, stored && Buffer.from(stored).toString()])).toEqual([
      [3, undefined],
      [2, 'a whole mail'],
    ])
    expect(await journal.waiting(1, 1)).toEqual([expect.objectContaining({ id: 2, route: 'gateway.yaml:3' })])
  })

  test('is known by its key for the window, also within one call and one turn', async () => {
    using folder = new Folder()
    await using journal = await openJournal(folder.path)
    const keyed = (mayRepeat = true) => record({ key: 'SM1', mayRepeat })
    const calls = [journal.accept([keyed(), keyed()]), journal.accept([keyed(), record()])]
    expect(await Promise.all(calls)).toEqual([
      [
        { id: 1, known: false },
        { id: 1, known: true },
      ],
      [
        { id: 1, known: true },
        { id: 2, known: false },
      ],
    ])
    // Another protocol's key is another one; one that cannot be a repetition takes its place.
    expect(await journal.accept([record({ protocol: 'sms', key: 'SM1' })])).toEqual([{ id: 3, known: false }])
    expect(await journal.accept([keyed(false)])).toEqual([{ id: 4, known: false }])
    journal.handled(4)
    await journal.flush()
    expect(await journal.accept([keyed()])).toEqual([{ id: 4, known: true }])
  })

  test('is a new one when its key is older than the window', async () => {
    using folder = new Folder()
    await using journal = await openJournal(folder.path, { dedupeWindow: 0 })
    const keyed = record({ key: 'k' })
    expect(await journal.accept([keyed])).toEqual([{ id: 1, known: false }])
    expect(await journal.accept([keyed])).toEqual([{ id: 2, known: false }])
  })

  test('never gets the number of another one, though that is handled and the journal was closed', async () => {
    using folder = new Folder()
    {
      await using journal = await openJournal(folder.path)
      for (const id of await accept(journal, 'a', 'b')) journal.handled(id)
    }
    await using journal = await openJournal(folder.path)
    expect(await accept(journal, 'c')).toEqual([3])
  })

  test('is for nobody else to read', async () => {
    using folder = new Folder()
    await using journal = await openJournal(folder.path)
    await accept(journal, 'secret')
    for (const name of fs.readdirSync(folder.path).filter((file) => file.startsWith('journal.sqlite'))) {
      expect([name, fs.statSync(path.join(folder.path, name)).mode & 0o777]).toEqual([name, 0o600])
    }
  })
})

describe('notes', () => {
  test('are on disk after a flush, and after a close', async () => {
    using folder = new Folder()
    {
      await using journal = await openJournal(folder.path)
      const [a = 0, b = 0, c = 0] = await accept(journal, 'a', 'b', 'c')
      journal.handled(a)
      journal.failed(b, { attempts: 2, due: 1234.5, error: 'it failed' })
      await journal.flush()
      expect(await journal.counts()).toMatchObject({ accepted: 3, handled: 1, waiting: 2 })
      expect(await journal.waiting(0, 1)).toEqual([expect.objectContaining({ id: b, attempts: 2, due: 1235 })])
      await journal.begun([b, c])
      journal.dead(c, { attempts: 1, error: 'it failed for ever' })
      journal.deadLetter(record({ event: Buffer.from('d') }), 'nobody to ask')
    }
    await using journal = await openJournal(folder.path)
    expect(await journal.counts()).toMatchObject({ accepted: 4, handled: 1, waiting: 1, dead: 2 })
    const seen = (await journal.list()).map(({ id, state, attempts, error }) => [id, state, attempts, error])
    expect(seen).toEqual([
      [4, 'dead', 0, 'nobody to ask'],
      [3, 'dead', 1, 'it failed for ever'],
      [2, 'waiting', 3, 'it failed'],
    ])
  })

  test('that somebody waits for do not wait for company, also when they come while others are written', async () => {
    using folder = new Folder()
    await using journal = await openJournal(folder.path)
    const [a = 0, b = 0] = await accept(journal, 'a', 'b')
    // The time after which notes go alone never comes.
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'performance', 'queueMicrotask', 'nextTick'] })
    try {
      const first = journal.begun([a])
      // It is on its way.
      await new Promise<void>((resolve) => atLull(resolve, 1))
      await Promise.all([first, journal.begun([b])])
    } finally {
      jest.useRealTimers()
    }
    expect((await journal.waiting(0, 2)).map(({ attempts }) => attempts)).toEqual([1, 1])
  })

  test('on a record that is gone change nothing', async () => {
    using folder = new Folder()
    await using journal = await openJournal(folder.path)
    const [a = 0] = await accept(journal, 'a')
    journal.handled(a)
    journal.handled(a)
    journal.failed(a, { attempts: 1, due: 0, error: '' })
    journal.dead(a, { attempts: 1, error: '' })
    journal.handled(77)
    await journal.flush()
    expect(await journal.counts()).toMatchObject({ accepted: 1, handled: 1, waiting: 0, dead: 0 })
  })
})

describe('people', () => {
  test('see pages of a list, filtered, the newest first, and one record whole', async () => {
    using folder = new Folder()
    await using journal = await openJournal(folder.path)
    const before = Date.now()
    await accept(journal, 'a', 'b', 'c')
    await journal.accept([
      record({ protocol: 'sms', route: 'gateway.yaml:9', direction: 'out', peer: '+44 7700 900123' }),
    ])
    journal.dead(2, { attempts: 5, error: 'it failed' })
    await journal.flush()
    const ids = async (filter: Parameters<Journal['list']>[0]) => (await journal.list(filter)).map(({ id }) => id)
    expect(await ids({})).toEqual([4, 3, 2, 1])
    expect(await ids({ limit: 2 })).toEqual([4, 3])
    expect(await ids({ limit: 2, before: 3 })).toEqual([2, 1])
    expect(await ids({ state: 'dead' })).toEqual([2])
    expect(await ids({ protocol: 'mqtt', state: 'waiting' })).toEqual([3, 1])
    expect(await ids({ route: 'gateway.yaml:9' })).toEqual([4])
    expect(await ids({ direction: 'in', route: 'gateway.yaml:9' })).toEqual([])
    expect(await ids({ olderThan: before })).toEqual([])
    expect(await ids({ newerThan: before })).toEqual([4, 3, 2, 1])
    const shown = await journal.show(2)
    expect(shown).toMatchObject({ id: 2, state: 'dead', error: 'it failed', attempts: 5, peer: '127.0.0.1:4000' })
    expect(Buffer.from(shown?.event ?? []).toString()).toBe('b')
    expect(shown?.died).toBeGreaterThanOrEqual(before)
    expect(await journal.show(77)).toBeUndefined()
  })

  test('have dead letters tried again and records taken out, and whoever delivers them is told', async () => {
    using folder = new Folder()
    await using journal = await openJournal(folder.path)
    const told: unknown[] = []
    journal.watch({
      retried: (rows) => told.push(['retried', rows.map(({ id, attempts, due }) => [id, attempts, due])]),
      discarded: (gone) => told.push(['discarded', gone]),
    })
    for (const id of await accept(journal, 'a', 'b', 'c', 'd')) {
      if (id !== 1) journal.dead(id, { attempts: 5, error: 'it failed' })
    }
    await journal.flush()
    expect(await journal.retry([2, 1, 77])).toEqual([2])
    expect(await journal.retry({ protocol: 'sms' })).toEqual([])
    expect(await journal.discard({ state: 'dead' })).toEqual([4, 3])
    expect(await journal.discard([1])).toEqual([1])
    expect(told).toEqual([
      ['retried', [[2, 0, 0]]],
      ['discarded', [4, 3]],
      ['discarded', [1]],
    ])
    expect(await journal.counts()).toMatchObject({ accepted: 4, waiting: 1, dead: 0, discarded: 3, bytes: 130 })
  })

  test('do not stop what is accepted in the meantime, however much they change', async () => {
    using folder = new Folder()
    await using journal = await openJournal(folder.path)
    await journal.accept(Array.from({ length: 20_000 }, () => record()))
    const order: string[] = []
    const accepted = Promise.withResolvers<void>()
    let steps = 0
    const discardedSome = () => {
      if (++steps > 1) return
      // At once: however busy the machine is, most of it is still to be done.
      accept(journal, 'x')
        .then(() => order.push('accepted'))
        .then(() => accepted.resolve(), accepted.reject)
    }
    journal.watch({ retried: () => undefined, discarded: discardedSome })
    const discarded = await journal.discard({})
    order.push('discarded')
    await accepted.promise
    expect([discarded.length, steps > 1]).toEqual([20_000, true])
    expect(order).toEqual(['accepted', 'discarded'])
    expect(await eventsOf(journal)).toEqual(['x'])
  })
})

test('dead letters of an age are gone at the next look, and counted', async () => {
  using folder = new Folder()
  {
    await using journal = await openJournal(folder.path)
    journal.deadLetter(record(), 'dead')
  }
  await using journal = await openJournal(folder.path, { deadLetterAge: -1 })
  while ((await journal.counts()).expired === 0);
  expect(await journal.counts()).toMatchObject({ accepted: 1, dead: 0, expired: 1, bytes: 0 })
})

describe('a journal that is full', () => {
  test('refuses until there is room, and says so in its health', async () => {
    using folder = new Folder()
    const { log, lines } = readableLog()
    await using journal = await openJournal(folder.path, { maxSize: 300 }, log)
    const [a = 0, b = 0] = await accept(journal, 'a', 'b')
    expect(await rejection(accept(journal, 'c'))).toMatchObject({ code: 'journal_full' })
    expect(journal.healthy).toMatchObject({ code: 'journal_full' })
    journal.deadLetter(record({ event: Buffer.from('lost') }), 'nobody to ask')
    await journal.flush()
    expect(await journal.counts()).toMatchObject({ accepted: 2, dead: 0, dropped: 1 })
    expect(lines.filter(({ msg }) => msg === 'a dead letter is lost: the journal is full')).toEqual([
      expect.objectContaining({ error: 'nobody to ask', route: 'gateway.yaml:3' }),
    ])
    journal.handled(a)
    journal.handled(b)
    await journal.flush()
    expect(journal.healthy).toBeUndefined()
    expect(await accept(journal, 'c')).toEqual([3])
  })
})

test('a hundred thousand records: all of them found page by page, one among them by its rule, and what is accepted comes in between', async () => {
  using folder = new Folder()
  const many = 100_000
  {
    await using journal = await openJournal(folder.path)
    for (let at = 0; at < many; at += 1000) {
      await journal.accept(
        Array.from({ length: 1000 }, () => record({ route: at === 5000 ? 'gateway.yaml:9' : 'gateway.yaml:3' })),
      )
    }
  }
  await using journal = await openJournal(folder.path)
  let [seen, last] = [0, 0]
  for (let rows = await journal.waiting(0, 2000); rows.length > 0; rows = await journal.waiting(last, 2000)) {
    expect(rows[0]?.id).toBe(last + 1)
    seen += rows.length
    last = rows.at(-1)?.id ?? 0
  }
  expect([seen, last]).toEqual([many, many])
  const order: string[] = []
  const list = journal.list({ route: 'gateway.yaml:9', limit: 3 }).then((rows) => (order.push('listed'), rows))
  await accept(journal, 'x').then(() => order.push('accepted'))
  expect((await list).map(({ id }) => id)).toEqual([6000, 5999, 5998])
  expect(order).toEqual(['accepted', 'listed'])
  expect((await journal.list({ limit: 1 })).map(({ id }) => id)).toEqual([many + 1])
})

test('what cannot go to another thread is refused, and ends nothing', async () => {
  using folder = new Folder()
  const { log, lines } = readableLog()
  await using journal = await openJournal(folder.path, {}, log)
  await accept(journal, 'a')
  const impossible = record({ lane: (() => undefined) as unknown as string })
  expect(await rejection(journal.accept([impossible]))).toMatchObject({ code: 'journal_failed' })
  await logged(lines, /open again/)
  expect(await accept(journal, 'b')).toEqual([2])
  expect(await rejection(journal.accept([record({ lane: null as unknown as string })]))).toMatchObject({
    code: 'journal_failed',
  })
  expect(await accept(journal, 'c')).toEqual([3])
})

test('what was asked of a journal before it is closed is answered, and what comes later is refused', async () => {
  using folder = new Folder()
  const journal = await openJournal(folder.path)
  const before = Promise.all([accept(journal, 'a'), journal.counts()])
  await Promise.all([journal.close(), journal.close()])
  expect(await before).toEqual([[1], expect.objectContaining({ accepted: 1 })])
  for (const later of [accept(journal, 'a'), journal.list(), journal.flush()]) {
    expect(await rejection(later)).toMatchObject({ code: 'journal_failed', message: 'the journal is closed' })
  }
  expect(fs.readdirSync(folder.path)).not.toContain('journal.sqlite-wal')
})

test('the options have their units and defaults', () => {
  expect(journalOptions.parse({})).toEqual({
    maxSize: 2 ** 30,
    deadLetterAge: 30 * day,
    dedupeWindow: day,
    attempts: 5,
    backoff: 1000,
    maxBackoff: 300_000,
    concurrency: 64,
  })
  expect(() => journalOptions.parse({ maxsize: '1GiB' })).toThrow('maxsize')
})

/** Whoever delivers what is in the journal: order, attempts, bounds, and what the log says. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { AttemptSettled, StoredRecord } from '../../src/asgi/delivery.ts'
import { SignalboxError, permanent } from '../../src/runtime/errors.ts'
import { Attempts, counts, newFolder, record, start, textOf, type Deliver } from './processes.ts'
import { readableLog } from './support.ts'

test('what is accepted is delivered as it was, with what only this process has of it, and is handled then', async () => {
  const attempts = new Attempts()
  const process = await start(newFolder(), attempts.deliver)
  const live = { socket: 'open' }
  const body = Buffer.from('the whole mail')
  const [id = 0] = await process.accept(record('one', { live, body }))
  await attempts.count(1)
  expect(attempts.begun[0]?.record).toMatchObject({
    id,
    direction: 'in',
    scope: { type: 'toy' },
    event: { type: 'toy.text', text: 'one' },
    attempt: 1,
    redelivered: false,
  })
  expect(attempts.begun[0]?.record.live).toBe(live)
  expect(attempts.begun[0]?.record.body).toEqual(body)
  expect(await counts(process)).toEqual({ accepted: 1, handled: 0, waiting: 1, dead: 0 })
  attempts.begun[0]?.end.resolve()
  await process.dispatcher.of('toy').attempted(id)
  expect(await counts(process)).toEqual({ accepted: 1, handled: 1, waiting: 0, dead: 0 })
})

test('however many of one lane are over as soon as they begin, each is handled once and in order', async () => {
  const texts: string[] = []
  const { promise: begun, resolve: hold } = Promise.withResolvers<AttemptSettled>()
  const target = (stored: StoredRecord, settled: AttemptSettled) => {
    // The others stand behind the first one.
    if (texts.push(textOf(stored)) === 1) return hold(settled)
    settled()
    settled(new Error('said twice'))
  }
  const process = await start(newFolder(), () => Promise.resolve(), { target })
  const all = Array.from({ length: 20_000 }, (_, index) => record(String(index), { lane: 'a' }))
  await process.accept(...all)
  const settled = await begun
  settled()
  while ((await counts(process)).waiting > 0) await process.journal.flush()
  expect(texts).toEqual(all.map((_, index) => String(index)))
  expect(await counts(process)).toEqual({ accepted: 20_000, handled: 20_000, waiting: 0, dead: 0 })
})

describe('order', () => {
  test('those of one lane come one after the other, those of others at the same time', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    await process.accept(record('a1', { lane: 'a' }), record('a2', { lane: 'a' }), record('b1', { lane: 'b' }))
    await process.accept(record('free'))
    await attempts.count(3)
    expect(attempts.texts).toEqual(['a1', 'b1', 'free'])
    attempts.begun[0]?.end.resolve()
    await attempts.count(4)
    expect(attempts.texts.at(-1)).toBe('a2')
  })

  test('a rule chooses by what: a param, or a field of the scope', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    const inRoom = (text: string, room: string) =>
      record(text, { resolution: { params: { room }, route: 'a.yaml:1', delivery: { key: 'room' } } })
    await process.accept(inRoom('k1', 'kitchen'), inRoom('k2', 'kitchen'), inRoom('h1', 'hall'))
    await attempts.count(2)
    expect(attempts.texts).toEqual(['k1', 'h1'])
  })

  test('one that fails is tried again later, and blocks nobody behind it', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    await process.accept(record('poison', { lane: 'a' }), record('next', { lane: 'a' }))
    await attempts.count(1)
    attempts.begun[0]?.end.reject(new Error('no'))
    await attempts.count(2)
    expect(attempts.texts[1]).toBe('next')
    attempts.begun[1]?.end.resolve()
    await attempts.count(3)
    expect(attempts.begun[2]?.record).toMatchObject({ attempt: 2, redelivered: false, event: { text: 'poison' } })
    attempts.begun[2]?.end.resolve()
  })
})

describe('attempts', () => {
  test('after the last one it is a dead letter with the error of that', async () => {
    let tried = 0
    const process = await start(newFolder(), () => Promise.reject(new Error(`no ${++tried}`)), { attempts: 3 })
    const [id = 0] = await process.accept(record('poison'))
    while ((await counts(process)).dead === 0) await process.dispatcher.of('toy').attempted(id)
    expect(tried).toBe(3)
    expect(await process.journal.show(id)).toMatchObject({ state: 'dead', attempts: 3, error: 'no 3' })
  })

  test.each([
    ['permanent(error)', permanent(new Error('not ours'))],
    ['an address that no rule takes any more', new SignalboxError('no_route', 'no rule')],
  ])('%s makes it a dead letter at once', async (_, error) => {
    const process = await start(newFolder(), () => Promise.reject(error))
    const [id = 0] = await process.accept(record('poison'))
    await process.dispatcher.of('toy').attempted(id)
    expect(await counts(process)).toEqual({ accepted: 1, handled: 0, waiting: 0, dead: 1 })
    expect(await process.journal.show(id)).toMatchObject({ attempts: 1, error: error.message })
  })

  test('a dead letter that a person wants tried again is', async () => {
    let broken = true
    const process = await start(newFolder(), () => (broken ? Promise.reject(permanent('no')) : Promise.resolve()))
    const [id = 0] = await process.accept(record('poison'))
    await process.dispatcher.of('toy').attempted(id)
    broken = false
    expect(await process.journal.retry([id])).toEqual([id])
    await process.dispatcher.of('toy').attempted(id)
    expect(await counts(process)).toEqual({ accepted: 1, handled: 1, waiting: 0, dead: 0 })
  })

  test('one that never had an attempt is tried when a person wants it', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    process.dispatcher.of('toy').bury(record('lost'), new Error('nobody was left to ask'))
    while ((await counts(process)).dead === 0) await process.journal.flush()
    await process.journal.retry({ state: 'dead' })
    await attempts.count(1)
    expect(attempts.begun[0]?.record).toMatchObject({ event: { text: 'lost' }, attempt: 1 })
    attempts.begun[0]?.end.resolve()
  })

  test('what goes out in one lane keeps its order, also when the first is tried twice', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    await process.accept(...['1', '2'].map((text) => record(text, { direction: 'out', lane: 'a' })))
    await attempts.count(1)
    attempts.begun[0]?.end.reject(new Error('not yet'))
    for (const count of [2, 3]) {
      await attempts.count(count)
      attempts.begun[count - 1]?.end.resolve()
    }
    expect(attempts.texts).toEqual(['1', '1', '2'])
  })

  test('what a person takes out while it waits for its turn is never tried', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    const [, second = 0, third = 0] = await process.accept(
      ...['1', '2', '3'].map((text) => record(text, { lane: 'a' })),
    )
    await attempts.count(1)
    await process.journal.discard([second])
    attempts.begun[0]?.end.resolve()
    await attempts.count(2)
    expect(attempts.texts).toEqual(['1', '3'])
    attempts.begun[1]?.end.resolve()
    await process.dispatcher.of('toy').attempted(third)
  })
})

test('of one rule no more are handled at once than it says, and other rules do not wait for it', async () => {
  const attempts = new Attempts()
  const process = await start(newFolder(), attempts.deliver, { concurrency: 2 })
  const slow = (text: string) =>
    record(text, { resolution: { params: {}, route: 'slow', delivery: { concurrency: 1 } } })
  await process.accept(slow('s1'), slow('s2'), record('1'), record('2'), record('3'))
  await attempts.count(3)
  expect(attempts.texts).toEqual(['s1', '1', '2'])
  attempts.begun[0]?.end.resolve()
  await attempts.count(4)
  expect(attempts.texts[3]).toBe('s2')
})

test('a failure is one line with the scope, the rule, the peer and the record', async () => {
  const { log, lines } = readableLog()
  const target = ({ attempt }: StoredRecord, settled: AttemptSettled) =>
    settled(new Error(`no ${attempt}`), `scope-${attempt}`)
  const process = await start(newFolder(), () => Promise.resolve(), { target, log, attempts: 2 })
  const scope = { type: 'toy', client: ['192.0.2.7', 4711] as const, server: null }
  const [id = 0] = await process.accept(record('poison', { scope }))
  while ((await counts(process)).dead === 0) await process.journal.flush()
  const known = { record: id, protocol: 'toy', route: 'a.yaml:1', peer: '192.0.2.7:4711' }
  expect(lines.filter(({ level }) => level >= 40)).toMatchObject([
    { ...known, level: 40, scope: 'scope-1', attempt: 1, msg: expect.stringMatching(/^an event failed.*no 1$/) },
    { ...known, level: 50, scope: 'scope-2', attempt: 2, msg: 'an event is a dead letter: no 2' },
  ])
})

test('whatever fails how often, each record is handled once or dead, and first attempts keep the order of their lane', async () => {
  const plan = fc.array(fc.record({ lane: fc.constantFrom('', 'a', 'b'), failures: fc.nat({ max: 3 }) }), {
    maxLength: 25,
  })
  await fc.assert(
    fc.asyncProperty(plan, fc.integer({ min: 1, max: 4 }), async (records, entries) => {
      const left = records.map(({ failures }) => failures)
      const firsts: string[] = []
      const handled: number[] = []
      const deliver: Deliver = async (stored) => {
        const number = Number(textOf(stored))
        if (stored.attempt === 1) firsts.push(`${stored.lane}:${number}`)
        await Promise.resolve()
        const failures = left[number] ?? 0
        if (failures > 0) {
          left[number] = failures - 1
          throw new Error('not yet')
        }
        handled.push(number)
      }
      const process = await start(newFolder(), deliver, {
        attempts: 3,
        limits: { entries, rule: entries, lane: 2, page: 2, bytes: 50 },
      })
      await Promise.all(records.map(({ lane }, number) => process.accept(record(String(number), { lane }))))
      while ((await counts(process)).waiting > 0) await process.journal.flush()
      const dead = records.flatMap(({ failures }, number) => (failures >= 3 ? [number] : []))
      expect(handled.toSorted((a, b) => a - b)).toEqual([...records.keys()].filter((number) => !dead.includes(number)))
      expect((await counts(process)).dead).toBe(dead.length)
      for (const lane of ['a', 'b']) {
        const seen = firsts.filter((first) => first.includes(` ${lane}:`)).map((first) => Number(first.split(':')[1]))
        expect(seen).toEqual(seen.toSorted((a, b) => a - b))
      }
      await process.leave()
    }),
    { numRuns: 25 },
  )
})

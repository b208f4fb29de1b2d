/** Whoever delivers what is in the journal: order, attempts, bounds, and what is left for the next process. */
import { afterEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { once } from 'node:events'
import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Log } from '../../src/asgi/context.ts'
import type { AttemptSettled, DeliveryOptions, NewRecord, StoredRecord } from '../../src/asgi/delivery.ts'
import { Dispatcher, type DispatcherParts } from '../../src/journal/dispatcher.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { SignalboxError, permanent } from '../../src/runtime/errors.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { whenSettled } from '../../src/runtime/settled.ts'
import { readableLog } from './support.ts'

const folders: string[] = []
const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function newFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'signalbox-dispatcher-'))
  folders.push(folder)
  return folder
}

interface Process {
  readonly journal: Journal
  readonly dispatcher: Dispatcher
  accept(...records: readonly NewRecord[]): Promise<readonly number[]>
  /** Ends as a process does that is killed: nothing more is begun, and what runs never ends. */
  leave(): Promise<void>
}

interface StartOptions extends Partial<DispatcherParts['options']>, Pick<DispatcherParts, 'limits'> {
  /** What the one rule says now. */
  readonly rule?: DeliveryOptions
  readonly log?: Log
  /** Makes the attempts in the place of `deliver`. */
  readonly target?: (record: StoredRecord, settled: AttemptSettled) => void
}

type Deliver = (record: StoredRecord) => Promise<void>

async function start(folder: string, deliver: Deliver, options: StartOptions = {}): Promise<Process> {
  const { limits, rule, log = silentLog, target, ...attempts } = options
  const settings = { ...journalOptions.parse({}), backoff: 1, maxBackoff: 5, ...attempts }
  const journal = await Journal.open({ folder, ...settings }, silentLog)
  const dispatcher = new Dispatcher({
    journal,
    log,
    options: settings,
    ...(limits && { limits }),
    target: () => ({ deliver: target ?? ((stored, settled) => whenSettled(deliver(stored), settled)) }),
    resolve: () => ({ rules: [], params: {}, route: 'a.yaml:1', ...(rule && { delivery: rule }) }),
  })
  journal.watch(dispatcher)
  await dispatcher.prepare()
  await dispatcher.start()
  const leave = async () => {
    dispatcher.stop()
    await journal.close()
  }
  closers.push(leave)
  return {
    journal,
    dispatcher,
    leave,
    accept: async (...records) =>
      (await dispatcher.of('toy').accept(records)).map(({ id }) => id ?? fail('it was known before')),
  }
}

function fail(why: string): never {
  throw new Error(why)
}

const record = (text: string, more: Partial<NewRecord> = {}): NewRecord => ({
  direction: 'in',
  scope: { type: 'toy', client: null, server: null },
  event: { type: 'toy.text', text } as NewRecord['event'],
  resolution: { params: {}, route: 'a.yaml:1' },
  ...more,
})
const textOf = ({ event }: StoredRecord): string => String(Reflect.get(event, 'text'))

/** Attempts as they come; the test settles them. */
class Attempts {
  readonly begun: { readonly record: StoredRecord; readonly end: PromiseWithResolvers<void> }[] = []
  readonly #news = new EventEmitter()

  readonly deliver: Deliver = (stored) => {
    const end = Promise.withResolvers<void>()
    this.begun.push({ record: stored, end })
    this.#news.emit('attempt')
    return end.promise
  }

  get texts(): readonly string[] {
    return this.begun.map(({ record: stored }) => textOf(stored))
  }

  async count(number: number): Promise<void> {
    while (this.begun.length < number) await once(this.#news, 'attempt')
  }
}

const counts = async ({ journal }: Process) => {
  await journal.flush()
  const { accepted, handled, waiting, dead } = await journal.counts()
  return { accepted, handled, waiting, dead }
}

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

/** What became of a record that was put. */
function putInto({ dispatcher }: Process, one: NewRecord): Promise<number> {
  return new Promise((resolve, reject) => {
    dispatcher.of('toy').put(one, { stored: resolve, refused: reject })
  })
}

describe('without a promise', () => {
  test('a record is stored and delivered as any other, and whoever put it is told its id', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    const id = await putInto(process, record('one', { key: 'once' }))
    await attempts.count(1)
    expect(attempts.begun[0]?.record).toMatchObject({ id, event: { text: 'one' }, attempt: 1 })
    expect(await putInto(process, record('one', { key: 'once' }))).toBe(id)
    attempts.begun[0]?.end.resolve()
    await process.dispatcher.of('toy').attempted(id)
    expect(await counts(process)).toEqual({ accepted: 1, handled: 1, waiting: 0, dead: 0 })
  })

  test('records of one lane that come in one turn, some with a promise and some without, keep their order', async () => {
    const texts: string[] = []
    const deliver: Deliver = async (stored) => void texts.push(textOf(stored))
    const process = await start(newFolder(), deliver)
    const all = Array.from({ length: 20 }, (_, index) => record(String(index), { lane: 'a' }))
    await Promise.all(all.map((one, index) => (index % 3 === 0 ? process.accept(one) : putInto(process, one))))
    while ((await counts(process)).waiting > 0) await process.journal.flush()
    expect(texts).toEqual(all.map((_, index) => String(index)))
  })

  test('whoever put it is told of a refusal when `put` has returned', async () => {
    const process = await start(newFolder(), () => Promise.resolve())
    const bad = record('bad', { event: { type: 'toy.text', text: () => 'no data' } as unknown as NewRecord['event'] })
    const refusals: unknown[] = []
    const refused = Promise.withResolvers<void>()
    const depositor = {
      stored: () => undefined,
      refused(error: unknown) {
        refusals.push(error)
        refused.resolve()
      },
    }
    process.dispatcher.of('toy').put(bad, depositor)
    expect(refusals).toEqual([])
    await refused.promise
    expect(refusals).toMatchObject([{ code: 'journal_failed' }])
    await process.leave()
    await expect(putInto(process, record('late'))).rejects.toMatchObject({ code: 'journal_failed' })
  })

  test('one who fails on what it is told keeps nobody else from being told', async () => {
    const { log, lines } = readableLog()
    const process = await start(newFolder(), () => Promise.resolve())
    const journal = await Journal.open({ folder: newFolder(), ...journalOptions.parse({}) }, log)
    closers.push(() => journal.close())
    const dispatcher = new Dispatcher({
      journal,
      log,
      options: journalOptions.parse({}),
      target: () => undefined,
      resolve: () => undefined,
    })
    await dispatcher.prepare()
    await dispatcher.start()
    const stored = () => {
      throw new Error('not my day')
    }
    dispatcher.of('toy').put(record('one'), { stored, refused: stored })
    await putInto({ ...process, dispatcher }, record('two'))
    expect(lines.map(({ msg }) => msg)).toContain('who was told by the journal failed')
    expect(await journal.counts()).toMatchObject({ accepted: 2 })
  })
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

describe('the next process', () => {
  test('takes up what was not handled, and says that it may have been here before', async () => {
    const folder = newFolder()
    const before = new Attempts()
    const first = await start(folder, before.deliver)
    await first.accept(record('done'), record('begun'), record('done too'))
    await before.count(3)
    before.begun[0]?.end.resolve()
    before.begun[2]?.end.resolve()
    await counts(first)
    await first.leave()
    const after = new Attempts()
    const second = await start(folder, after.deliver)
    await after.count(1)
    expect(after.begun[0]?.record).toMatchObject({ event: { text: 'begun' }, attempt: 1, redelivered: true })
    after.begun[0]?.end.resolve()
    const [id = 0] = await second.accept(record('new'))
    await after.count(2)
    expect(after.begun[1]?.record).toMatchObject({ event: { text: 'new' }, redelivered: false })
    after.begun[1]?.end.resolve()
    await second.dispatcher.of('toy').attempted(id)
    expect(await counts(second)).toEqual({ accepted: 4, handled: 4, waiting: 0, dead: 0 })
  })

  test('gives up a record that ended the process at each attempt', async () => {
    const folder = newFolder()
    const first = await start(folder, () => new Promise(() => {}))
    const [id = 0] = await first.accept(record('poison'))
    await first.leave()
    for (let crash = 0; crash < 5; crash++) {
      const attempts = new Attempts()
      const process = await start(folder, attempts.deliver)
      await attempts.count(1)
      await process.leave()
    }
    const attempts = new Attempts()
    const last = await start(folder, attempts.deliver)
    await last.dispatcher.of('toy').attempted(id)
    while ((await counts(last)).dead === 0) await last.journal.flush()
    expect(attempts.begun).toEqual([])
    expect((await last.journal.show(id))?.error).toMatch(/begun 5 times and never ended/)
  })
})

describe('closing', () => {
  test('begins nothing more, and waits for what runs', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    const [first = 0, second = 0] = await process.accept(record('1', { lane: 'a' }), record('2', { lane: 'a' }))
    await attempts.count(1)
    const closed = process.dispatcher.close(new AbortController().signal)
    await process.dispatcher.of('toy').attempted(second) // will not come any more: nobody is to wait for it
    attempts.begun[0]?.end.resolve()
    await closed
    await process.dispatcher.of('toy').attempted(first)
    expect(attempts.texts).toEqual(['1'])
    expect(await counts(process)).toEqual({ accepted: 2, handled: 1, waiting: 1, dead: 0 })
  })

  test('what is cut off at the deadline has not failed', async () => {
    const folder = newFolder()
    const process = await start(folder, async ({ signal }) => {
      await once(signal, 'abort')
      throw signal.reason
    })
    const [id = 0] = await process.accept(record('slow'))
    await process.dispatcher.close(AbortSignal.abort())
    expect(await process.journal.show(id)).toMatchObject({ state: 'waiting', attempts: 0 })
  })
})

test('of more than fits into memory the rest waits on disk, and each comes once and in order', async () => {
  const attempts = new Attempts()
  const process = await start(newFolder(), attempts.deliver, { limits: { entries: 4, page: 2, bytes: 10 } })
  const texts = Array.from({ length: 30 }, (_, index) => String(index))
  await Promise.all(texts.map((text) => process.accept(record(text, { lane: 'a' }))))
  for (const [index] of texts.entries()) {
    await attempts.count(index + 1)
    attempts.begun[index]?.end.resolve()
  }
  expect(attempts.texts).toEqual(texts)
  while ((await counts(process)).waiting > 0) await process.journal.flush()
  expect(await counts(process)).toEqual({ accepted: 30, handled: 30, waiting: 0, dead: 0 })
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
      const process = await start(newFolder(), deliver, { attempts: 3, limits: { entries, page: 2, bytes: 50 } })
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

describe('trouble', () => {
  test('what cannot be stored as a dead letter is no error of whoever wanted it kept, and others are kept', async () => {
    const process = await start(newFolder(), () => Promise.resolve())
    const { bury } = process.dispatcher.of('toy')
    bury(record('bad', { event: { type: 'toy.text', text: () => 'no data' } as unknown as NewRecord['event'] }), 'no')
    bury(record('good'), new Error('no'))
    while ((await counts(process)).dead === 0) await process.journal.flush()
    expect((await counts(process)).dead).toBe(1)
  })

  test('a record that cannot be read any more is a dead letter, and the next in its lane is handled', async () => {
    const folder = newFolder()
    const first = await start(folder, () => new Promise(() => {}))
    const [id = 0] = await first.accept(record('damaged', { lane: 'a' }), record('next', { lane: 'a' }))
    await first.leave()
    const file = new DatabaseSync(path.join(folder, 'journal.sqlite'))
    file.prepare("UPDATE waiting SET scope = x'07' WHERE id = ?").run(id)
    file.close()
    const attempts = new Attempts()
    const process = await start(folder, attempts.deliver)
    await attempts.count(1)
    expect(attempts.texts).toEqual(['next'])
    attempts.begun[0]?.end.resolve()
    while ((await counts(process)).waiting > 0) await process.journal.flush()
    expect((await process.journal.show(id))?.error).toMatch(/cannot be read/)
  })

  test('an application that fails as if something closed is tried again', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    await process.accept(record('one'))
    await attempts.count(1)
    attempts.begun[0]?.end.reject(new SignalboxError('closing', 'the layer is closed'))
    await attempts.count(2)
    attempts.begun[1]?.end.resolve()
  })

  test('what goes out behind one that a person takes out between two attempts goes out', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver, { backoff: 60_000, maxBackoff: 60_000 })
    const [id = 0] = await process.accept(...['1', '2'].map((text) => record(text, { direction: 'out', lane: 'a' })))
    await attempts.count(1)
    attempts.begun[0]?.end.reject(new Error('not yet'))
    await process.dispatcher.of('toy').attempted(id)
    await process.journal.discard([id])
    await attempts.count(2)
    expect(attempts.texts).toEqual(['1', '2'])
    attempts.begun[1]?.end.resolve()
  })

  test('however many wait for another attempt, new ones do not wait for them', async () => {
    const attempts = new Attempts()
    const limits = { entries: 2, page: 2 }
    const process = await start(newFolder(), attempts.deliver, { backoff: 60_000, maxBackoff: 60_000, limits })
    for (let number = 1; number <= 10; number++) {
      const [id = 0] = await process.accept(record(String(number), { lane: 'a' }))
      await attempts.count(number)
      attempts.begun[number - 1]?.end.reject(new Error('not yet'))
      await process.dispatcher.of('toy').attempted(id)
    }
    expect(attempts.texts).toEqual(Array.from({ length: 10 }, (_, index) => String(index + 1)))
    expect(await counts(process)).toEqual({ accepted: 10, handled: 0, waiting: 10, dead: 0 })
  })

  test('those that wait for another attempt on disk have it, and are counted through', async () => {
    let left = 30
    const process = await start(
      newFolder(),
      () => (left-- > 0 ? Promise.reject(new Error('not yet')) : Promise.resolve()),
      { limits: { entries: 2, page: 2 }, attempts: 100 },
    )
    await process.accept(...Array.from({ length: 15 }, (_, index) => record(String(index))))
    while ((await counts(process)).waiting > 0) await process.journal.flush()
    expect(await counts(process)).toEqual({ accepted: 15, handled: 15, waiting: 0, dead: 0 })
    expect(left).toBe(-15)
  })

  test('after a restart those that wait for another attempt keep nobody waiting', async () => {
    const folder = newFolder()
    const patient = { backoff: 60_000, maxBackoff: 60_000, limits: { entries: 2, page: 2 } }
    const first = await start(folder, () => Promise.reject(new Error('not yet')), patient)
    const ids = await first.accept(...Array.from({ length: 10 }, (_, index) => record(String(index))))
    for (const id of ids) await first.dispatcher.of('toy').attempted(id)
    await counts(first)
    await first.leave()
    const attempts = new Attempts()
    const second = await start(folder, attempts.deliver, patient)
    await second.accept(record('new'))
    await attempts.count(1)
    expect(attempts.texts).toEqual(['new'])
    attempts.begun[0]?.end.resolve()
  })

  test('when all that memory has room for is taken out, what is on disk comes', async () => {
    const attempts = new Attempts()
    const limits = { entries: 2, page: 2 }
    const process = await start(newFolder(), attempts.deliver, { backoff: 60_000, maxBackoff: 60_000, limits })
    const lanes = ['a', 'b', 'c', 'd']
    const held = lanes.map((lane) => record(lane, { direction: 'out', lane }))
    const ids = await process.accept(...held)
    for (const [index, id] of ids.entries()) {
      await attempts.count(index + 1)
      attempts.begun[index]?.end.reject(new Error('not yet'))
      await process.dispatcher.of('toy').attempted(id)
    }
    await process.accept(record('3'))
    await process.journal.discard(ids)
    await attempts.count(5)
    expect(attempts.texts[4]).toBe('3')
    attempts.begun[4]?.end.resolve()
  })

  test('of many dead letters that are tried again no more are in memory than there is room for, and all are tried', async () => {
    const tried = new Set<string>()
    let broken = true
    const deliver: Deliver = (stored) => {
      if (broken) return Promise.reject(permanent('no'))
      tried.add(textOf(stored))
      return Promise.resolve()
    }
    const process = await start(newFolder(), deliver, { concurrency: 1, limits: { entries: 3, page: 2 } })
    const texts = Array.from({ length: 12 }, (_, index) => String(index))
    await process.accept(...texts.map((text) => record(text)))
    while ((await counts(process)).dead < 12) await process.journal.flush()
    broken = false
    await process.journal.retry({ state: 'dead' })
    while ((await counts(process)).waiting > 0) await process.journal.flush()
    expect([...tried].toSorted((a, b) => Number(a) - Number(b))).toEqual(texts)
  })
})

test('after a restart no more are handled at once of a rule than it says', async () => {
  const folder = newFolder()
  const first = await start(folder, () => new Promise(() => {}))
  await first.accept(record('1'), record('2'), record('3'))
  await first.leave()
  const attempts = new Attempts()
  const process = await start(folder, attempts.deliver, { rule: { concurrency: 1 } })
  for (const count of [1, 2, 3]) {
    await attempts.count(count)
    await process.journal.counts() // whatever else is let begin has begun by then
    expect(attempts.begun).toHaveLength(count)
    attempts.begun[count - 1]?.end.resolve()
  }
})

describe('memory', () => {
  const mail = Buffer.alloc(100_000, 'x')

  test('of large records no more are handled at once than fit, small ones pass them, and each has its turn', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver, { limits: { bytes: 250_000 } })
    const texts = Array.from({ length: 20 }, (_, index) => String(index))
    await process.accept(...texts.map((text) => record(text, { body: mail })))
    await process.accept(record('small'))
    await attempts.count(3)
    expect(attempts.texts).toEqual(['0', '1', 'small'])
    for (let ended = 0; ended < 21; ended++) {
      await attempts.count(ended + 1)
      const open = attempts.begun.length - ended
      expect(open).toBeLessThanOrEqual(3)
      attempts.begun[ended]?.end.resolve()
    }
    while ((await counts(process)).waiting > 0) await process.journal.flush()
    const bodies = attempts.begun.map(({ record: { body } }) => body?.length).filter(Boolean)
    expect(bodies).toEqual(texts.map(() => mail.length))
  })

  test('one that is larger than all of it is handled when nothing else is', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver, { limits: { bytes: 50_000 } })
    const [id = 0] = await process.accept(record('large', { body: mail }))
    await attempts.count(1)
    attempts.begun[0]?.end.resolve()
    await process.dispatcher.of('toy').attempted(id)
    expect((await counts(process)).handled).toBe(1)
  })
})

test('closing does not wait for ever for one that does not end when it is told to', async () => {
  const process = await start(newFolder(), () => new Promise(() => {}), { limits: { grace: 1 } })
  const [id = 0] = await process.accept(record('stuck'))
  await process.dispatcher.close(AbortSignal.abort())
  expect(await process.journal.show(id)).toMatchObject({ state: 'waiting', attempts: 0 })
})

/** The end of a process, and what the next one makes of what is left. */
import { describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { Attempts, counts, newFolder, record, start } from './processes.ts'

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

describe('what was being tried when the process ended', () => {
  /** A record that ends the process, and two that were tried beside it. */
  const crash = async (folder: string) => {
    const first = await start(folder, () => new Promise(() => {}))
    await first.accept(record('poison'), record('one'), record('two'))
    await first.leave()
    const attempts = new Attempts()
    const second = await start(folder, attempts.deliver, { limits: { grace: 1 } })
    await attempts.count(3)
    return second
  }

  test('is no dead letter with the one that ended it: each is tried without the others', async () => {
    const folder = newFolder()
    const before = await crash(folder)
    await before.leave()
    for (let times = 2; times <= 5; times++) {
      const attempts = new Attempts()
      const process = await start(folder, attempts.deliver, { limits: { alone: 60_000 } })
      await attempts.count(1)
      await process.journal.counts() // whatever else is let begin has begun by then
      expect(attempts.begun.map(({ record: { event, attempt } }) => ({ event, attempt }))).toEqual([
        { event: { type: 'toy.text', text: 'poison' }, attempt: times },
      ])
      await process.leave()
    }
    const attempts = new Attempts()
    const last = await start(folder, attempts.deliver, { limits: { alone: 60_000 } })
    for (const texts of [['one'], ['one', 'two']]) {
      await attempts.count(texts.length)
      await last.journal.counts()
      expect(attempts.texts).toEqual(texts)
      attempts.begun.at(-1)?.end.resolve()
    }
    while ((await counts(last)).waiting > 0) await last.journal.flush()
    expect(await counts(last)).toEqual({ accepted: 3, handled: 2, waiting: 0, dead: 1 })
  })

  test('keeps nobody waiting for long who was not', async () => {
    const folder = newFolder()
    const before = await crash(folder)
    await before.leave()
    const attempts = new Attempts()
    const process = await start(folder, attempts.deliver, { limits: { alone: 60_000 } })
    await attempts.count(1)
    await process.accept(record('new'))
    await attempts.count(2)
    expect(attempts.texts).toEqual(['poison', 'new'])
  })

  test('is tried beside one that hangs, after a while', async () => {
    const folder = newFolder()
    const before = await crash(folder)
    await before.leave()
    const attempts = new Attempts()
    await start(folder, attempts.deliver, { limits: { alone: 1 } })
    await attempts.count(3)
    expect(attempts.texts).toEqual(['poison', 'one', 'two'])
  })

  test('has ended nothing when the gateway closed by itself', async () => {
    const folder = newFolder()
    const before = await crash(folder)
    await before.dispatcher.close(AbortSignal.abort())
    await before.leave()
    const attempts = new Attempts()
    await start(folder, attempts.deliver, { limits: { alone: 60_000 } })
    await attempts.count(3)
    expect(attempts.begun.map(({ record: { attempt } }) => attempt)).toEqual([1, 1, 1])
  })

  test('waits for its turn with what comes behind it in its lane', async () => {
    const folder = newFolder()
    const lane = { lane: 'a' }
    const first = await start(folder, () => new Promise(() => {}))
    await first.accept(record('poison'), record('1', lane), record('2', lane))
    await first.leave()
    const middle = new Attempts()
    const second = await start(folder, middle.deliver)
    await middle.count(2)
    await second.leave()
    const attempts = new Attempts()
    const third = await start(folder, attempts.deliver, { limits: { alone: 60_000 } })
    await attempts.count(1)
    await third.accept(record('3', lane))
    for (const texts of [['poison'], ['poison', '1'], ['poison', '1', '2'], ['poison', '1', '2', '3']]) {
      await attempts.count(texts.length)
      await third.journal.counts()
      expect(attempts.texts).toEqual(texts)
      attempts.begun.at(-1)?.end.resolve()
    }
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

test.each([
  ['ends when it is told to', true],
  ['does not', false],
])(
  'however often the gateway closes in the middle of an attempt, that is not counted: the handler %s',
  async (_, ends) => {
    const folder = newFolder()
    const first = await start(folder, () => new Promise(() => {}))
    const [id = 0] = await first.accept(record('slow'))
    await first.leave()
    for (let close = 0; close < 3; close++) {
      const begun = Promise.withResolvers<void>()
      const process = await start(
        folder,
        async ({ signal }) => {
          begun.resolve()
          if (!ends) return new Promise(() => {})
          await once(signal, 'abort')
          throw signal.reason
        },
        { limits: { grace: 1 } },
      )
      await begun.promise
      await process.dispatcher.close(AbortSignal.abort())
      await process.journal.flush()
      expect(await process.journal.show(id)).toMatchObject({ state: 'waiting', attempts: 0 })
      await process.leave()
    }
  },
)

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

test('closing does not wait for ever for one that does not end when it is told to', async () => {
  const process = await start(newFolder(), () => new Promise(() => {}), { limits: { grace: 1 } })
  const [id = 0] = await process.accept(record('stuck'))
  await process.dispatcher.close(AbortSignal.abort())
  expect(await process.journal.show(id)).toMatchObject({ state: 'waiting', attempts: 0 })
})

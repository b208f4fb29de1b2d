/** What goes wrong with single records, and whom it does not hold up. */
import { describe, expect, test } from '@jest/globals'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { NewRecord } from '../../src/asgi/delivery.ts'
import { SignalboxError, permanent } from '../../src/runtime/errors.ts'
import { Attempts, counts, newFolder, record, start, textOf, type Deliver } from './processes.ts'

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

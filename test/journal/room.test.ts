/** What is in memory of the journal, and what waits on disk for room there. */
import { describe, expect, test } from '@jest/globals'
import { Attempts, counts, newFolder, record, start } from './processes.ts'

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

/** Records that are put without a promise: stored and delivered as any other, and whoever put them is told. */
import { describe, expect, test } from '@jest/globals'
import type { Accepted, NewRecord } from '../../src/asgi/delivery.ts'
import { Dispatcher } from '../../src/journal/dispatcher.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import {
  Attempts,
  afterwards,
  counts,
  newFolder,
  record,
  start,
  textOf,
  type Deliver,
  type Process,
} from './processes.ts'
import { readableLog } from './support.ts'

/** What became of a record that was put. */
function putInto({ dispatcher }: Process, one: NewRecord): Promise<Accepted> {
  return new Promise((resolve, reject) => {
    dispatcher.of('toy').put(one, { stored: (id, known) => resolve({ id, known }), refused: reject })
  })
}

describe('without a promise', () => {
  test('a record is stored and delivered as any other, and whoever put it is told its id, and whether it was there before', async () => {
    const attempts = new Attempts()
    const process = await start(newFolder(), attempts.deliver)
    const accepted = await putInto(process, record('one', { key: 'once' }))
    const { id = 0 } = accepted
    expect(accepted).toEqual({ id, known: false })
    await attempts.count(1)
    expect(attempts.begun[0]?.record).toMatchObject({ id, event: { text: 'one' }, attempt: 1 })
    expect(await putInto(process, record('one', { key: 'once' }))).toEqual({ id, known: true })
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
    afterwards(() => journal.close())
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

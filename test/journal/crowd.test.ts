/** Senders and rules that stand still, with more than memory has room for behind them: nobody else waits for them. */
import { describe, expect, test } from '@jest/globals'
import type { AttemptSettled, NewRecord, StoredRecord } from '../../src/asgi/delivery.ts'
import { counts, newFolder, record, start, textOf, type Process } from './processes.ts'

const limits = { entries: 20, rule: 4, lane: 6, page: 5 }

/** Handles at once what does not hang, and holds what does. */
class Application {
  readonly texts: string[] = []
  readonly held: AttemptSettled[] = []
  hangs = (text: string): boolean => text.startsWith('hangs')

  readonly target = (stored: StoredRecord, settled: AttemptSettled): void => {
    const text = textOf(stored)
    this.texts.push(text)
    if (this.hangs(text)) this.held.push(settled)
    else settled()
  }

  /** From now on nothing hangs. */
  letGo(): void {
    this.hangs = () => false
    for (const settled of this.held.splice(0)) settled()
  }
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const under = (route: string, lane: string) =>
  ({ lane, resolution: { params: {}, route } }) satisfies Partial<NewRecord>
const begin = (folder: string, { target }: Application) => start(folder, () => Promise.resolve(), { target, limits })

async function untilLeft(process: Process, left: number): Promise<void> {
  while ((await counts(process)).waiting > left) await process.journal.flush()
}

describe('new senders', () => {
  test('do not wait for a sender who has sent more than there is room for', async () => {
    const application = new Application()
    const process = await begin(newFolder(), application)
    await process.accept(...numbers(300).map((number) => record(`hangs ${number}`, under('a.yaml:1', 'greedy'))))
    await process.accept(record('same rule', under('a.yaml:1', 'other')))
    await process.accept(record('other rule', under('a.yaml:2', 'other too')), record('mail', under('a.yaml:3', '')))
    await untilLeft(process, 300)
    expect(application.texts).toEqual(['hangs 0', 'same rule', 'other rule', 'mail'])
    application.letGo()
    await process.accept(record('hangs 300', under('a.yaml:1', 'greedy')))
    await untilLeft(process, 0)
    const greedy = application.texts.filter((text) => text.startsWith('hangs'))
    expect(greedy).toEqual(numbers(301).map((number) => `hangs ${number}`))
  })

  test('do not wait for many of them at once, whatever their rules', async () => {
    const application = new Application()
    const process = await begin(newFolder(), application)
    for (const number of numbers(40)) {
      const senders = numbers(9).map((sender) => under(`a.yaml:${sender % 3}`, `greedy ${sender}`))
      await process.accept(...senders.map((sender) => record(`hangs ${sender.lane} ${number}`, sender)))
    }
    await process.accept(...numbers(3).map((rule) => record(`new ${rule}`, under(`a.yaml:${rule}`, 'new'))))
    await untilLeft(process, 360)
    expect(application.texts.slice(9)).toEqual(['new 0', 'new 1', 'new 2'])
    application.letGo()
    await untilLeft(process, 0)
    for (const sender of numbers(9)) {
      const own = application.texts.filter((text) => text.startsWith(`hangs greedy ${sender} `))
      expect(own).toEqual(numbers(40).map((number) => `hangs greedy ${sender} ${number}`))
    }
  })

  test('do not wait for another rule that nobody of whose senders is handled', async () => {
    const application = new Application()
    const process = await begin(newFolder(), application)
    const still = numbers(200).map((number) => record(`hangs ${number}`, under('a.yaml:1', `${number % 90 || ''}`)))
    await process.accept(...still)
    await process.accept(record('other', under('a.yaml:2', 'other')), record('mail', under('a.yaml:3', '')))
    await untilLeft(process, 200)
    expect(application.texts.slice(-2)).toEqual(['other', 'mail'])
    application.letGo()
    await untilLeft(process, 0)
    for (const sender of numbers(89)) {
      const own = application.texts.filter(
        (text) => text.startsWith('hangs') && Number(text.slice(6)) % 90 === sender + 1,
      )
      expect(own).toEqual(own.toSorted((a, b) => Number(a.slice(6)) - Number(b.slice(6))))
    }
    expect(new Set(application.texts).size).toBe(202)
  })

  test('do not wait for numbers that cannot be reached, however many these are', async () => {
    const texts: string[] = []
    const target = (stored: StoredRecord, settled: AttemptSettled) => {
      texts.push(textOf(stored))
      settled(stored.lane.includes('gone') ? new Error('not reached') : undefined)
    }
    const patient = { backoff: 60_000, maxBackoff: 60_000 }
    const process = await start(newFolder(), () => Promise.resolve(), { target, limits, ...patient })
    await process.accept(
      ...numbers(16).map((number) => record(`${number}`, { direction: 'out', lane: `gone ${number}` })),
    )
    await process.accept(record('reached', { direction: 'out', lane: 'there' }))
    await untilLeft(process, 16)
    expect(texts.at(-1)).toBe('reached')
  })

  test('do not wait for them at the next start either', async () => {
    const folder = newFolder()
    const before = new Application()
    const killed = await begin(folder, before)
    await killed.accept(...numbers(200).map((number) => record(`hangs ${number}`, under('a.yaml:1', 'greedy'))))
    await killed.accept(...numbers(200).map((number) => record(`hangs ${number} too`, under('a.yaml:2', ''))))
    before.hangs = () => true
    await killed.accept(record('same rule', under('a.yaml:1', 'other')), record('other rule', under('a.yaml:3', '')))
    await killed.leave()
    const after = new Application()
    const process = await begin(folder, after)
    await untilLeft(process, 400)
    expect(after.texts).toEqual(expect.arrayContaining(['same rule', 'other rule']))
    await process.accept(record('new', under('a.yaml:1', 'new')))
    await untilLeft(process, 400)
    after.letGo()
    await untilLeft(process, 0)
    const greedy = after.texts.filter((text) => /^hangs \d+$/.test(text))
    expect(greedy).toEqual(numbers(200).map((number) => `hangs ${number}`))
    expect(new Set(after.texts).size).toBe(403)
  })
})

test('an attempt at what is on disk only is waited for like any other', async () => {
  const application = new Application()
  const process = await begin(newFolder(), application)
  const ids = await process.accept(...numbers(50).map((number) => record(`hangs ${number}`, under('a', 'greedy'))))
  let isOver = false
  const attempted = process.dispatcher
    .of('toy')
    .attempted(ids.at(-1) ?? 0)
    .then(() => (isOver = true))
  await counts(process)
  expect(isOver).toBe(false)
  application.letGo()
  await attempted
  expect(application.texts).toHaveLength(50)
})

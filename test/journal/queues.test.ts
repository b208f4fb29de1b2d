/** Long lanes of what goes out: a few of each are in memory, in order, and one that stands still keeps nobody else waiting. */
import { expect, test } from '@jest/globals'
import type { AttemptSettled, StoredRecord } from '../../src/asgi/delivery.ts'
import { counts, newFolder, record, start, textOf, type Process } from './processes.ts'

/** Holds the first one of lane `a`, and notes what comes in what order. */
class Peer {
  readonly texts: string[] = []
  readonly #held = Promise.withResolvers<AttemptSettled>()
  #isHeld = false

  readonly target = (stored: StoredRecord, settled: AttemptSettled): void => {
    this.texts.push(textOf(stored))
    if (this.#isHeld || !stored.lane.endsWith(' a')) return settled()
    this.#isHeld = true
    this.#held.resolve(settled)
  }

  get held(): Promise<AttemptSettled> {
    return this.#held.promise
  }
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index))
const out = (text: string, lane: string) => record(text, { direction: 'out', lane })

async function untilLeft(process: Process, left: number): Promise<void> {
  while ((await counts(process)).waiting > left) await process.journal.flush()
}

const limits = { entries: 50, lane: 10, page: 20 }

test('one that stands still leaves room for all others, and then goes on in order', async () => {
  const peer = new Peer()
  const process = await start(newFolder(), () => Promise.resolve(), { target: peer.target, limits })
  const texts = numbers(500)
  await process.accept(...texts.map((text) => out(text, 'a')))
  const settled = await peer.held
  await process.accept(out('other', 'b'), record('in'))
  await untilLeft(process, 500)
  expect(peer.texts).toEqual(['0', 'other', 'in'])
  settled()
  await process.accept(out('last', 'a'))
  await untilLeft(process, 0)
  expect(peer.texts.filter((text) => text !== 'other' && text !== 'in')).toEqual([...texts, 'last'])
  expect(await counts(process)).toEqual({ accepted: 503, handled: 503, waiting: 0, dead: 0 })
})

test.each([
  ['all of them known by their ids', 1000],
  ['few of them known by their ids', 15],
])('what an earlier process left goes out in order, %s', async (_, ids) => {
  const folder = newFolder()
  const before = new Peer()
  const killed = await start(folder, () => Promise.resolve(), { target: before.target, limits })
  const texts = numbers(300)
  await killed.accept(...texts.flatMap((text) => [out(text, 'a'), out(text, 'b')]))
  await before.held
  await untilLeft(killed, 300)
  await killed.leave()
  const after = new Peer()
  const process = await start(folder, () => Promise.resolve(), { target: after.target, limits: { ...limits, ids } })
  const settled = await after.held
  settled()
  await untilLeft(process, 0)
  expect(after.texts).toEqual(texts)
})

test('what a person takes out is not sent, and what fails is tried again before the next', async () => {
  const texts: string[] = []
  const { promise: begun, resolve: hold } = Promise.withResolvers<AttemptSettled>()
  const target = (stored: StoredRecord, settled: AttemptSettled) => {
    const { length } = texts
    texts.push(`${textOf(stored)}.${stored.attempt}`)
    if (length === 0) hold(settled)
    else settled(Number(textOf(stored)) % 7 === 0 && stored.attempt === 1 ? new Error('later') : undefined)
  }
  const process = await start(newFolder(), () => Promise.resolve(), { target, limits })
  const ids = await process.accept(...numbers(100).map((text) => out(text, 'a')))
  const settled = await begun
  const discarded = numbers(100).filter((text) => Number(text) % 3 === 1)
  await process.journal.discard(discarded.map((text) => ids[Number(text)] ?? 0))
  settled()
  await untilLeft(process, 0)
  const sent = numbers(100).filter((text) => !discarded.includes(text))
  const expected = sent.flatMap((text) =>
    text !== '0' && Number(text) % 7 === 0 ? [`${text}.1`, `${text}.2`] : [`${text}.1`],
  )
  expect(texts).toEqual(expected)
})

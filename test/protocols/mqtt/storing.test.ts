/** What one client publishes on its way into a journal that fails: nothing is overtaken, and nothing is forgotten. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import type { Accepted, DeliveryJournal, Depositor, NewRecord } from '../../../src/asgi/delivery.ts'
import { SignalboxError } from '../../../src/runtime/errors.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { comesAgain, type Origin, Storing } from '../../../protocols/mqtt/storing.ts'
import type { MqttProtocol, MqttPublish } from '../../../protocols/mqtt/scope.ts'

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

const full = new SignalboxError('journal_full', 'no room')
const topicOf = ({ event }: NewRecord): string => String(Reflect.get(event, 'topic'))

/** A journal that does as the test says with each call. */
class ToldJournal implements DeliveryJournal<MqttProtocol> {
  readonly calls: { readonly topics: readonly string[]; answer(): void; refuse(): void }[] = []
  #id = 0

  accept(records: readonly NewRecord[]): Promise<readonly Accepted[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Accepted[]>()
    this.calls.push({
      topics: records.map(topicOf),
      answer: () => resolve(records.map(() => ({ id: ++this.#id, known: false }))),
      refuse: () => reject(full),
    })
    return promise
  }

  put(record: NewRecord, depositor: Depositor): void {
    this.calls.push({
      topics: [topicOf(record)],
      answer: () => depositor.stored(++this.#id, false),
      refuse: () => depositor.refused(full),
    })
  }

  bury = () => undefined
  attempted = () => Promise.resolve()
}

function open() {
  const journal = new ToldJournal()
  const storing = new Storing(journal, silentLog)
  const done: string[] = []
  const put = (topic: string, { key, qos }: { readonly key?: string; readonly qos?: number } = {}) => {
    const told = (error?: unknown) => void done.push(error === comesAgain ? `${topic} comes again` : topic)
    const options = { key, mayRepeat: false, isRepeated: true, done: told }
    storing.put({ type: 'mqtt.publish', topic, qos } as MqttPublish, {} as Origin, options)
  }
  return { calls: journal.calls, storing, done, put, topics: () => journal.calls.map(({ topics }) => topics) }
}

test('what comes while something is stored again is stored behind it', async () => {
  const { calls, done, put, topics } = open()
  put('a')
  calls[0]?.refuse()
  put('b')
  await jest.advanceTimersByTimeAsync(500)
  put('c')
  expect(topics()).toEqual([['a'], ['a', 'b']])
  calls[1]?.answer()
  await jest.advanceTimersByTimeAsync(0)
  expect(done).toEqual(['a', 'b'])
  expect(topics()).toEqual([['a'], ['a', 'b'], ['c']])
  calls[2]?.answer()
  await jest.advanceTimersByTimeAsync(0)
  expect(done).toEqual(['a', 'b', 'c'])
  put('d')
  expect(topics().at(-1)).toEqual(['d'])
})

test('what comes after one that found no room does not overtake it, though another one was stored', async () => {
  const { calls, done, put, topics } = open()
  put('large')
  put('small')
  calls[0]?.refuse()
  calls[1]?.answer()
  put('next')
  expect(done).toEqual([])
  expect(topics()).toEqual([['large'], ['small']])
  await jest.advanceTimersByTimeAsync(500)
  expect(topics().at(-1)).toEqual(['large', 'next'])
  calls[2]?.refuse()
  await jest.advanceTimersByTimeAsync(500)
  calls[3]?.answer()
  await jest.advanceTimersByTimeAsync(0)
  expect(done).toEqual(['large', 'small', 'next'])
})

test('when the client is gone nobody waits: what is under way is answered, and what waits is left to whoever sent it', () => {
  const { calls, storing, done, put } = open()
  put('a')
  put('b')
  put('c')
  calls[1]?.refuse()
  storing.close()
  calls[0]?.answer()
  calls[2]?.refuse()
  expect(done).toEqual(['a', 'b comes again', 'c comes again'])
  expect(storing.last).toBe(1)
  expect(jest.getTimerCount()).toBe(0)
})

test('what is stored only when its client is gone comes again with QoS 2, where it is known by a key', () => {
  const { calls, storing, done, put } = open()
  put('session 1', { key: '1', qos: 1 })
  put('session 2', { key: '2', qos: 2 })
  put('clean 2', { qos: 2 })
  storing.close()
  for (const call of calls) call.answer()
  expect(done).toEqual(['session 1', 'session 2 comes again', 'clean 2'])
})

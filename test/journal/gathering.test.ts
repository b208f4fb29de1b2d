/** What is written together: calls and notes of one gathering are one batch for the worker. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { Gathering } from '../../src/journal/gathering.ts'
import { Thread } from '../../src/journal/thread.ts'
import { accept, Folder, openJournal } from './support.ts'

beforeEach(
  () => void jest.useFakeTimers({ doNotFake: ['performance', 'queueMicrotask', 'nextTick', 'setImmediate', 'Date'] }),
)
afterEach(() => void jest.useRealTimers())

test('the time of a note that comes while records are gathered cuts them in no two', async () => {
  using folder = new Folder()
  await using journal = await openJournal(folder.path)
  const [a = 0] = await accept(journal, 'a')
  const post = jest.spyOn(Thread.prototype, 'post')
  journal.handled(a)
  const accepted = [accept(journal, 'b')]
  jest.runAllTimers()
  accepted.push(accept(journal, 'c'))
  await Promise.all(accepted)
  expect(post.mock.calls).toMatchObject([[{ parcel: { calls: [1, 1] }, notes: { list: [{ kind: 'handled' }] } }]])
  post.mockRestore()
})

test('notes that went with a batch leave no timer behind that would send the next ones before their time', async () => {
  using folder = new Folder()
  await using journal = await openJournal(folder.path)
  const [a = 0] = await accept(journal, 'a')
  journal.handled(a)
  expect(jest.getTimerCount()).toBe(1)
  await accept(journal, 'b')
  expect(jest.getTimerCount()).toBe(0)
})

/** Counts what is sent; the worker is given as many as there are, unless it has some already. */
function gatheringOf(enough: number) {
  const sent: number[] = []
  let [calls, busy] = [0, false]
  const gathering = new Gathering(enough, () => {
    if (busy) return false
    sent.push(calls)
    ;[calls, busy] = [0, calls > 0]
    return true
  })
  const call = (count: number) => {
    for (let left = count; left > 0; left--) gathering.soon(!busy, ++calls)
  }
  const done = () => {
    busy = false
    gathering.workerIsIdle(calls)
  }
  return { call, done, sent }
}

const lull = async () => {
  for (let turns = 0; turns < 10; turns++) await new Promise(setImmediate)
}

test('enough calls go to a worker that has nothing to do at once, and fewer when nothing more comes', async () => {
  const { call, done, sent } = gatheringOf(5)
  call(4)
  expect(sent).toEqual([])
  call(1)
  expect(sent).toEqual([5])
  done()
  call(3)
  expect(sent).toEqual([5])
  await lull()
  expect(sent).toEqual([5, 3])
})

test('what came while the worker was busy goes when it is done, if it is enough, and else with what comes next', async () => {
  const { call, done, sent } = gatheringOf(5)
  call(5)
  call(7)
  expect(sent).toEqual([5])
  done()
  expect(sent).toEqual([5, 7])
  call(2)
  done()
  expect(sent).toEqual([5, 7])
  call(1)
  await lull()
  expect(sent).toEqual([5, 7, 3])
})

test('where the worker has no processor of its own everything waits until nothing more comes', async () => {
  const { call, sent } = gatheringOf(Infinity)
  call(1000)
  expect(sent).toEqual([])
  await lull()
  expect(sent).toEqual([1000])
})

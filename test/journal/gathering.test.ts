/** What is written together: calls and notes of one gathering are one batch for the worker. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
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

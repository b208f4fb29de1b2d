/** TCP keep-alive for connections that last. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { KeepAlive } from '../../src/runtime/keep-alive.ts'

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

test('a connection that lasts is asked for once, one that is over before the next look is not, and after the end none is', () => {
  const asked: unknown[] = []
  const named = (name: string) => {
    const socket = new Socket()
    jest.spyOn(socket, 'setKeepAlive').mockImplementation((...given: unknown[]) => {
      asked.push([name, ...given])
      return socket
    })
    return socket
  }
  const [lasting, brief, late] = [named('lasting'), named('brief'), named('late')]
  const open = new Set([lasting, brief, new PassThrough()])
  const keepAlive = new KeepAlive(() => open)
  open.delete(brief)
  expect(asked).toEqual([])
  jest.advanceTimersByTime(60_000)
  expect(asked).toEqual([['lasting', true, 60_000]])
  open.add(late)
  jest.advanceTimersByTime(30_000)
  expect(asked).toEqual([
    ['lasting', true, 60_000],
    ['late', true, 60_000],
  ])
  open.add(brief)
  keepAlive.stop()
  jest.advanceTimersByTime(60_000)
  expect(asked).toHaveLength(2)
})

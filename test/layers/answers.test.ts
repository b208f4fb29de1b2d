/** Silence of a server that owes answers. */
import { expect, test } from '@jest/globals'
import { Answers } from '../../src/layers/answers.ts'
import { pass, stopTime } from '../support/time.ts'

test('what was answered while this process stood still is heard before silence is told', async () => {
  stopTime()
  const silences: string[] = []
  const answers = new Answers(100, ({ message }) => silences.push(message))
  const { promise, resolve } = Promise.withResolvers<void>()
  const answered = answers.of(promise)
  // It is in the socket, which is read after the timers of the turn.
  process.nextTick(resolve)
  await pass(100)
  await answered
  expect(silences).toEqual([])

  void answers.of(new Promise(() => undefined))
  await pass(100)
  expect(silences).toEqual(['Redis has not answered for 100 ms'])
  answers.close()
})

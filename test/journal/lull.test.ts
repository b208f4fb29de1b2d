/** Waiting until the event loop has read all that there was to read. */
import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import { expect, test } from '@jest/globals'
import { atLull } from '../../src/journal/lull.ts'

/** Each turn of the loop brings a message, until there were `rounds`. */
function busy(rounds: number) {
  const { port1, port2 } = new MessageChannel()
  let heard = 0
  for (const port of [port1, port2]) {
    port.on('message', () => {
      if (++heard === rounds) port.close()
      else port.postMessage(heard)
    })
  }
  port1.postMessage(heard)
  const closed = once(port1, 'close')
  return { heard: () => heard, stop: () => (port1.close(), closed) }
}

const hour = 3_600_000

test('while each turn of the loop brings something, the lull has not come', async () => {
  const { heard, stop } = busy(100)
  await new Promise<void>((resolve) => atLull(resolve, hour))
  expect(heard()).toBe(100)
  await stop()
})

test('in an idle process it comes at once, and never before the caller has gone on', async () => {
  let came = false
  const lull = new Promise<void>((resolve) => atLull(() => resolve(void (came = true)), hour))
  await Promise.resolve()
  expect(came).toBe(false)
  await lull
})

test('who waits is not kept waiting for ever by a loop that is never idle', async () => {
  const { heard, stop } = busy(Infinity)
  await new Promise<void>((resolve) => atLull(resolve, 1))
  expect(heard()).toBeGreaterThan(0)
  await stop()
})

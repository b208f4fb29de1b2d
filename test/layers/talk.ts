/** Two processes say one thing in each of the ways that there are. */
import { expect } from '@jest/globals'
import type { Event } from '../../src/asgi/protocol.ts'
import type { RedisLayer } from '../../src/layers/redis.ts'
import { text, until } from './messages.ts'

export async function talk(a: RedisLayer, b: RedisLayer): Promise<void> {
  expect([a.stats().connected, b.stats().connected]).toEqual([true, true])
  const got: Event[] = []
  await b.groupAdd('chat', b.newChannel({ deliverMessage: (message) => got.push(message) > 0 }))
  await a.groupSend('chat', text('hi'))
  await until(() => got.length > 0)
  await a.send('work', text('work'))
  await expect(b.receive('work')).resolves.toEqual(text('work'))
  const remote = b.newChannel()
  await a.send(remote, text('you'))
  await expect(b.receive(remote)).resolves.toEqual(text('you'))
}

/** The in-memory channel layer. */
import { expect, test } from '@jest/globals'
import type { Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'

const text = (words: string): Event => ({ type: 'chat.message', text: words }) as Event

test('a channel is first in, first out, and each message has one receiver', async () => {
  const layer = new MemoryLayer()
  const first = layer.receive('work')
  for (const words of ['1', '2', '3']) await layer.send('work', text(words))
  expect(await Promise.all([first, layer.receive('work'), layer.receive('work')])).toMatchObject([
    { text: '1' },
    { text: '2' },
    { text: '3' },
  ])
  expect(layer.stats().channels).toBe(0)
})

test('send raises channel_full exactly past capacity', async () => {
  const layer = new MemoryLayer({ capacity: 2 })
  await layer.send('work', text('1'))
  await layer.send('work', text('2'))
  await expect(layer.send('work', text('3'))).rejects.toMatchObject({ code: 'channel_full' })
  await layer.receive('work')
  await layer.send('work', text('4'))
  expect(layer.stats().dropped).toEqual({ full: 1 })
})

test('a cancelled receive loses nothing and leaves nothing', async () => {
  const layer = new MemoryLayer()
  const controller = new AbortController()
  const cancelled = layer.receive('work', { signal: controller.signal })
  controller.abort(new Error('enough'))
  await expect(cancelled).rejects.toThrow('enough')
  expect(layer.stats().channels).toBe(0)
  await layer.send('work', text('1'))
  await expect(layer.receive('work')).resolves.toMatchObject({ text: '1' })
})

test('a group message reaches every member once, and says how many had no room', async () => {
  const layer = new MemoryLayer()
  const got: Event[] = []
  const open = layer.newChannel((message) => got.push(message) > 0)
  const full = layer.newChannel(() => false)
  for (const channel of [open, full, open]) await layer.groupAdd('chat', channel)
  await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 1, dropped: 1 })
  expect(got).toMatchObject([{ text: 'hi' }])
  expect(await layer.groupMembers('chat')).toEqual([open, full])
  await expect(layer.groupSend('nobody', text('hi'))).resolves.toEqual({ delivered: 0, dropped: 0 })
})

test('receivers get a frozen copy, which the sender can no longer change', async () => {
  const layer = new MemoryLayer()
  const message = { type: 'chat.message', tags: ['a'], bytes: new Uint8Array([1]) }
  await layer.send('work', message)
  message.tags.push('b')
  const got = (await layer.receive('work')) as typeof message
  expect(got).toEqual({ type: 'chat.message', tags: ['a'], bytes: new Uint8Array([1]) })
  expect(() => got.tags.push('c')).toThrow('not extensible')
})

test.each([['', 'a b', 'a!b', 'x'.repeat(101), 'ä']].flat())('the group name %j is refused', async (name) => {
  await expect(new MemoryLayer().groupSend(name, text('hi'))).rejects.toMatchObject({ code: 'bad_name' })
})

test.each([[{ type: 'nodot' }], [{}], [{ type: 'a.b', call: () => 1 }], [undefined]])('the message %j is refused', async (message) => {
  await expect(new MemoryLayer().send('work', message as Event)).rejects.toMatchObject({ code: 'bad_message' })
})

test('a closed channel leaves its groups, and what is sent to it later is dropped and counted', async () => {
  const layer = new MemoryLayer()
  const channel = layer.newChannel()
  const waiting = layer.receive(channel)
  await layer.groupAdd('chat', channel)
  await layer.closeChannel(channel)
  await expect(waiting).rejects.toMatchObject({ code: 'scope_ended' })
  await layer.send(channel, text('late'))
  expect(layer.stats()).toEqual({ channels: 0, groups: 0, dropped: { closed: 1 } })
})

test('leaving and flushing free everything', async () => {
  const layer = new MemoryLayer()
  await layer.groupAdd('chat', 'named')
  await layer.groupDiscard('chat', 'named')
  await layer.groupDiscard('chat', 'never')
  expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
  await layer.groupAdd('chat', layer.newChannel())
  await layer.flush()
  expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

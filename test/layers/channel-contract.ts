/** The part of the contract that is about channels: order, room, cancelled receives, ends. */
import { describe, expect } from '@jest/globals'
import type { Event } from '../../src/asgi/protocol.ts'
import { text, wordsOf } from './messages.ts'
import { type MakeLayer, layerTest } from './with-layer.ts'

export function channelContract(name: string, makeLayer: MakeLayer): void {
  const withLayer = layerTest(makeLayer)

  describe(`${name}: channels`, () => {
    withLayer('a channel is first in, first out, and each message has one receiver', undefined, async (layer) => {
      for (const channel of ['work', layer.newChannel()]) {
        const first = layer.receive(channel)
        for (const words of ['1', '2', '3']) await layer.send(channel, text(words))
        const rest = [await layer.receive(channel), await layer.receive(channel)]
        expect([await first, ...rest]).toEqual([text('1'), text('2'), text('3')])
      }
    })

    withLayer('receivers are served in their order', undefined, async (layer) => {
      const channel = layer.newChannel()
      const received = Promise.all([layer.receive(channel), layer.receive(channel), layer.receive(channel)])
      for (const words of ['1', '2', '3']) await layer.send(channel, text(words))
      expect(await received).toEqual([text('1'), text('2'), text('3')])
    })

    withLayer(
      'the messages of each sender stay in order when they do not wait for each other',
      { capacity: 1000 },
      async (layer) => {
        for (const channel of ['work', layer.newChannel()]) {
          const sent: Promise<unknown>[] = []
          for (let number = 0; number < 100; number++) {
            for (const sender of ['a', 'b']) sent.push(layer.send(channel, text(`${sender}${number}`)))
          }
          await Promise.all(sent)
          const received: string[] = []
          while (received.length < 200) received.push(wordsOf(await layer.receive(channel)))
          for (const sender of ['a', 'b']) {
            expect(received.filter((words) => words.startsWith(sender))).toEqual(
              Array.from({ length: 100 }, (_, number) => `${sender}${number}`),
            )
          }
        }
      },
    )

    withLayer('send raises channel_full exactly past capacity, and counts it', { capacity: 2 }, async (layer) => {
      for (const channel of ['work', layer.newChannel()]) {
        await layer.send(channel, text('1'))
        await layer.send(channel, text('2'))
        await expect(layer.send(channel, text('3'))).rejects.toMatchObject({ code: 'channel_full' })
        await expect(layer.receive(channel)).resolves.toEqual(text('1'))
        await layer.send(channel, text('4'))
        await expect(layer.receive(channel)).resolves.toEqual(text('2'))
        await expect(layer.receive(channel)).resolves.toEqual(text('4'))
      }
      expect(layer.stats().dropped).toEqual({ full: 2 })
    })

    const capacity = {
      default: 3,
      patterns: [
        { channel: 'thumb*', capacity: 1 },
        { channel: 'thumb.big', capacity: 9 },
        { channel: 'p?', capacity: 2 },
      ],
    }
    withLayer('the first pattern that matches the name decides the capacity', { capacity }, async (layer) => {
      const held = async (channel: string) => {
        for (let count = 0; ; count++) {
          try {
            await layer.send(channel, text('x'))
          } catch {
            return count
          }
        }
      }
      expect([await held('thumb.big'), await held('px'), await held('pxx'), await held('a.thumb')]).toEqual([
        1, 2, 3, 3,
      ])
    })

    withLayer('all channels of a process together are bounded', { maxMessages: 2 }, async (layer) => {
      const [one, two] = [layer.newChannel(), layer.newChannel()]
      await layer.send(one, text('1'))
      await layer.send(two, text('2'))
      await expect(layer.send(two, text('3'))).rejects.toMatchObject({ code: 'channel_full' })
      await layer.closeChannel(one)
      await layer.send(two, text('4'))
      for (const words of ['2', '4']) expect(await layer.receive(two)).toEqual(text(words))
      for (let number = 0; number < 5; number++) {
        await layer.send(two, text('5'))
        await layer.receive(two)
      }
      expect(layer.stats().dropped).toEqual({ overloaded: 1, closed: 1 })
    })

    withLayer('a cancelled receive takes nothing out of the channel', { capacity: 2 }, async (layer) => {
      for (const channel of ['work', layer.newChannel()]) {
        const controller = new AbortController()
        const cancelled = layer.receive(channel, { signal: controller.signal })
        // Such that it waits wherever messages come from.
        await new Promise((resolve) => setTimeout(resolve, 20))
        controller.abort(new Error('enough'))
        await expect(cancelled).rejects.toThrow('enough')
        await layer.send(channel, text('2'))
        await layer.send(channel, text('3'))
        await expect(layer.send(channel, text('4'))).rejects.toMatchObject({ code: 'channel_full' })
      }
    })

    withLayer('a cancelled receive loses nothing', undefined, async (layer) => {
      for (const channel of ['work', layer.newChannel()]) {
        const controller = new AbortController()
        const cancelled = layer.receive(channel, { signal: controller.signal })
        const other = layer.receive(channel)
        controller.abort(new Error('enough'))
        await expect(cancelled).rejects.toThrow('enough')
        await layer.send(channel, text('1'))
        await layer.send(channel, text('2'))
        await expect(other).resolves.toEqual(text('1'))
        await expect(layer.receive(channel, { signal: controller.signal })).rejects.toThrow('enough')
        await expect(layer.receive(channel)).resolves.toEqual(text('2'))
      }
    })

    withLayer('a message sent while a receive is being cancelled is not lost', undefined, async (layer) => {
      for (const channel of ['work', layer.newChannel()]) {
        for (let round = 0; round < 20; round++) {
          const controller = new AbortController()
          const received = layer.receive(channel, { signal: controller.signal }).catch(() => undefined)
          const sent = layer.send(channel, text(String(round)))
          controller.abort()
          await sent
          expect((await received) ?? (await layer.receive(channel))).toEqual(text(String(round)))
        }
      }
    })

    withLayer(
      'messages to a pushed channel arrive at once; one without room is dropped and counted',
      undefined,
      async (layer) => {
        const got: Event[] = []
        const channel = layer.newChannel({ deliverMessage: (message) => got.length < 1 && got.push(message) > 0 })
        await layer.send(channel, text('1'))
        expect(got).toEqual([text('1')])
        await expect(layer.send(channel, text('2'))).rejects.toMatchObject({ code: 'channel_full' })
        expect(layer.stats().dropped).toEqual({ full: 1 })
        await expect(layer.receive(channel)).rejects.toMatchObject({ code: 'bad_name' })
      },
    )

    withLayer(
      'whoever messages are pushed to is told with each how many may wait in its channel',
      { capacity: { default: 3, patterns: [{ channel: 'jobs', capacity: 5 }] } },
      async (layer) => {
        const told: number[] = []
        const channel = layer.newChannel({ deliverMessage: (_message, capacity) => told.push(capacity) > 0 })
        await layer.groupAdd('chat', channel)
        await layer.send(channel, text('1'))
        await layer.groupSend('chat', text('2'))
        expect(told).toEqual([3, 3])
      },
    )

    withLayer(
      'what is sent to a closed channel is dropped and counted; who waits on it is told',
      undefined,
      async (layer) => {
        const channel = layer.newChannel()
        const waiting = layer.receive(channel)
        const told = expect(waiting).rejects.toMatchObject({ code: 'scope_ended' })
        await layer.groupAdd('chat', channel)
        await layer.closeChannel(channel)
        await layer.closeChannel(channel)
        await told
        await expect(layer.send(channel, text('late'))).resolves.toBe('closed')
        await layer.groupAdd('chat', channel)
        await expect(layer.receive(channel)).rejects.toMatchObject({ code: 'scope_ended' })
        await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 0, dropped: 0 })
        expect(layer.stats()).toMatchObject({ channels: 0, groups: 0, dropped: { closed: 1 } })
      },
    )

    withLayer('10,000 channels that are opened, used and closed leave nothing behind', undefined, async (layer) => {
      const one = async (number: number) => {
        const channel = layer.newChannel(number % 2 === 0 ? undefined : { deliverMessage: () => true })
        await layer.groupAdd('all', channel)
        await layer.groupAdd(`room.${number % 10}`, channel)
        await layer.send(channel, text('hi'))
        await layer.closeChannel(channel)
      }
      for (let from = 0; from < 10_000; from += 500)
        await Promise.all(Array.from({ length: 500 }, (_, index) => one(from + index)))
      // Every second one had its message still in it.
      expect(layer.stats()).toMatchObject({ channels: 0, groups: 0, dropped: { closed: 5000 } })
      expect(await layer.groupMembers('all')).toEqual([])
    })
  })
}

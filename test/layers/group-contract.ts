/** The part of the contract that is about groups and their members. */
import { describe, expect } from '@jest/globals'
import type { Event } from '../../src/asgi/protocol.ts'
import { text, wordsOf } from './messages.ts'
import { type MakeLayer, layerTest } from './with-layer.ts'

export function groupContract(name: string, makeLayer: MakeLayer): void {
  const withLayer = layerTest(makeLayer)

  describe(`${name}: groups`, () => {
    withLayer(
      'a group message reaches every member once, and says how many had no room',
      { capacity: 1 },
      async (layer) => {
        const got: Event[] = []
        const open = layer.newChannel({ deliverMessage: (message) => got.push(message) > 0 })
        const full = layer.newChannel({ deliverMessage: () => false })
        const broken = layer.newChannel({
          deliverMessage: () => {
            throw new Error('a member that cannot')
          },
        })
        const pulled = layer.newChannel()
        for (const channel of [open, full, broken, pulled, open]) await layer.groupAdd('chat', channel)
        await expect(layer.groupSend('chat', text('1'))).resolves.toEqual({ delivered: 2, dropped: 2 })
        await expect(layer.groupSend('chat', text('2'))).resolves.toEqual({ delivered: 1, dropped: 3 })
        await expect(layer.groupSend('nobody', text('hi'))).resolves.toEqual({ delivered: 0, dropped: 0 })
        expect(got).toEqual([text('1'), text('2')])
        await expect(layer.receive(pulled)).resolves.toEqual(text('1'))
        expect(layer.stats().dropped).toEqual({ full: 5 })
      },
    )

    withLayer('a message to 1,000 members is copied and frozen once', undefined, async (layer) => {
      const got = new Set<Event>()
      let count = 0
      const members = Array.from({ length: 1000 }, () =>
        layer.newChannel({ deliverMessage: (message) => got.add(message) && ++count > 0 }),
      )
      await Promise.all(members.map((channel) => layer.groupAdd('chat', channel)))
      let reads = 0
      const message = {
        type: 'chat.message',
        get text() {
          reads++
          return 'hi'
        },
      }
      await expect(layer.groupSend('chat', message)).resolves.toEqual({ delivered: 1000, dropped: 0 })
      expect([reads, got.size, count]).toEqual([1, 1, 1000])
    })

    withLayer('the messages of one sender to a group stay in order', undefined, async (layer) => {
      const got: string[] = []
      await layer.groupAdd('chat', layer.newChannel({ deliverMessage: (message) => got.push(wordsOf(message)) > 0 }))
      await Promise.all(Array.from({ length: 200 }, (_, number) => layer.groupSend('chat', text(String(number)))))
      expect(got).toEqual(Array.from({ length: 200 }, (_, number) => String(number)))
    })

    withLayer('a member that leaves, or is closed, gets nothing more', undefined, async (layer) => {
      const [one, two] = [
        layer.newChannel({ deliverMessage: () => true }),
        layer.newChannel({ deliverMessage: () => true }),
      ]
      await layer.groupAdd('chat', one)
      await layer.groupAdd('chat', two)
      await layer.groupAdd('other', two)
      await layer.groupDiscard('chat', one)
      await layer.groupDiscard('chat', one)
      await layer.groupDiscard('never', one)
      await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 1, dropped: 0 })
      await layer.closeChannel(two)
      await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 0, dropped: 0 })
      expect(layer.stats()).toMatchObject({ groups: 0, channels: 1 })
    })

    withLayer('members can be listed and counted', undefined, async (layer) => {
      const [one, two] = [layer.newChannel(), layer.newChannel({ deliverMessage: () => true })]
      expect([await layer.groupMembers('chat'), await layer.groupSize('chat')]).toEqual([[], 0])
      for (const channel of [one, two, one]) await layer.groupAdd('chat', channel)
      await layer.groupAdd('chat2', one)
      expect([(await layer.groupMembers('chat')).toSorted(), await layer.groupSize('chat')]).toEqual([
        [one, two].toSorted(),
        2,
      ])
      await layer.closeChannel(one)
      expect([await layer.groupMembers('chat'), await layer.groupSize('chat2')]).toEqual([[two], 0])
    })

    withLayer('a named channel can be a member, and each message is there once', undefined, async (layer) => {
      await layer.groupAdd('chat', 'archive')
      await layer.groupSend('chat', text('1'))
      await layer.groupSend('chat', text('2'))
      expect([await layer.receive('archive'), await layer.receive('archive')]).toEqual([text('1'), text('2')])
      expect(await layer.groupMembers('chat')).toEqual(['archive'])
      await layer.groupDiscard('chat', 'archive')
      await layer.groupSend('chat', text('3'))
      await layer.send('archive', text('4'))
      await expect(layer.receive('archive')).resolves.toEqual(text('4'))
      expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
    })
  })
}

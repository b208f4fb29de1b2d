/** The part of the contract that is about time: messages and memberships that are too old. */
import { describe, expect } from '@jest/globals'
import type { ChannelLayer } from '../../src/asgi/channel-layer.ts'
import type { DeadLetter, LayerOptions } from '../../src/layers/limits.ts'
import { text, until } from './messages.ts'
import { type MakeLayer, layerTest } from './with-layer.ts'

const day = 86_400_000

export function timeContract(name: string, makeLayer: MakeLayer): void {
  const withLayer = layerTest(makeLayer)

  describe(`${name}: time`, () => {
    const clock = () => {
      let time = 1_700_000_000_000
      return { now: () => time, pass: (milliseconds: number) => void (time += milliseconds) }
    }
    const withClock = (
      title: string,
      options: LayerOptions,
      body: (layer: ChannelLayer, pass: (milliseconds: number) => void) => Promise<void>,
    ) => {
      const { now, pass } = clock()
      withLayer(title, { ...options, now }, (layer) => body(layer, pass))
    }

    withClock('a message that nobody takes for a minute is gone, and counted', { capacity: 1 }, async (layer, pass) => {
      const channel = layer.newChannel()
      await layer.send(channel, text('old'))
      pass(59_999)
      await expect(layer.send(channel, text('no room yet'))).rejects.toMatchObject({ code: 'channel_full' })
      pass(1)
      await layer.send(channel, text('new'))
      await expect(layer.receive(channel)).resolves.toEqual(text('new'))
      expect(layer.stats().dropped).toEqual({ full: 1, expired: 1 })
    })

    withClock('messages that are too old make room for others', { maxMessages: 2 }, async (layer, pass) => {
      const [one, two] = [layer.newChannel(), layer.newChannel()]
      await layer.send(one, text('1'))
      await layer.send(one, text('2'))
      await expect(layer.send(two, text('3'))).rejects.toMatchObject({ code: 'channel_full' })
      pass(60_000)
      await layer.send(two, text('3'))
      expect(layer.stats().dropped).toEqual({ overloaded: 1, expired: 2 })
    })

    withClock('a message in time is taken', {}, async (layer, pass) => {
      const channel = layer.newChannel()
      await layer.send(channel, text('old'))
      await layer.send('work', text('work'))
      pass(59_999)
      await expect(layer.receive(channel)).resolves.toEqual(text('old'))
      pass(day - 60_000)
      await expect(layer.receive('work')).resolves.toEqual(text('work'))
    })

    const letters: DeadLetter[] = []
    withClock(
      'work that nobody takes for a day is a dead letter',
      { onDeadLetter: (letter) => letters.push(letter) },
      async (layer, pass) => {
        await layer.send('work', text('old'))
        pass(day)
        await layer.send('work', text('new'))
        await expect(layer.receive('work')).resolves.toEqual(text('new'))
        await until(() => letters.length > 0)
        expect(letters).toMatchObject([{ channel: 'work', message: JSON.stringify(text('old')), reason: 'expired' }])
        expect(layer.stats().dropped).toEqual({ expired: 1 })
      },
    )

    const given: DeadLetter[] = []
    withClock(
      'work that failed and that nobody takes again for a day is a dead letter',
      { retry: { delay: 60_000 }, onDeadLetter: (letter) => given.push(letter) },
      async (layer, pass) => {
        const controller = new AbortController()
        await layer.send('work', text('old'))
        const fail = () => {
          controller.abort()
          throw new Error('not yet')
        }
        await layer.consume('work', fail, { signal: controller.signal })
        pass(day)
        await layer.send('work', text('new'))
        await expect(layer.receive('work')).resolves.toEqual(text('new'))
        await until(() => given.length > 0)
        expect(given).toMatchObject([{ message: JSON.stringify(text('old')), reason: 'expired' }])
      },
    )

    const expiry = { default: 10, named: 20, patterns: [{ channel: 'slow*', expiry: 30 }] }
    withClock(
      'the first pattern that matches the name decides how long a message waits',
      { expiry },
      async (layer, pass) => {
        const channel = layer.newChannel()
        for (const name of [channel, 'fast', 'slow']) await layer.send(name, text('1'))
        pass(10)
        for (const name of [channel, 'fast', 'slow']) await layer.send(name, text('2'))
        expect(await layer.receive(channel)).toEqual(text('2'))
        expect(await layer.receive('fast')).toEqual(text('1'))
        pass(10)
        expect(await layer.receive('fast')).toEqual(text('2'))
        expect(await layer.receive('slow')).toEqual(text('1'))
      },
    )

    withClock('a membership lapses a day after it was last added', {}, async (layer, pass) => {
      const [once, again] = [layer.newChannel(), layer.newChannel()]
      for (const channel of [once, again, 'named']) await layer.groupAdd('chat', channel)
      pass(1)
      await layer.groupAdd('chat', again)
      pass(day - 1)
      await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 1, dropped: 0 })
      expect([await layer.groupMembers('chat'), await layer.groupSize('chat')]).toEqual([[again], 1])
      pass(1)
      expect(await layer.groupSize('chat')).toBe(0)
      expect(layer.stats()).toMatchObject({ groups: 0, channels: 2 })
    })

    withClock('a pushed channel stays in its groups until it is closed', {}, async (layer, pass) => {
      const channel = layer.newChannel({ deliverMessage: () => true })
      await layer.groupAdd('chat', channel)
      pass(10 * day)
      await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 1, dropped: 0 })
    })
  })
}

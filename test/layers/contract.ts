/** What every channel layer does, whatever stands behind it. */
import { describe, expect } from '@jest/globals'
import type { ChannelLayer } from '../../src/asgi/channel-layer.ts'
import type { Event } from '../../src/asgi/protocol.ts'
import type { DeadLetter, LayerOptions } from '../../src/layers/limits.ts'
import { type MakeLayer, layerTest } from './with-layer.ts'
import { text, until, wordsOf } from './messages.ts'
import { layerModel } from './model.ts'
import { workContract } from './work-contract.ts'

const day = 86_400_000

/** `runs` is how many random lives the model leads. */
export function layerContract(name: string, makeLayer: MakeLayer, runs = 200): void {
  layerModel(name, makeLayer, runs)

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
          const sent: Promise<void>[] = []
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
      expect(layer.stats().dropped).toEqual({ overloaded: 1 })
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
        const channel = layer.newChannel((message) => got.length < 1 && got.push(message) > 0)
        await layer.send(channel, text('1'))
        expect(got).toEqual([text('1')])
        await expect(layer.send(channel, text('2'))).rejects.toMatchObject({ code: 'channel_full' })
        expect(layer.stats().dropped).toEqual({ full: 1 })
        await expect(layer.receive(channel)).rejects.toMatchObject({ code: 'bad_name' })
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
        await layer.send(channel, text('late'))
        await layer.groupAdd('chat', channel)
        await expect(layer.receive(channel)).rejects.toMatchObject({ code: 'scope_ended' })
        await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 0, dropped: 0 })
        expect(layer.stats()).toMatchObject({ channels: 0, groups: 0, dropped: { closed: 1 } })
      },
    )

    withLayer('10,000 channels that are opened, used and closed leave nothing behind', undefined, async (layer) => {
      const one = async (number: number) => {
        const channel = layer.newChannel(number % 2 === 0 ? undefined : () => true)
        await layer.groupAdd('all', channel)
        await layer.groupAdd(`room.${number % 10}`, channel)
        await layer.send(channel, text('hi'))
        await layer.closeChannel(channel)
      }
      for (let from = 0; from < 10_000; from += 500)
        await Promise.all(Array.from({ length: 500 }, (_, index) => one(from + index)))
      expect(layer.stats()).toMatchObject({ channels: 0, groups: 0, dropped: {} })
      expect(await layer.groupMembers('all')).toEqual([])
    })
  })

  describe(`${name}: messages`, () => {
    const everything = {
      type: 'chat.message',
      text: 'ü€😀\u0000\uD800"\\',
      nothing: null,
      yes: true,
      numbers: [0, -1.5, 1e300, Number.NaN, Infinity, -Infinity],
      big: 12345678901234567890n,
      bytes: new Uint8Array([0, 1, 255]),
      empty: [new Uint8Array(), [], {}, ''],
      at: new Date(1_700_000_000_123),
      $bytes: 'not bytes',
      nested: { $date: 'no date', $$: 1, $from: 'x', list: [{ $number: 'NaN' }] },
    }

    withLayer('plain data of every kind arrives as it was sent', undefined, async (layer) => {
      for (const channel of ['work', layer.newChannel()]) {
        await layer.send(channel, everything)
        expect(await layer.receive(channel)).toStrictEqual(everything)
      }
    })

    withLayer('receivers get a frozen copy, which the sender can no longer change', undefined, async (layer) => {
      for (const channel of ['work', layer.newChannel()]) {
        const message = { type: 'chat.message', tags: ['a'], bytes: new Uint8Array([1]), gone: undefined }
        const sent = layer.send(channel, message)
        message.tags.push('b')
        message.bytes[0] = 9
        await sent
        const got = (await layer.receive(channel)) as typeof message
        expect(got).toStrictEqual({ type: 'chat.message', tags: ['a'], bytes: new Uint8Array([1]) })
        expect(() => got.tags.push('c')).toThrow('not extensible')
        expect(() => Object.assign(got, { type: 'x.y' })).toThrow('read only')
      }
    })

    const circle: Record<string, unknown> = { type: 'a.b' }
    circle['self'] = circle
    const bad: readonly (readonly [string, unknown])[] = [
      ['nothing', undefined],
      ['text', 'a.b'],
      ['no type', {}],
      ['a type without a dot', { type: 'nodot' }],
      ['a function', { type: 'a.b', call: () => 1 }],
      ['a map', { type: 'a.b', map: new Map() }],
      ['an instance of a class', { type: 'a.b', url: new URL('http://localhost/') }],
      ['a symbol', { type: 'a.b', symbol: Symbol('x') }],
      ['an invalid date', { type: 'a.b', at: new Date('never') }],
      ['a circle', circle],
      ['__proto__', JSON.parse('{"type":"a.b","__proto__":{"x":1}}')],
      ['more than may be sent', { type: 'a.b', text: 'x'.repeat(5000) }],
    ]
    withLayer('what is no message is refused', { maxMessageSize: 5000 }, async (layer) => {
      for (const [what, message] of bad) {
        const refused = [layer.send('work', message as Event), layer.groupSend('chat', message as Event)]
        expect([what, ...(await codesOf(refused))]).toEqual([what, 'bad_message', 'bad_message'])
      }
    })

    withLayer('the size limit is on the bytes of the JSON, to the byte', { maxMessageSize: 100 }, async (layer) => {
      const room = 100 - JSON.stringify({ type: 'a.b', text: '' }).length
      const channel = layer.newChannel()
      await layer.send(channel, { type: 'a.b', text: 'x'.repeat(room) } as Event)
      await expect(layer.send(channel, { type: 'a.b', text: 'x'.repeat(room + 1) } as Event)).rejects.toMatchObject({
        code: 'bad_message',
      })
      await layer.send(channel, { type: 'a.b', text: 'é'.repeat(room / 2) } as Event)
      await expect(layer.send(channel, { type: 'a.b', text: 'é'.repeat(room / 2 + 1) } as Event)).rejects.toMatchObject(
        { code: 'bad_message' },
      )
    })
  })

  describe(`${name}: names`, () => {
    const names = ['', 'a b', 'x'.repeat(101), 'ä', 'a\n', 'a!b!c', '!a', 'a!', 'a*', 'a:b']
    withLayer('a bad name is refused, wherever it stands', undefined, async (layer) => {
      for (const bad of names) {
        const refused = [
          layer.send(bad, text('hi')),
          layer.receive(bad),
          layer.groupSend(bad, text('hi')),
          layer.groupAdd(bad, layer.newChannel()),
          layer.groupAdd('chat', bad),
        ]
        expect([bad, ...(await codesOf(refused))]).toEqual([bad, ...refused.map(() => 'bad_name')])
      }
    })

    withLayer('every allowed character is', undefined, async (layer) => {
      const name = 'AZaz09-_.'.padEnd(100, 'x')
      await layer.send(name, text('hi'))
      await expect(layer.receive(name)).resolves.toEqual(text('hi'))
      await layer.groupAdd(
        name,
        layer.newChannel(() => true),
      )
      await expect(layer.groupSend(name, text('hi'))).resolves.toEqual({ delivered: 1, dropped: 0 })
      expect(layer.newChannel()).toMatch(/^[\w.-]+![\w.-]+$/)
      await expect(layer.groupSend('a!b', text('hi'))).rejects.toMatchObject({ code: 'bad_name' })
    })
  })

  describe(`${name}: groups`, () => {
    withLayer(
      'a group message reaches every member once, and says how many had no room',
      { capacity: 1 },
      async (layer) => {
        const got: Event[] = []
        const open = layer.newChannel((message) => got.push(message) > 0)
        const full = layer.newChannel(() => false)
        const broken = layer.newChannel(() => {
          throw new Error('a member that cannot')
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
      const members = Array.from({ length: 1000 }, () => layer.newChannel((message) => got.add(message) && ++count > 0))
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
      await layer.groupAdd(
        'chat',
        layer.newChannel((message) => got.push(wordsOf(message)) > 0),
      )
      await Promise.all(Array.from({ length: 200 }, (_, number) => layer.groupSend('chat', text(String(number)))))
      expect(got).toEqual(Array.from({ length: 200 }, (_, number) => String(number)))
    })

    withLayer('a member that leaves, or is closed, gets nothing more', undefined, async (layer) => {
      const [one, two] = [layer.newChannel(() => true), layer.newChannel(() => true)]
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
      const [one, two] = [layer.newChannel(), layer.newChannel(() => true)]
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
      const channel = layer.newChannel(() => true)
      await layer.groupAdd('chat', channel)
      pass(10 * day)
      await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 1, dropped: 0 })
    })
  })

  workContract(name, makeLayer)

  describe(`${name}: the end`, () => {
    withLayer('flush forgets every message, channel and group', undefined, async (layer) => {
      const channel = layer.newChannel()
      const waiting = expect(layer.receive(layer.newChannel())).rejects.toMatchObject({ code: 'scope_ended' })
      await layer.groupAdd('chat', channel)
      await layer.send(channel, text('old'))
      await layer.send('work', text('old'))
      await layer.flush()
      await waiting
      expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
      expect(await layer.groupMembers('chat')).toEqual([])
      await layer.send('work', text('new'))
      await expect(layer.receive('work')).resolves.toEqual(text('new'))
    })

    withLayer('close tells everybody who waits', undefined, async (layer) => {
      const { signal } = new AbortController()
      const waiting = [
        layer.receive('work'),
        layer.receive(layer.newChannel()),
        layer.consume('work', () => {}, { signal, concurrency: 2 }),
      ]
      const told = Promise.allSettled(waiting)
      await layer.close()
      expect((await told).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    })
  })
}

async function codesOf(refused: readonly Promise<unknown>[]): Promise<readonly unknown[]> {
  const settled = await Promise.allSettled(refused)
  return settled.map((one) => (one.status === 'rejected' ? (one.reason as { readonly code?: unknown }).code : 'taken'))
}

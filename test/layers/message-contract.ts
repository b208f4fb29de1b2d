/** The part of the contract that is about what may be sent, and what channels and groups may be called. */
import { describe, expect } from '@jest/globals'
import type { Event } from '../../src/asgi/protocol.ts'
import { text } from './messages.ts'
import { type MakeLayer, layerTest } from './with-layer.ts'

export function messageContract(name: string, makeLayer: MakeLayer): void {
  const withLayer = layerTest(makeLayer)

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
      await layer.groupAdd(name, layer.newChannel({ deliverMessage: () => true }))
      await expect(layer.groupSend(name, text('hi'))).resolves.toEqual({ delivered: 1, dropped: 0 })
      expect(layer.newChannel()).toMatch(/^[\w.-]+![\w.-]+$/)
      await expect(layer.groupSend('a!b', text('hi'))).rejects.toMatchObject({ code: 'bad_name' })
    })
  })
}

async function codesOf(refused: readonly Promise<unknown>[]): Promise<readonly unknown[]> {
  const settled = await Promise.allSettled(refused)
  return settled.map((one) => (one.status === 'rejected' ? (one.reason as { readonly code?: unknown }).code : 'taken'))
}

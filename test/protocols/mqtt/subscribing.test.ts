/** What becomes of subscriptions that follow one another closely, overlap, or are asked for twice. */
import { expect, test } from '@jest/globals'
import type { RawClient } from '../../support/raw-client.ts'
import { inEachStore } from './stores.ts'
import { bytes, messagesOf, packet, recorder, until, type MqttServer } from './support.ts'

/** A SUBSCRIBE of these filters with these QoS. */
const subscribe = (...all: readonly (readonly [string, number])[]) =>
  packet(0x82, Buffer.from([0, 1]), ...all.flatMap(([filter, qos]) => [bytes.string(filter), Buffer.from([qos])]))
/** The PUBLISH packets that came, as QoS and payload, which is one digit. */
const publishes = ({ text }: RawClient) =>
  Array.from(text.matchAll(/([\x30-\x3d])[\x06\x08]\x00\x03o\/a(?:..)?(\d)/gs), ([, [first] = '', digit]) => {
    return `${((first ?? '').charCodeAt(0) >> 1) & 3} ${digit}`
  })
const acknowledge = (client: RawClient) => {
  const [id] = Array.from(client.text.matchAll(/[\x32\x3a]\x08\x00\x03o\/a(..)\d/gs), ([, bytes = '']) => bytes).slice(
    -1,
  )
  client.send(packet(0x40, Buffer.from(id ?? '', 'latin1')))
}

const violation = Buffer.from([0xf0, 0])
const subscribed = /\x90\x03\x00\x01[\x00-\x02]/

async function subscriber(
  server: MqttServer,
  clientId: string,
  flags: number,
  ...filters: string[]
): Promise<RawClient> {
  const client = await server.raw()
  client.send(bytes.connect({ clientId, flags }))
  for (const filter of filters) client.send(bytes.subscribe(filter))
  await client.until(new RegExp(`(?:${subscribed.source}.*){${filters.length}}`, 's'))
  return client
}

inEachStore((start) => {
  test.each([2, 0])(
    'a client that unsubscribes and breaks off at once takes nothing from another, connect flags %i',
    async (flags) => {
      await using server = await start()
      const filters = ['t/a', 't/b/+']
      const other = await subscriber(server, 'other', 2, ...filters)
      const broken = await subscriber(server, 'broken', flags, ...filters)
      broken.send(Buffer.concat([...filters.map((filter) => bytes.unsubscribe(filter)), violation]))
      await broken.closed
      const sender = await server.connect()
      await sender.publishAsync('t/a', 'one', { qos: 1 })
      await sender.publishAsync('t/b/c', 'two', { qos: 1 })
      await other.until(/one.*two$/s)
    },
  )

  test.each([2, 0])(
    'the last word counts when a client says one thing and its opposite at once, connect flags %i',
    async (flags) => {
      const app = recorder()
      await using server = await start({}, app)
      const client = await subscriber(server, 'raw', flags, 'a', 'b')
      client.send(
        Buffer.concat([bytes.unsubscribe('a'), bytes.subscribe('a'), bytes.unsubscribe('b'), bytes.subscribe('b')]),
        Buffer.concat([
          bytes.unsubscribe('b'),
          bytes.subscribe('c'),
          bytes.unsubscribe('c'),
          bytes.publish('end', '', { qos: 1 }),
        ]),
      )
      await client.until(/\x40\x02\x00\x01/)
      const sender = await server.connect()
      for (const topic of ['b', 'c', 'a']) await sender.publishAsync(topic, `<${topic}>`, { qos: 1 })
      expect(await client.until(/<a>/)).not.toMatch(/<[bc]>/)
      expect(
        app.events.flatMap((event) => ('filter' in event ? `${event.type.slice(5)} ${event.filter}` : [])),
      ).toEqual([
        'subscribe a',
        'subscribe b',
        'unsubscribe a',
        'subscribe a',
        'unsubscribe b',
        'subscribe b',
        'unsubscribe b',
        'subscribe c',
        'unsubscribe c',
      ])
      const answers = Array.from(client.text.matchAll(/[\x90\xb0][\x02\x03]\x00\x01/g), ([text]) => text.codePointAt(0))
      expect(answers).toEqual([0x90, 0x90, 0xb0, 0x90, 0xb0, 0x90, 0xb0, 0x90, 0xb0])
    },
  )

  test('who unsubscribes and subscribes again without waiting is subscribed', async () => {
    await using server = await start()
    const client = await server.connect()
    await client.subscribeAsync('a')
    await Promise.all([client.unsubscribeAsync('a'), client.subscribeAsync('a')])
    await client.publishAsync('a', 'x', { qos: 1 })
    await client.publishAsync('a', 'y', { qos: 1 })
    expect(messagesOf(client)).toContain('a x')
  })

  const orders = [
    ['o/#', 0, 'o/a', 1],
    ['o/a', 1, 'o/#', 0],
    ['o/a', 0, 'o/#', 1],
    ['o/+', 0, 'o/#', 1],
  ] as const
  test.each(orders)(
    'of overlapping subscriptions the highest QoS counts, in whatever order: %s %i, %s %i',
    async (...order) => {
      const [first, firstQos, second, secondQos] = order
      await using server = await start({ maxQueued: 2 })
      const sender = await server.connect()
      const clients: RawClient[] = []
      for (const flags of [2, 0]) {
        const client = await server.raw()
        client.send(
          bytes.connect({ clientId: `device ${flags}`, flags }),
          subscribe([first, firstQos]),
          subscribe([second, secondQos]),
        )
        // What was granted is what is said.
        await client.until(new RegExp(`\\x90\\x03\\x00\\x01\\x0${firstQos}\\x90\\x03\\x00\\x01\\x0${secondQos}$`))
        clients.push(client)
      }
      for (const text of '123') {
        await sender.publishAsync('o/a', text, { qos: 1 })
        for (const client of clients) {
          await client.until(new RegExp(`o/a..${text}$`, 's'))
          acknowledge(client)
        }
      }
      await sender.publishAsync('o/a', '4', { qos: 0 })
      for (const client of clients) {
        await client.until(/o\/a4$/)
        expect(publishes(client)).toEqual(['1 1', '1 2', '1 3', '0 4'])
        client.send(bytes.disconnect)
        await client.closed
      }
      // Nothing is left in the session, and there is room for what comes.
      await sender.publishAsync('o/a', '5', { qos: 2 })
      await sender.publishAsync('o/a', '6', { qos: 1 })
      const again = await server.raw()
      again.send(bytes.connect({ clientId: 'device 0', flags: 0 }))
      await again.until(/5.*6$/s)
      expect(publishes(again)).toEqual(['1 5', '1 6'])
    },
  )

  test('a subscription of QoS 0 keeps nothing, also where what comes has a higher one', async () => {
    await using server = await start()
    const sender = await server.connect()
    const device = await server.raw()
    device.send(bytes.connect({ clientId: 'device', flags: 0 }), subscribe(['o/a', 0]))
    await device.until(/\x90\x03\x00\x01\x00$/)
    await sender.publishAsync('o/a', '1', { qos: 2 })
    await device.until(/1$/)
    expect(publishes(device)).toEqual(['0 1'])
    device.send(bytes.disconnect)
    await device.closed
    await sender.publishAsync('o/a', '2', { qos: 1 })
    const again = await server.raw()
    again.send(bytes.connect({ clientId: 'device', flags: 0 }), bytes.publish('o/a', '3', { qos: 1 }))
    await again.until(/3/)
    expect(publishes(again)).toEqual(['0 3'])
  })

  test('what was sent with QoS 1 comes again with QoS 1, whatever was subscribed to since', async () => {
    await using server = await start()
    const sender = await server.connect()
    const device = await server.raw()
    device.send(bytes.connect({ clientId: 'device', flags: 0 }), subscribe(['o/a', 1]))
    await device.until(/\x90\x03\x00\x01\x01$/)
    await sender.publishAsync('o/a', '1', { qos: 1 })
    await device.until(/1$/)
    device.send(subscribe(['o/a', 0]))
    await device.until(/\x90\x03\x00\x01\x00$/)
    device.send(bytes.disconnect)
    await device.closed
    for (const expected of [['1 1'], []]) {
      const again = await server.raw()
      again.send(bytes.connect({ clientId: 'device', flags: 0 }), bytes.publish('end', '', { qos: 1 }))
      await again.until(/\x40\x02\x00\x01/)
      if (expected.length > 0) await again.until(/o\/a..1/s)
      expect(publishes(again)).toEqual(expected)
      if (expected.length > 0) acknowledge(again)
      again.send(bytes.ping)
      await again.until(/\xd0\x00/)
      again.send(bytes.disconnect)
      await again.closed
    }
  })

  test.each([
    [0, 1],
    [1, 0],
  ])(
    'a filter that is twice in one SUBSCRIBE is answered twice, and the last QoS counts: %i, %i',
    async (first, last) => {
      await using server = await start()
      const client = await server.raw()
      client.send(
        bytes.connect({ flags: 0 }),
        subscribe(['o/a', first], ['b', 2], ['$share/group/a', 1], ['o/a', last], ['c', 1]),
      )
      await client.until(/\x90/)
      await client.until(new RegExp(`\\x90\\x07\\x00\\x01\\x0${first}\\x02\\x80\\x0${last}\\x01$`))
      const sender = await server.connect()
      await sender.publishAsync('o/a', '1', { qos: 2 })
      await client.until(/1$/)
      expect(publishes(client)).toEqual([`${last} 1`])
    },
  )

  test.each([
    [['#'], ['x']],
    [['+/+'], []],
    [['+/#', 'x'], ['x']],
    [['$a/#'], ['$a/x']],
    [
      ['#', '$a/+', '+'],
      ['$a/x', 'x'],
    ],
  ])('of what is retained %j takes %j, each once', async (filters, topics) => {
    const everything = ['#', '$a/#']
    await using server = await start({ anonymous: { publish: everything, subscribe: everything } })
    const sender = await server.connect()
    for (const topic of ['$a/x', 'x']) await sender.publishAsync(topic, 'kept', { qos: 1, retain: true })
    const client = await server.connect()
    const messages = messagesOf(client)
    await client.subscribeAsync(filters, { qos: 1 }) // [MQTT-4.7.2-1]
    await client.subscribeAsync('z')
    await client.publishAsync('z', 'last')
    await until(() => messages.includes('z last'))
    expect(messages.toSorted()).toEqual([...topics.map((topic) => `${topic} kept`), 'z last'])
  })
})

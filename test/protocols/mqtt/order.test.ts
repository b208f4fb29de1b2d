/** Each publish once, acknowledged when it is done, and in order for all who hear it. */
import { expect, test } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import { bytes, messagesOf, recorder, serveMqtt, until } from './support.ts'

test('QoS 2 reaches the application exactly once, however often the client repeats it', async () => {
  const { application, texts } = recorder(() => sleep(5))
  await using server = await serveMqtt(application)
  const subscriber = await server.connect()
  const messages = messagesOf(subscriber)
  await subscriber.subscribeAsync('#', { qos: 2 })
  const client = await server.raw()
  const once = (id: number, flags = 0) => bytes.publish('t', `message ${id}`, { qos: 2, id, flags })
  client.send(bytes.connect({ flags: 0 }), once(1), once(1, 8), once(2), once(1, 8))
  await client.until(/(?:\x50\x02\x00.){4}/s)
  client.reset()
  await client.closed
  const again = await server.raw()
  again.send(
    bytes.connect({ flags: 0 }),
    once(2, 8),
    once(1, 8),
    once(3),
    bytes.pubrel(1),
    bytes.pubrel(2),
    bytes.pubrel(3),
  )
  await again.until(/(?:\x70\x02\x00.){3}/s)
  expect(texts()).toEqual(['message 1', 'message 2', 'message 3'])
  // The identifier is free again.
  again.send(once(1))
  await until(() => texts().length === 4)
  await until(() => messages.length === 4)
  expect(messages).toEqual(['t message 1', 't message 2', 't message 3', 't message 1'])
})

test('PUBACK comes when the application is done, and not before the message is brokered', async () => {
  const done = Promise.withResolvers<void>()
  const { application, texts } = recorder(() => done.promise)
  await using server = await serveMqtt(application)
  const client = await server.raw()
  client.send(bytes.connect(), bytes.subscribe('t'), bytes.publish('t', 'x', { qos: 1, id: 7 }))
  await until(() => texts().length === 1)
  expect(client.text).not.toContain('\x40\x02')
  done.resolve()
  const text = await client.until(/\x40\x02\x00\x07/)
  expect(text).toContain('\x30\x04\x00\x01tx')
})

test('acknowledgements keep their order, whatever takes longer to broker', async () => {
  const { application } = recorder()
  await using server = await serveMqtt(application)
  const subscriber = await server.connect()
  await subscriber.subscribeAsync('wanted', { qos: 1 })
  const client = await server.raw()
  const packets = Array.from({ length: 20 }, (_, index) =>
    bytes.publish(index % 2 ? 'unwanted' : 'wanted', 'x', { qos: 1, id: index + 1 }),
  )
  client.send(bytes.connect(), Buffer.concat(packets))
  await until(() => client.text.length === 4 + 4 * packets.length)
  const ids = packets.map((_, index) => client.text.charCodeAt(4 + 4 * index + 3))
  expect(ids).toEqual(packets.map((_, index) => index + 1))
})

test("a message that has to be stored is not lost when another client's overtakes it", async () => {
  const { application } = recorder()
  await using server = await serveMqtt(application, { persistence: 'disk' })
  const subscriber = await server.connect()
  await subscriber.subscribeAsync('#', { qos: 1 })
  const [first, second] = await Promise.all([server.connect(), server.connect()])
  const count = 100
  const sent = Array.from({ length: count }, (_, index) => [
    first.publishAsync('kept', String(index), { qos: 0, retain: true }),
    second.publishAsync('passing', String(index), { qos: 0 }),
  ])
  await Promise.all(sent.flat())
  await until(() => messagesOf(subscriber).length === 2 * count)
  for (const topic of ['kept', 'passing']) {
    const own = messagesOf(subscriber).filter((message) => message.startsWith(topic))
    expect(own).toEqual(own.map((_, index) => `${topic} ${index}`))
  }
})

test('a clean session that broke off in the middle of QoS 2 leaves nothing that later messages are mistaken for', async () => {
  const { application, texts } = recorder(() => sleep(20))
  await using server = await serveMqtt(application)
  const subscriber = await server.connect()
  await subscriber.subscribeAsync('#', { qos: 1 })
  const client = await server.raw()
  client.send(bytes.connect(), bytes.publish('t', 'first', { qos: 2, id: 1 }))
  await until(() => texts().length === 1)
  client.reset()
  await until(() => messagesOf(subscriber).length === 1)
  const again = await server.raw()
  again.send(bytes.connect({ flags: 0 }), bytes.publish('t', 'second', { qos: 2, id: 1 }))
  await until(() => messagesOf(subscriber).length === 2)
  expect(texts()).toEqual(['first', 'second'])
})

test('messages keep their order for subscribers, whatever has to be stored', async () => {
  const { application } = recorder()
  await using server = await serveMqtt(application, { persistence: 'disk' })
  const subscribers = await Promise.all(
    [true, false].map(async (clean, index) => {
      const subscriber = await server.connect({ clientId: `s${index}`, clean })
      const messages = messagesOf(subscriber)
      await subscriber.subscribeAsync({ 't/#': { qos: 1 }, 't/+': { qos: 1 }, '#': { qos: 1 } })
      return messages
    }),
  )
  const client = await server.connect()
  const expected: string[] = []
  const sent: Promise<unknown>[] = []
  for (let index = 0; index < 300; index++) {
    expected.push(`t/x ${index}`)
    sent.push(client.publishAsync('t/x', String(index), { qos: 1, retain: index % 3 === 0 }))
  }
  await Promise.all(sent)
  await until(() => subscribers.every((messages) => messages.length >= 300))
  for (const messages of subscribers) expect(messages).toEqual(expected)
})

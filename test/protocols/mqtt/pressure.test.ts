/** Too much at once: slow applications, floods, clients that do not read, and many that come and go. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from '@jest/globals'
import type { MqttProtocol } from '../../../protocols/mqtt/scope.ts'
import { pass, stopTime } from '../../support/time.ts'
import { bytes, connack, messagesOf, recorder, serveMqtt, until, type MqttApplication } from './support.ts'

type MqttSend = Parameters<MqttApplication>[2]

/** Accepts, and handles one event after the other until the client is gone. */
function handling(
  handle: (event: MqttProtocol['receive'], send: MqttSend) => Promise<unknown> | void,
): MqttApplication {
  return async (_scope, receive, send) => {
    await send({ type: 'mqtt.accept' })
    for (;;) {
      const event = await receive()
      if (event.type === 'mqtt.disconnect') return
      await handle(event, send)
    }
  }
}

/** Counts what it has not asked for the next of, in order; keeps nothing. */
function counter(handle: (number: number) => Promise<void> | void) {
  const seen = { inOrder: true, count: 0 }
  const application = handling((event) => {
    if (event.type !== 'mqtt.publish') return
    const number = Number(Buffer.from(event.payload.subarray(0, 6)).toString())
    seen.inOrder &&= number === seen.count
    seen.count++
    return handle(number)
  })
  return { application, seen }
}

const padded = (number: number, length: number) => String(number).padStart(6, '0').padEnd(length, 'x')

test('5,000 publishes at once to a slow application are handled in order and acknowledged in order, in bounded memory', async () => {
  const count = 5000
  const size = 10_000
  let farthest = 0
  let handled = 0
  const { application, seen } = counter(async (number) => {
    // What the gateway has taken from the socket and the application has not seen.
    farthest = Math.max(farthest, taken() - number * size)
    if (number % 20 === 0) await sleep(1)
    handled++
  })
  await using server = await serveMqtt(application)
  const client = await server.raw()
  client.send(bytes.connect())
  await client.until(/^\x20\x02\x00\x00$/)
  const start = client.socket.bytesWritten
  const taken = () => client.socket.bytesWritten - start - client.socket.writableLength
  for (let number = 0; number < count; number++)
    client.send(bytes.publish('t', padded(number, size), { qos: 1, id: number + 1 }))
  await until(() => client.text.length >= 4 + 4 * count)
  expect([seen.inOrder, seen.count, handled]).toEqual([true, count, count])
  const acknowledged = Buffer.from(client.text.slice(4), 'latin1')
  expect(Array.from({ length: count }, (_, index) => acknowledged.readUInt32BE(4 * index))).toEqual(
    Array.from({ length: count }, (_, index) => 0x4002_0000 + index + 1),
  )
  // Of 50 MB, and most of it is what the kernel holds between the two sockets.
  expect(farthest).toBeLessThan(16_000_000)
})

test('a slow application costs a client with a short keep alive neither its connection nor a message', async () => {
  const { application, seen } = counter(() => sleep(120))
  await using server = await serveMqtt(application, { window: 2 })
  // Pings every second, and is cut after one and a half without a sign of life, or leaves after two without an answer.
  const client = await server.connect({ keepalive: 1 })
  let closed = false
  client.on('close', () => (closed = true))
  const sent = Array.from({ length: 40 }, (_, number) => client.publishAsync('t', padded(number, 100_000), { qos: 1 }))
  await Promise.all(sent)
  expect([seen.inOrder, seen.count, closed]).toEqual([true, 40, false])
})

test('a fire-and-forget client that publishes a thousand messages and leaves is heard to the end', async () => {
  const { application, seen } = counter((number) => (number % 100 === 0 ? sleep(1) : undefined))
  await using server = await serveMqtt(application)
  const client = await server.raw()
  const packets = Array.from({ length: 1000 }, (_, number) => bytes.publish('t', padded(number, 10)))
  client.send(Buffer.concat([bytes.connect(), ...packets, bytes.disconnect]))
  client.end()
  await server.idle()
  expect(seen).toEqual({ inOrder: true, count: 1000 })
})

test('a subscriber that does not read is cut after a while, and until then holds up nobody for long', async () => {
  const { application } = recorder()
  stopTime()
  await using server = await serveMqtt(application, { drainTimeout: '1s' })
  const stuck = await server.raw()
  stuck.send(bytes.connect({ clientId: 'stuck' }), bytes.subscribe('#'))
  await stuck.until(/\x90/)
  stuck.socket.pause()
  const reader = await server.connect()
  await reader.subscribeAsync('#', { qos: 1 })
  const sender = await server.connect()
  const payload = Buffer.alloc(100_000)
  const count = 100
  const published = Array.from({ length: count }, () => sender.publishAsync('t', payload, { qos: 1 }))
  // So slowly that who reads has read.
  for (; server.listener.connections === 3; await pass(50)) await sleep(5)
  await Promise.all(published)
  await until(() => messagesOf(reader).length === count)
  expect(server.listener.connections).toBe(2)
  stuck.reset()
})

test('a subscriber that does not read holds up nobody else, and gets all in order when it does', async () => {
  const large = { count: 1000, size: 8000 }
  const small = { count: 20_000, size: 10 }
  const application = handling((event, send) => {
    if (event.type !== 'mqtt.publish') return
    const publish = (topic: string, { count, size }: typeof large) =>
      Array.from({ length: count }, (_, number) => send({ type: 'mqtt.publish', topic, payload: padded(number, size) }))
    return Promise.all([...publish('slow', large), ...publish('fast', small), ...publish('nobody', small)])
  })
  await using server = await serveMqtt(application, { drainTimeout: '30s' })
  const readers = await Promise.all(
    ['slow', 'fast'].map(async (topic) => {
      const reader = await server.raw()
      reader.send(bytes.connect({ clientId: topic }), bytes.subscribe(topic))
      await reader.until(/\x90\x03\x00\x01\x00$/)
      return reader
    }),
  )
  const [slow, fast] = readers as [(typeof readers)[0], (typeof readers)[0]] // there are two topics
  const numbers = (text: string) => Array.from(text.matchAll(/(?:slow|fast)(\d{6})/g), ([, number]) => Number(number))
  slow.socket.pause()
  const sender = await server.connect()
  let isHandled = false
  void sender.publishAsync('go', '', { qos: 1 }).then(() => (isHandled = true))
  await until(() => numbers(fast.text).length === small.count)
  expect(isHandled).toBe(false)
  slow.socket.resume()
  await until(() => numbers(slow.text).length === large.count && isHandled)
  expect(numbers(slow.text)).toEqual(Array.from({ length: large.count }, (_, number) => number))
  expect(numbers(fast.text)).toEqual(Array.from({ length: small.count }, (_, number) => number))
})

test('a flood of subscriptions waits for the application like a flood of messages', async () => {
  let told = 0
  const gate = Promise.withResolvers<void>()
  const application = handling((event) => {
    if (event.type === 'mqtt.subscribe') told++
    return told > 0 ? gate.promise : undefined
  })
  await using server = await serveMqtt(application, { window: 4 })
  const client = await server.raw()
  client.send(bytes.connect(), ...Array.from({ length: 50 }, (_, index) => bytes.subscribe(`t/${index}`)))
  const subacks = () => client.text.split('\x90\x03\x00\x01\x00').length - 1
  await until(() => subacks() === 4)
  await sleep(20)
  expect([told, subacks()]).toEqual([1, 4])
  gate.resolve()
  await until(() => told === 50)
  await client.until(/^\x20\x02\x00\x00(?:\x90\x03\x00\x01\x00){50}$/)
})

test('after 2,000 connects and disconnects of every kind nothing is left', async () => {
  const { application, types } = recorder()
  await using server = await serveMqtt(application, { persistence: 'disk' })
  const count = 2000
  let next = 0
  const peer = async (number: number) => {
    while (next < count) {
      const turn = next++
      const client = await server.raw()
      const kind = turn % 4
      const clientId = kind === 3 ? `same-${number}` : `client-${turn}`
      const flags = kind === 2 ? 6 : 2
      const will = kind === 2 ? [bytes.string('will'), bytes.string('gone')] : []
      client.send(
        bytes.connect({ clientId, flags, rest: will }),
        bytes.subscribe('a/#'),
        bytes.publish('a/b', 'x', { qos: turn % 3, id: 1 }),
      )
      await client.until(/a\/b/)
      if (kind === 0) client.send(bytes.disconnect)
      if (kind === 1) client.end()
      else if (kind !== 0) client.reset()
      const text = await client.closed
      expect(text.startsWith(connack(0))).toBe(true)
    }
  }
  await Promise.all(Array.from({ length: 20 }, (_, number) => peer(number)))
  await server.idle()
  expect(types().filter((type) => type === 'connect')).toHaveLength(count)
  expect(types().filter((type) => type === 'disconnect')).toHaveLength(count)
  expect([server.listener.connections, server.test.open.size, server.test.layer.stats().channels]).toEqual([0, 0, 0])
}, 60_000)

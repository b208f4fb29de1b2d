/** Packet identifiers of what goes to a client: none is used twice at a time, also not by a message of a connection before. */
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals'
import { RedisServer } from '../../layers/redis-server.ts'
import { requires } from '../../support/requirements.ts'
import { Systems } from './gateways.ts'
import { bytes, packet, recorder, serveMqtt, type MqttServer } from './support.ts'

afterEach(() => {
  jest.restoreAllMocks()
})

/** A SUBSCRIBE of one filter with QoS 1 or 2. */
const subscribe = (filter: string, qos: number) =>
  packet(0x82, Buffer.from([0, 1]), bytes.string(filter), Buffer.from([qos]))

/** The identifiers of the messages of one letter that came, by letter. */
function identifiersOf(text: string): Readonly<Record<string, number>> {
  const found = text.matchAll(/[\x32-\x3d]\x06\0\x01t([^]{2})([a-z])/g)
  return Object.fromEntries(
    Array.from(found, ([, id = '', name = '']) => [name, Buffer.from(id, 'latin1').readUInt16BE()]),
  )
}

/** Of two messages that wait unacknowledged when the client connects again, and of two that come then. */
async function identifiers([first, second]: readonly [MqttServer, MqttServer], qos: 1 | 2) {
  // Every connection would begin to count at the same number.
  jest.spyOn(Math, 'random').mockReturnValue(0.5)
  const sender = await first.connect()
  const before = await first.raw()
  before.send(bytes.connect({ clientId: 'device', flags: 0 }), subscribe('t', qos))
  await before.until(/\x90\x03\0\x01/)
  for (const name of ['a', 'b']) await sender.publishAsync('t', name, { qos })
  const sent = identifiersOf(await before.until(/\x01t[^]{2}b/))
  before.reset()
  const after = await second.raw()
  after.send(bytes.connect({ clientId: 'device', flags: 0 }))
  await after.until(/\x01t[^]{2}b/)
  for (const name of ['c', 'd']) await sender.publishAsync('t', name, { qos })
  const all = identifiersOf(await after.until(/\x01t[^]{2}d/))
  after.end()
  return { sent, all }
}

function expectDistinct({ sent, all }: Awaited<ReturnType<typeof identifiers>>): void {
  expect(all).toMatchObject(sent) // [MQTT-4.4.0-1]
  expect(Object.keys(all)).toEqual(['a', 'b', 'c', 'd'])
  expect(new Set(Object.values(all)).size).toBe(4) // [MQTT-2.3.1-4]
}

test.each([1, 2] as const)('a message of QoS %i gets none that one from before still has', async (qos) => {
  await using server = await serveMqtt(recorder().application)
  expectDistinct(await identifiers([server, server], qos))
})

requires('redis-server').describe('on two gateways', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await RedisServer.start()
  })
  afterAll(() => redis?.stop())

  test.each([1, 2] as const)('a message of QoS %i gets none that one from the other gateway has', async (qos) => {
    await using system = await new Systems(redis).start([recorder(), recorder()])
    expectDistinct(await identifiers(system.servers, qos))
  })
})

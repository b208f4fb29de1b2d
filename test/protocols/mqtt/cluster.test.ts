/** Several gateways on one Redis: messages, retained messages, sessions and wills of all, and applications that see each once. */
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import mqtt from 'mqtt'
import { requires } from '../../support/requirements.ts'
import { RedisServer } from '../../layers/redis-server.ts'
import { Systems } from './gateways.ts'
import { bytes, messagesOf, nextMessage, packet, recorder, until, type MqttServer } from './support.ts'

const { describe } = requires('redis-server', 'redis-cli')
const openIn = ({ test: { open } }: MqttServer) => open.size
const lasting = (clientId: string) => ({ clientId, clean: false })

let redis: RedisServer
let systems: Systems
beforeAll(async () => {
  redis = await RedisServer.start()
  systems = new Systems(redis)
})
afterAll(() => redis?.stop())

describe('a publish on one gateway', () => {
  test.each([0, 1, 2] as const)('with QoS %i reaches subscribers on both, once and in order', async (qos) => {
    await using system = await systems.start([recorder(), recorder()])
    const [a, b] = system.servers
    const [onA, onB, sender] = await Promise.all([a.connect(), b.connect(), a.connect()])
    await onA.subscribeAsync('sensors/#', { qos: 2 })
    await onB.subscribeAsync({ 'sensors/+': { qos: 2 }, 'sensors/a': { qos: 1 } })
    const numbers = Array.from({ length: 50 }, (_, number) => `sensors/a ${number}`)
    await Promise.all(numbers.map((text) => sender.publishAsync('sensors/a', text.slice(10), { qos })))
    await until(() => messagesOf(onA).length >= 50 && messagesOf(onB).length >= 50)
    await sender.publishAsync('sensors/last', '', { qos: 1 })
    await until(() => messagesOf(onA).length > 50 && messagesOf(onB).length > 50)
    expect(messagesOf(onA)).toEqual([...numbers, 'sensors/last '])
    expect(messagesOf(onB)).toEqual([...numbers, 'sensors/last '])
  })

  test('is seen by one application: that of the gateway where it arrived', async () => {
    const [first, second] = [recorder(), recorder()]
    await using system = await systems.start([first, second])
    const [a, b] = system.servers
    const [onA, onB] = await Promise.all([a.connect(), b.connect()])
    await Promise.all([onA.subscribeAsync('#', { qos: 1 }), onB.subscribeAsync('#', { qos: 1 })])
    await onA.publishAsync('a', 'from a', { qos: 1 })
    await onB.publishAsync('b', 'from b', { qos: 2 })
    await until(() => messagesOf(onA).length === 2 && messagesOf(onB).length === 2)
    expect([first.texts(), second.texts()]).toEqual([['from a'], ['from b']])
  })

  test('what an application publishes reaches subscribers everywhere', async () => {
    const answering = recorder((event, consumer) => consumer.publish('answer', Buffer.from(event.payload), { qos: 1 }))
    await using system = await systems.start([answering, recorder()])
    const [a, b] = system.servers
    const [onA, onB] = await Promise.all([a.connect(), b.connect()])
    await onB.subscribeAsync('answer', { qos: 1 })
    const next = nextMessage(onB)
    await onA.publishAsync('question', 'why', { qos: 1 })
    expect(await next).toBe('answer why')
  })

  test.each(['a[b]/c', 'a*/c', 'a?/c', String.raw`a\/c`, 'a%2A/c', 'é/c'])(
    'to %s reaches those who subscribe to it, or with a wildcard',
    async (topic) => {
      await using system = await systems.start([recorder(), recorder()])
      const [a, b] = system.servers
      const [onA, onB, sender] = await Promise.all([a.connect(), b.connect(), a.connect()])
      await onA.subscribeAsync(topic, { qos: 1 })
      await onB.subscribeAsync(topic.replace(/c$/, '+'), { qos: 1 })
      await sender.publishAsync('ab/c', 'for nobody', { qos: 1 })
      await sender.publishAsync(topic, 'x', { qos: 1, retain: true })
      await until(() => messagesOf(onA).length > 0 && messagesOf(onB).length > 0)
      const late = await b.connect()
      await late.subscribeAsync(topic.replace(/c$/, '+'), { qos: 1 })
      await until(() => messagesOf(late).length > 0)
      expect([onA, onB, late].map((client) => messagesOf(client))).toEqual(
        Array.from({ length: 3 }, () => [`${topic} x`]),
      )
    },
  )
})

describe('a session', () => {
  test.each([1, 2] as const)('that moves keeps its subscriptions, and its queue of QoS %i in order', async (qos) => {
    await using system = await systems.start([recorder(), recorder()])
    const [a, b] = system.servers
    const device = await a.connect(lasting('device'))
    await device.subscribeAsync({ 'commands/#': { qos }, 'commands/one': { qos } })
    await device.endAsync()
    const [onA, onB] = await Promise.all([a.connect(), b.connect()])
    // Nobody else's packet identifiers are to get in its way.
    const other = await b.connect(lasting('other'))
    await other.subscribeAsync('commands/#', { qos })
    for (let number = 0; number < 5; number++) {
      await onA.publishAsync('commands/one', `a${number}`, { qos })
      await onB.publishAsync('commands/two', `b${number}`, { qos })
    }
    const moved = await b.connect(lasting('device'))
    expect(moved.connected).toBe(true)
    await until(() => messagesOf(moved).length >= 10)
    await onA.publishAsync('commands/now', '', { qos })
    await until(() => messagesOf(moved).length > 10)
    const expected = Array.from({ length: 5 }, (_, number) => [
      `commands/one a${number}`,
      `commands/two b${number}`,
    ]).flat()
    expect(messagesOf(moved)).toEqual([...expected, 'commands/now '])
    await until(() => messagesOf(other).length > 10)
    expect(messagesOf(other)).toEqual([...expected, 'commands/now '])
    // Everything was acknowledged: nothing waits, and nothing is left.
    await system.untilKeys(/:(?:packet|outgoing):/, 0)
    await moved.endAsync()
    const back = await a.connect(lasting('device'))
    await onB.publishAsync('commands/last', '', { qos })
    await until(() => messagesOf(back).length > 0)
    expect(messagesOf(back)).toEqual(['commands/last '])
  })

  test('that moves to and fro in the middle of it gets every message once and in order', async () => {
    await using system = await systems.start([recorder(), recorder()])
    const [a, b] = system.servers
    // What it received and has not been released is part of the client's session as well.
    const options = { ...lasting('device'), incomingStore: new mqtt.Store({ clean: false }) }
    let device = await a.connect(options)
    await device.subscribeAsync({ 'a/#': { qos: 2 }, 'a/b': { qos: 2 } })
    const sender = await b.connect()
    const got = [messagesOf(device)]
    const sending = (async () => {
      for (let number = 0; number < 200; number++) await sender.publishAsync('a/b', String(number), { qos: 2 })
    })()
    for (let move = 0; move < 4; move++) {
      const before = device
      await until(() => got.flat().length > 40 * (move + 1))
      await before.endAsync()
      device = await (move % 2 ? a : b).connect(options)
      got.push(messagesOf(device))
    }
    await sending
    await until(() => got.flat().includes('a/b 199'))
    expect(got.flat()).toEqual(Array.from({ length: 200 }, (_, number) => `a/b ${number}`))
    await system.untilKeys(/:(?:packet|outgoing):/, 0)
  })

  test('is forgotten everywhere by a clean one, and leaves nothing in Redis', async () => {
    await using system = await systems.start([recorder(), recorder()])
    const [a, b] = system.servers
    const device = await a.connect(lasting('device'))
    await device.subscribeAsync('commands/#', { qos: 2 })
    await device.endAsync()
    const sender = await a.connect()
    for (let number = 0; number < 3; number++) await sender.publishAsync('commands/x', 'x', { qos: 2 })
    const clean = await b.connect({ clientId: 'device', clean: true })
    await clean.endAsync()
    await sender.publishAsync('commands/x', 'y', { qos: 1 })
    const again = await a.connect(lasting('device'))
    await again.publishAsync('else/where', 'x', { qos: 2 })
    expect(messagesOf(again)).toEqual([])
    await again.endAsync()
    const last = await b.connect({ clientId: 'device', clean: true })
    await Promise.all([last.endAsync(), sender.endAsync()])
    await Promise.all([a.idle(), b.idle()])
    await system.untilKeys(/:mqtt:(?!brokers|alive|claims)/, 0)
  })

  test('has a limit for what waits in it, whichever gateway it comes to', async () => {
    await using system = await systems.start([recorder(), recorder()], { maxQueued: 3 })
    const [a, b] = system.servers
    const device = await a.connect(lasting('device'))
    await device.subscribeAsync('t', { qos: 1 })
    await device.endAsync()
    const [onA, onB] = await Promise.all([a.connect(), b.connect()])
    for (let number = 0; number < 3; number++) {
      await onA.publishAsync('t', `a${number}`, { qos: 1 })
      await onB.publishAsync('t', `b${number}`, { qos: 1 })
    }
    const again = await b.connect(lasting('device'))
    await until(() => messagesOf(again).length === 3)
    await onA.publishAsync('t', 'now', { qos: 1 })
    await until(() => messagesOf(again).length === 4)
    expect(messagesOf(again)).toEqual(['t a0', 't b0', 't a1', 't now'])
  })

  test('that nobody takes up again is deleted after its time, with its messages', async () => {
    await using system = await systems.start([recorder(), recorder()], { sessionExpiry: '300ms' })
    const [a, b] = system.servers
    const [device, present] = await Promise.all([a.connect(lasting('device')), a.connect(lasting('present'))])
    await Promise.all([device.subscribeAsync('t', { qos: 1 }), present.subscribeAsync('p', { qos: 1 })])
    await device.endAsync()
    const sender = await b.connect()
    await sender.publishAsync('t', 'x', { qos: 1 })
    await system.untilKeys(/:subscriptions:/, 1)
    await system.untilKeys(/:(?:packet|outgoing):/, 0)
    await sender.publishAsync('t', 'y', { qos: 1 })
    await sender.publishAsync('p', 'z', { qos: 1 })
    await until(() => messagesOf(present).length === 1)
    const again = await b.connect(lasting('device'))
    await sender.publishAsync('else/where', 'x', { qos: 1 })
    expect(messagesOf(again)).toEqual([])
  })

  test('a message of QoS 2 that comes again, to another gateway, is the same message', async () => {
    const [first, second] = [recorder(), recorder()]
    await using system = await systems.start([first, second])
    const [a, b] = system.servers
    const raw = await a.raw()
    raw.send(bytes.connect({ clientId: 'device', flags: 0 }), bytes.publish('t', 'once', { qos: 2, id: 7 }))
    await raw.until(/\x50\x02\x00\x07$/)
    raw.reset()
    const other = await b.raw()
    other.send(bytes.connect({ clientId: 'device', flags: 0 }))
    await other.until(/^\x20/)
    other.send(bytes.publish('t', 'once', { qos: 2, id: 7, flags: 8 }))
    await other.until(/\x50\x02\x00\x07$/)
    other.send(bytes.pubrel(7))
    await other.until(/\x70\x02\x00\x07$/)
    other.send(bytes.publish('t', 'another', { qos: 2, id: 7 }))
    await other.until(/\x50\x02\x00\x07$/)
    expect([first.texts(), second.texts()]).toEqual([['once'], ['another']])
    other.end()
  })
})

describe('a client id', () => {
  test('that connects to another gateway is taken over: the older connection ends, and its application hears first', async () => {
    const told: string[] = []
    const listening = (name: string) => {
      const all = recorder()
      const push = all.events.push.bind(all.events)
      all.events.push = (...events) => {
        told.push(...events.map(({ type }) => `${name} ${type}`))
        return push(...events)
      }
      return all
    }
    const [first, second] = [listening('a'), listening('b')]
    await using system = await systems.start([first, second])
    const [a, b] = system.servers
    const older = await a.connect(lasting('same'))
    await older.subscribeAsync('t', { qos: 1 })
    const gone = new Promise<void>((resolve) => void older.once('close', resolve))
    const newer = await b.connect(lasting('same'))
    await gone
    expect(first.events.at(-1)).toEqual({ type: 'mqtt.disconnect', reason: 'takeover' })
    expect(told.slice(-2)).toEqual(['a mqtt.disconnect', 'b mqtt.connect'])
    await newer.publishAsync('t', 'to itself', { qos: 1 })
    await until(() => messagesOf(newer).length === 1)
    expect(a.listener.connections).toBe(0)
  })

  test('that many connect with at once, everywhere, is left to one', async () => {
    const applications = [recorder(), recorder()] as const
    await using system = await systems.start(applications)
    const clients = await Promise.all(
      Array.from({ length: 20 }, (_, index) => (index % 2 ? system.servers[0] : system.servers[1]).raw()),
    )
    for (const client of clients) client.send(bytes.connect({ clientId: 'same', flags: 0 }))
    const left = () => clients.filter(({ socket }) => !socket.destroyed)
    const count = (of: (server: MqttServer) => number) => of(system.servers[0]) + of(system.servers[1])
    await until(() => left().length === 1 && count(({ listener }) => listener.connections) === 1 && count(openIn) === 1)
    await left()[0]?.until(/^\x20\x02/)
    for (const client of clients) client.end()
  })
})

describe('retained messages', () => {
  test('are seen on both, and limited together', async () => {
    await using system = await systems.start([recorder(), recorder()], { maxRetained: 2 })
    const [a, b] = system.servers
    const [onA, onB] = await Promise.all([a.connect(), b.connect()])
    await onA.publishAsync('state/lamp', 'on', { qos: 1, retain: true })
    await onB.publishAsync('state/door', 'open', { qos: 1, retain: true })
    await onB.publishAsync('state/third', 'over the limit', { qos: 1, retain: true })
    await onB.publishAsync('state/lamp', 'off', { qos: 1, retain: true })
    for (const server of [a, b]) {
      const late = await server.connect()
      await late.subscribeAsync('state/+', { qos: 1 })
      await until(() => messagesOf(late).length >= 2)
      expect(messagesOf(late).toSorted()).toEqual(['state/door open', 'state/lamp off'])
    }
  })

  test('come again on the other one to a session that has not acknowledged them', async () => {
    await using system = await systems.start([recorder(), recorder()])
    const [a, b] = system.servers
    const sender = await b.connect()
    await sender.publishAsync('state/lamp', 'on', { qos: 1, retain: true })
    const subscribe = packet(0x82, Buffer.from([0, 1]), bytes.string('state/+'), Buffer.from([1]))
    const device = await a.raw()
    device.send(bytes.connect({ clientId: 'device', flags: 0 }), subscribe)
    const [, first = ''] = /lamp(..)on$/s.exec(await device.until(/on$/)) ?? []
    device.reset()
    const again = await b.raw()
    again.send(bytes.connect({ clientId: 'device', flags: 0 }))
    // With DUP, QoS 1 and RETAIN.
    expect(await again.until(/on$/)).toBe(`\x20\x02\x01\x00\x3b\x10\x00\x0astate/lamp${first}on`)
    again.end()
  })
})

describe('a will', () => {
  test('reaches subscribers on the other gateway, and the application once', async () => {
    const [first, second] = [recorder(), recorder()]
    await using system = await systems.start([first, second])
    const [a, b] = system.servers
    const witness = await b.connect()
    await witness.subscribeAsync('status/#', { qos: 1 })
    const device = await a.connect({
      clientId: 'device',
      will: { topic: 'status/device', payload: Buffer.from('offline'), qos: 1, retain: false },
    })
    device.stream.destroy()
    await until(() => messagesOf(witness).length === 1)
    expect(messagesOf(witness)).toEqual(['status/device offline'])
    expect([first.texts(), second.texts()]).toEqual([['offline'], []])
    await system.untilKeys(/:wills:/, 0)
  })

  test('is not published after a goodbye, nor the one of a connection before', async () => {
    await using system = await systems.start([recorder(), recorder()])
    const [a, b] = system.servers
    const will = { topic: 'status/device', payload: Buffer.from('offline'), qos: 1, retain: false } as const
    const witness = await b.connect()
    await witness.subscribeAsync('status/#', { qos: 1 })
    const device = await a.connect({ clientId: 'device', will })
    await device.endAsync()
    await system.untilKeys(/:wills:/, 0)
    await witness.publishAsync('status/end', '', { qos: 1 })
    await until(() => messagesOf(witness).length > 0)
    expect(messagesOf(witness)).toEqual(['status/end '])
  })
})

/** What peers do wrong, over real sockets: each gets its answer, and nobody else notices. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import mqtt from 'mqtt'
import { bytes, connack, messagesOf, packet, recorder, serveMqtt, until, type MqttServer } from './support.ts'

/** A client that does nothing wrong is served as ever. */
async function expectServed(server: MqttServer): Promise<void> {
  const client = await server.connect()
  await client.publishAsync('fine', 'x', { qos: 1 })
  await client.endAsync()
}

const deep = 'a/'.repeat(999) + 'a'

describe('the connection is closed, without a word, of a client that', () => {
  test.each<[string, readonly (string | Buffer)[]]>([
    ['speaks HTTP', ['GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8\r\n\r\n']],
    ['speaks TLS where there is none', [Buffer.from('16030100f8010000f40303', 'hex')]],
    ['publishes before it connects', [bytes.publish('a', 'x')]],
    ['sends nonsense', ['\xff\xff\xff\xff\xff\xff']],
    ['announces 256 MB before it connects', [Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])]],
    ['speaks another protocol', [bytes.connect({ name: 'AMQP' })]],
  ])('%s', async (_, sent) => {
    const { application, events } = recorder()
    await using server = await serveMqtt(application)
    const client = await server.raw()
    client.send(...sent)
    expect(await client.closed).toBe('')
    await expectServed(server)
    expect(events.filter(({ type }) => type === 'mqtt.connect')).toHaveLength(1)
  })

  test.each<[string, Buffer]>([
    ['publishes to a wildcard', bytes.publish('a/+', 'x', { qos: 1 })],
    ['publishes to a topic of 1,000 levels', bytes.publish(deep, 'x', { qos: 1 })],
    ['subscribes to 1,000 levels', bytes.subscribe(deep)],
    ['publishes to a topic that is no UTF-8', bytes.publish(Buffer.from([0xc3, 0x28]), 'x', { qos: 1 })],
    ['publishes to nothing', bytes.publish('', 'x')],
    ['announces a packet that is too long', Buffer.from([0x30, 0xff, 0xff, 0x7f])],
    ['sends a packet that is a byte too long', bytes.publish('a', 'x'.repeat(256 * 1024 - 6))],
    ['connects twice', bytes.connect()],
    ['acknowledges as a server', packet(0x20, Buffer.from([0, 0]))],
    ['subscribes to what is no filter', bytes.subscribe('a/#/b')],
    ['sends QoS 3', bytes.publish('a', 'x', { qos: 3 })],
  ])('%s', async (_, sent) => {
    const { application, events, types } = recorder()
    await using server = await serveMqtt(application)
    const client = await server.raw()
    client.send(bytes.connect(), sent)
    expect(await client.closed).toBe(connack(0))
    await server.idle()
    expect(types()).toEqual(['connect', 'disconnect'])
    expect(events[1]).toEqual({ type: 'mqtt.disconnect', reason: 'error' })
    await expectServed(server)
  })

  test('never finishes CONNECT, byte by byte', async () => {
    const { application, events } = recorder()
    await using server = await serveMqtt(application, { connectTimeout: '100ms' })
    const silent = await server.raw()
    const trickling = await server.raw()
    const connect = bytes.connect({ clientId: 'x'.repeat(200) })
    let at = 0
    const drip = setInterval(() => trickling.send(connect.subarray(at, ++at)), 5)
    expect(await Promise.all([silent.closed, trickling.closed])).toEqual(['', ''])
    clearInterval(drip)
    expect(events).toEqual([])
  })

  test('is silent for longer than it said it would be', async () => {
    const { application, events } = recorder()
    await using server = await serveMqtt(application)
    const client = await server.raw()
    client.send(bytes.connect({ keepalive: 1 }))
    expect(await client.closed).toBe(connack(0))
    await server.idle()
    expect(events.at(-1)).toEqual({ type: 'mqtt.disconnect', reason: 'keepalive' })
  })
})

test('a packet of exactly the limit is taken', async () => {
  const { application, texts } = recorder()
  await using server = await serveMqtt(application)
  const client = await server.connect()
  await client.publishAsync('a', 'x'.repeat(256 * 1024 - 4 - 3 - 2), { qos: 1 })
  expect(texts()[0]).toHaveLength(262_135)
})

describe('CONNACK says why', () => {
  test.each<[string, Readonly<Record<string, unknown>>, Parameters<typeof bytes.connect>[0], number]>([
    ['MQTT 5', {}, { level: 5 }, 1],
    ['a level that does not exist', {}, { level: 77 }, 1],
    ['no client id for a session that is to last', {}, { clientId: '', flags: 0 }, 2],
    ['a client id that is too long', { maxClientIdLength: 30 }, { clientId: 'x'.repeat(31) }, 2],
    ['a keep alive over the limit', { keepaliveLimit: '60s' }, { keepalive: 61 }, 2],
    ['no keep alive where there is a limit', { keepaliveLimit: '60s' }, { keepalive: 0 }, 2],
    ['one client too many', { maxClients: 1 }, {}, 3],
    ['nobody, where users are asked for', { anonymous: false }, {}, 5],
    ['a will to $SYS', {}, { flags: 6, rest: [bytes.string('$SYS/x'), bytes.string('will')] }, 5],
    ['a will to a wildcard', {}, { flags: 6, rest: [bytes.string('a/#'), bytes.string('will')] }, 5],
  ])('to %s', async (_, options, connect, code) => {
    const { application, events } = recorder()
    await using server = await serveMqtt(application, options)
    if ('maxClients' in options) await server.connect()
    const before = events.length
    const client = await server.raw()
    client.send(bytes.connect(connect))
    expect(await client.closed).toBe(connack(code))
    expect(events).toHaveLength(before)
  })

  test('to a real client of MQTT 5, which then knows', async () => {
    const { application } = recorder()
    await using server = await serveMqtt(application)
    const client = mqtt.connect(server.url, { protocolVersion: 5, reconnectPeriod: 0 })
    const error = await new Promise((resolve) => {
      client.once('error', resolve)
      client.once('close', () => resolve('closed'))
    })
    client.end(true)
    expect(String(error)).toMatch(/closed|protocol|Connection refused/i)
    await expectServed(server)
  })

  test('a client id of 23 characters and more, and none at all, are taken', async () => {
    const { application, scopes } = recorder()
    await using server = await serveMqtt(application)
    for (const clientId of ['x'.repeat(23), 'ü'.repeat(100), '']) {
      const client = await server.raw()
      client.send(bytes.connect({ clientId }))
      await client.until(/^\x20\x02\x00\x00$/)
    }
    const old = await server.raw()
    old.send(bytes.connect({ name: 'MQIsdp', level: 3, clientId: 'y'.repeat(40) }))
    await old.until(/^\x20\x02\x00\x00$/)
    expect(scopes.map(({ clientId }) => clientId.length)).toEqual([23, 100, expect.any(Number), 40])
    expect(scopes[2]?.clientId).toMatch(/^signalbox-/)
    expect(scopes[3]?.protocolVersion).toBe(3)
  })
})

test('a publish to $SYS is acknowledged and goes nowhere', async () => {
  const { application, texts } = recorder()
  await using server = await serveMqtt(application, {
    anonymous: { publish: ['#', '$SYS/#'], subscribe: ['#', '$SYS/#'] },
  })
  const client = await server.connect()
  const messages = messagesOf(client)
  await client.subscribeAsync(['$SYS/mine', '#'], { qos: 1 })
  for (const qos of [0, 1, 2] as const) await client.publishAsync('$SYS/mine', 'x', { qos, retain: true })
  await client.publishAsync('end', 'x', { qos: 1 })
  await until(() => messages.length > 0)
  expect([messages, texts()]).toEqual([['end x'], ['x']])
})

test('a shared subscription is refused, and those beside it are granted', async () => {
  const { application, events } = recorder()
  await using server = await serveMqtt(application)
  const client = await server.raw()
  client.send(bytes.connect(), bytes.subscribe('a', '$share/group/a', 'b'))
  await client.until(/\x90\x05\x00\x01\x00\x80\x00/)
  await until(() => events.length === 3)
  expect(events.slice(1)).toEqual([
    { type: 'mqtt.subscribe', filter: 'a', qos: 0 },
    { type: 'mqtt.subscribe', filter: 'b', qos: 0 },
  ])
})

test('a client has as many subscriptions as it may, and can put others in their place', async () => {
  const { application } = recorder()
  await using server = await serveMqtt(application, { maxSubscriptions: 2 })
  const client = await server.raw()
  client.send(bytes.connect(), bytes.subscribe('a', 'b'))
  await client.until(/\x90\x04\x00\x01\x00\x00$/)
  client.send(bytes.subscribe('c'))
  await client.until(/\x90\x03\x00\x01\x80$/)
  client.send(bytes.subscribe('a'))
  await client.until(/\x90\x03\x00\x01\x00$/)
  client.send(bytes.unsubscribe('a'))
  await client.until(/\xb0\x02\x00\x01$/)
  client.send(bytes.subscribe('c'))
  await client.until(/\x90\x03\x00\x01\x00$/)
})

test('a client that begins ever more messages of QoS 2 and completes none is cut', async () => {
  const { application } = recorder()
  await using server = await serveMqtt(application)
  const client = await server.raw()
  client.send(bytes.connect())
  const count = 1100
  for (let id = 1; id <= count; id++) client.send(bytes.publish('a', 'x', { qos: 2, id }))
  const text = await client.closed
  expect(text.split('\x50\x02').length - 1).toBeLessThanOrEqual(1000)
})

test('whatever a client sends, the next one is served', async () => {
  const { application } = recorder()
  await using server = await serveMqtt(application)
  const valid = Buffer.concat([
    bytes.connect({ flags: 6, rest: [bytes.string('will'), bytes.string('x')] }),
    bytes.subscribe('a/+', '#'),
    bytes.publish('a/b', 'hello', { qos: 1, id: 1 }),
    bytes.publish('a/c', 'hello', { qos: 2, id: 2, flags: 1 }),
    bytes.pubrel(2),
    bytes.unsubscribe('#'),
    bytes.ping,
  ])
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      async (changes) => {
        const broken = Buffer.from(valid)
        for (const [at, byte] of changes) broken[at] = byte
        const client = await server.raw()
        client.send(broken)
        client.end()
        await client.closed
      },
    ),
    { numRuns: 150 },
  )
  await server.idle()
  await expectServed(server)
})

test('clients that break off in the middle of anything leave nothing behind', async () => {
  const { application } = recorder(() => sleep(2))
  await using server = await serveMqtt(application, { persistence: 'disk' })
  const whole = Buffer.concat([
    bytes.connect({ flags: 0, clientId: 'breaks' }),
    bytes.subscribe('a/#'),
    bytes.publish('a', 'x', { qos: 1, id: 1 }),
    bytes.publish('a', 'x', { qos: 2, id: 2, flags: 1 }),
    bytes.pubrel(2),
    bytes.disconnect,
  ])
  for (let length = 1; length <= whole.length; length += 3) {
    const client = await server.raw()
    client.send(whole.subarray(0, length))
    if (length % 2) await sleep(length % 5)
    if (length % 4 === 1) client.end()
    else client.reset()
    await client.closed
  }
  await server.idle()
  await expectServed(server)
})

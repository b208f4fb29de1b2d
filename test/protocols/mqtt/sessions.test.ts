/** What outlives a connection or the gateway: sessions, retained messages, wills, and who takes over whom. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from '@jest/globals'
import { pino } from 'pino'
import { TopicRouter } from '../../../protocols/mqtt/router.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { bytes, messagesOf, packet, recorder, serveMqtt, until, type MqttServer } from './support.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-mqtt-'))
  folders.push(folder)
  return folder
}

const lasting = (clientId: string) => ({ clientId, clean: false })

/** Connects to a kept session, and gives what was waiting there when this many messages came. */
async function waiting(server: MqttServer, clientId: string, count: number): Promise<string[]> {
  const client = await server.connect(lasting(clientId))
  const messages = messagesOf(client)
  await until(() => messages.length >= count)
  await client.publishAsync('everything/has/come', 'x', { qos: 1 })
  return messages
}

test('sessions, what waits for them, and retained messages are there again after a restart', async () => {
  const data = newFolder()
  const start = () => serveMqtt(recorder().application, { persistence: 'disk' }, { data })
  {
    await using server = await start()
    const device = await server.connect(lasting('device'))
    await device.subscribeAsync('commands/#', { qos: 1 })
    await device.endAsync()
    const sender = await server.connect()
    await sender.publishAsync('state/lamp', 'on', { qos: 1, retain: true })
    await sender.publishAsync('state/door', 'open', { qos: 0, retain: true })
    await sender.publishAsync('state/door', '', { qos: 1, retain: true })
    for (const text of ['one', 'two']) await sender.publishAsync('commands/a', text, { qos: 1 })
  }
  {
    await using server = await start()
    const sender = await server.connect()
    await sender.publishAsync('commands/a', 'three', { qos: 1 })
  }
  await using server = await start()
  expect(await waiting(server, 'device', 3)).toEqual(['commands/a one', 'commands/a two', 'commands/a three'])
  const other = await server.connect()
  await other.subscribeAsync('state/#', { qos: 1 })
  await until(() => messagesOf(other).length === 1)
  expect(messagesOf(other)).toEqual(['state/lamp on'])
})

test('a data folder that another gateway uses is refused in words', async () => {
  const data = newFolder()
  await using _server = await serveMqtt(recorder().application, { persistence: 'disk' }, { data })
  const second = serveMqtt(recorder().application, { persistence: 'disk' }, { data })
  const error: unknown = await second.catch((reason: unknown) => reason)
  expect(hasCode(error, 'listen_failed')).toBe(true)
  expect(String(error)).toContain('another gateway uses it')
})

test('an address that is taken is refused in words, once, and nothing is left open', async () => {
  const { application } = recorder()
  const logged: unknown[] = []
  const log: typeof silentLog = Object.assign(Object.create(silentLog), {
    error: (...line: unknown[]) => logged.push(line),
  })
  await using server = await serveMqtt(application)
  const data = newFolder()
  const address = `127.0.0.1:${new URL(server.url).port}`
  for (let attempt = 0; attempt < 2; attempt++) {
    const error: unknown = await serveMqtt(application, { address, persistence: 'disk' }, { data, log }).catch(
      (reason: unknown) => reason,
    )
    expect(logged).toEqual([])
    expect(String(error)).toContain(`cannot listen on mqtt://${address}: another program listens there`)
  }
})

describe.each(['memory', 'disk'])('kept in %s', (persistence) => {
  const start = (options: object = {}) => serveMqtt(recorder().application, { persistence, ...options })

  test('a session with overlapping subscriptions gets each message once, while it is there and later', async () => {
    await using server = await start()
    const device = await server.connect(lasting('device'))
    await device.subscribeAsync('a/#', { qos: 1 })
    await device.subscribeAsync('a/b', { qos: 2 })
    await device.subscribeAsync('a/+', { qos: 1 })
    const sender = await server.connect()
    for (const topic of ['a/b', 'a/c', 'a/b/c']) await sender.publishAsync(topic, 'x', { qos: 1 })
    await until(() => messagesOf(device).length === 3)
    await device.unsubscribeAsync('a/#')
    await device.endAsync()
    expect(messagesOf(device)).toEqual(['a/b x', 'a/c x', 'a/b/c x'])
    for (const topic of ['a/b', 'a/c', 'a/b/c']) await sender.publishAsync(topic, 'y', { qos: 1 })
    await sender.publishAsync('a/b', 'not kept', { qos: 0 })
    expect(await waiting(server, 'device', 2)).toEqual(['a/b y', 'a/c y'])
  })

  test('a subscription of QoS 0 beside a wider one of QoS 1 takes nothing away from it', async () => {
    await using server = await start()
    const device = await server.connect(lasting('device'))
    await device.subscribeAsync('a/#', { qos: 1 })
    await device.subscribeAsync('a/b', { qos: 0 })
    await device.endAsync()
    const sender = await server.connect()
    for (const topic of ['a/b', 'a/c', '/a', 'a/']) await sender.publishAsync(topic, 'x', { qos: 1 })
    expect(await waiting(server, 'device', 3)).toEqual(['a/b x', 'a/c x', 'a/ x'])
  })

  test('what waits for a client that is away has a limit, and one that comes back goes on', async () => {
    await using server = await start({ maxQueued: 3 })
    const device = await server.connect(lasting('device'))
    await device.subscribeAsync('a', { qos: 1 })
    await device.endAsync()
    const sender = await server.connect()
    for (let number = 1; number <= 5; number++) await sender.publishAsync('a', String(number), { qos: 1 })
    const again = await server.connect(lasting('device'))
    await until(() => messagesOf(again).length === 3)
    for (let number = 6; number <= 20; number++) await sender.publishAsync('a', String(number), { qos: 1 })
    await until(() => messagesOf(again).length === 18)
    expect(messagesOf(again).map((message) => Number(message.slice(2)))).toEqual([
      1,
      2,
      3,
      ...Array.from({ length: 15 }, (_, index) => index + 6),
    ])
    expect(again.connected).toBe(true)
  })

  test('a client that acknowledges nothing keeps getting messages, of which some are not kept', async () => {
    await using server = await start({ maxQueued: 3 })
    const device = await server.raw()
    device.send(
      bytes.connect({ clientId: 'device', flags: 0 }),
      packet(0x82, Buffer.from([0, 1]), bytes.string('t'), Buffer.from([1])),
    )
    await device.until(/\x90\x03\x00\x01\x01$/)
    const sender = await server.connect()
    for (let number = 0; number < 6; number++) await sender.publishAsync('t', String(number), { qos: 1 })
    await device.until(/0.*1.*2.*3.*4.*5$/s)
    // Nor does one that speaks of a message which is not known any more do any harm.
    device.send(packet(0x50, Buffer.from([0, 99])))
    await device.until(/\x62\x02\x00\x63$/)
    device.reset()
    await until(() => server.listener.connections === 1)
    expect(await waiting(server, 'device', 3)).toEqual(['t 0', 't 1', 't 2'])
  })

  test('retained messages have a limit, and what is over it is brokered all the same', async () => {
    await using server = await start({ maxRetained: 2 })
    const sender = await server.connect()
    await sender.subscribeAsync('#', { qos: 1 })
    const retain = (topic: string, payload: string) => sender.publishAsync(topic, payload, { qos: 1, retain: true })
    for (const topic of ['a', 'b', 'c']) await retain(topic, '1')
    await retain('a', '2')
    await retain('b', '')
    await retain('d', '1')
    await until(() => messagesOf(sender).length === 6)
    const other = await server.connect()
    for (const filter of ['a', 'b', 'c', '+']) await other.subscribeAsync(filter, { qos: 1 })
    await until(() => messagesOf(other).length === 3)
    expect(messagesOf(other).toSorted()).toEqual(['a 2', 'a 2', 'd 1'])
  })

  test('a session that nobody takes up again is deleted after its time, and no other', async () => {
    const lines: string[] = []
    const log = pino({}, { write: (line: string) => void lines.push(line) })
    await using server = await serveMqtt(recorder().application, { persistence, sessionExpiry: '150ms' }, { log })
    const [device, present] = await Promise.all([server.connect(lasting('device')), server.connect(lasting('present'))])
    for (const client of [device, present]) await client.subscribeAsync({ 'a/#': { qos: 1 }, 'a/b': { qos: 2 } })
    await device.endAsync()
    const sender = await server.connect()
    await sender.publishAsync('a/b', 'x', { qos: 2 })
    await until(() => lines.some((line) => line.includes('sessions that nobody took up were deleted')))
    await sender.publishAsync('a/b', 'y', { qos: 1 })
    await until(() => messagesOf(present).length === 2)
    expect(await waiting(server, 'device', 0)).toEqual([])
    expect(messagesOf(present)).toEqual(['a/b x', 'a/b y'])
  })

  test.each([1, 2] as const)(
    'a client that comes back in the middle of it gets every message of QoS %i in order',
    async (qos) => {
      await using server = await start()
      const device = await server.connect(lasting('device'))
      await device.subscribeAsync({ 'a/#': { qos }, 'a/b': { qos } })
      await device.endAsync()
      const sender = await server.connect()
      const send = async (from: number, to: number) => {
        for (let number = from; number < to; number++) await sender.publishAsync('a/b', String(number), { qos })
      }
      await send(0, 100)
      const sending = send(100, 200)
      const back = await server.connect(lasting('device'))
      await sending
      await until(() => messagesOf(back).length >= 200)
      await sender.publishAsync('a/b', 'last', { qos })
      await until(() => messagesOf(back).at(-1) === 'a/b last')
      expect(messagesOf(back)).toEqual([...Array.from({ length: 200 }, (_, number) => `a/b ${number}`), 'a/b last'])
    },
  )

  test('a clean session forgets everything', async () => {
    await using server = await start()
    const device = await server.connect(lasting('device'))
    await device.subscribeAsync('a', { qos: 1 })
    await device.endAsync()
    const sender = await server.connect()
    await sender.publishAsync('a', 'x', { qos: 1 })
    const clean = await server.connect({ clientId: 'device', clean: true })
    await clean.endAsync()
    await sender.publishAsync('a', 'y', { qos: 1 })
    expect(await waiting(server, 'device', 0)).toEqual([])
  })

  test('a message is delivered with the lower of both QoS, also a retained one', async () => {
    await using server = await start()
    const sender = await server.connect()
    await sender.publishAsync('kept/2', 'x', { qos: 2, retain: true })
    const device = await server.connect()
    const qos: number[] = []
    device.on('message', (_topic, _payload, packet) => qos.push(packet.qos))
    await device.subscribeAsync({ 'a/+': { qos: 1 }, 'b/+': { qos: 0 }, 'c/+': { qos: 2 }, 'kept/+': { qos: 0 } })
    await until(() => qos.length === 1)
    for (const topic of ['a/x', 'b/x', 'c/x']) {
      await sender.publishAsync(topic, 'x', { qos: 2 })
      await until(() => qos.length === 'abc'.indexOf(topic[0] as string) + 2)
    }
    expect(qos).toEqual([0, 1, 0, 2])
  })

  test('what an application says to a client alone waits for it like all else', async () => {
    const said: Promise<void>[] = []
    const { application } = recorder((_, consumer) => {
      said.push(consumer.publish('for/you', 'first', { qos: 1, direct: true }))
    })
    await using server = await serveMqtt(application, {
      persistence,
      anonymous: { subscribe: ['nothing'], publish: ['#'] },
    })
    const device = await server.raw()
    device.send(bytes.connect({ clientId: 'device', flags: 0 }), bytes.publish('a', 'x', { qos: 1 }))
    await device.until(/for\/you/)
    device.reset()
    await server.idle()
    const again = await server.connect(lasting('device'))
    await until(() => messagesOf(again).length === 1)
    expect(messagesOf(again)).toEqual(['for/you first'])
    await Promise.all(said)
  })
})

describe('taking over', () => {
  test('the older connection ends, its application hears why, and only then of the newer one', async () => {
    const { application, events, types } = recorder()
    await using server = await serveMqtt(application)
    const first = await server.connect({ clientId: 'same' })
    const gone = new Promise<void>((resolve) => void first.once('close', resolve))
    const second = await server.connect({ clientId: 'same' })
    await gone
    await second.publishAsync('a', 'x', { qos: 1 })
    expect(types()).toEqual(['connect', 'disconnect', 'connect', 'publish'])
    expect(events[1]).toEqual({ type: 'mqtt.disconnect', reason: 'takeover' })
    await second.endAsync()
    await server.idle()
  })

  test('many at once leave one', async () => {
    const { application, types } = recorder()
    await using server = await serveMqtt(application, { persistence: 'disk' })
    const clients = await Promise.all(Array.from({ length: 20 }, () => server.raw()))
    for (const client of clients) client.send(bytes.connect({ clientId: 'same', flags: 0 }))
    const left = () => clients.filter(({ socket }) => !socket.destroyed)
    await until(() => left().length === 1 && server.listener.connections === 1)
    const [last] = left()
    await last?.until(/^\x20\x02/)
    expect(
      types().filter((type) => type === 'connect').length - types().filter((type) => type === 'disconnect').length,
    ).toBe(1)
    expect(server.test.open.size).toBe(1)
    last?.end()
    await server.idle()
  })

  test('the session goes on, with the will of the older connection', async () => {
    const { application, texts } = recorder()
    await using server = await serveMqtt(application)
    const first = await server.connect({
      ...lasting('same'),
      will: { topic: 'will', payload: Buffer.from('gone'), qos: 1, retain: false },
    })
    await first.subscribeAsync('#', { qos: 1 })
    const second = await server.connect(lasting('same'))
    await until(() => messagesOf(second).length === 1)
    expect([messagesOf(second), texts()]).toEqual([['will gone'], ['gone']])
  })
})

describe('a will', () => {
  const will = { topic: 'status/device', payload: Buffer.from('offline'), qos: 1, retain: true } as const

  async function witnessed(application = recorder()) {
    const server = await serveMqtt(application.application)
    const witness = await server.connect({ clientId: 'witness' })
    await witness.subscribeAsync('status/#', { qos: 1 })
    return { server, messages: messagesOf(witness), ...application }
  }

  test('reaches the application before its last event, and then the subscribers', async () => {
    const { server, messages, events } = await witnessed()
    await using _ = server
    const device = await server.connect({ clientId: 'device', will })
    device.stream.destroy()
    await until(() => messages.length === 1)
    expect(messages).toEqual(['status/device offline'])
    expect(events.slice(-2)).toEqual([
      expect.objectContaining({ type: 'mqtt.publish', topic: 'status/device', retain: true, qos: 1 }),
      { type: 'mqtt.disconnect', reason: 'closed' },
    ])
  })

  test('is found by its rule below a TopicRouter', async () => {
    const inner = recorder()
    const { server, messages } = await witnessed({
      ...inner,
      application: TopicRouter([{ topic: 'status/+device', app: inner.application }]),
    })
    await using _ = server
    const device = await server.connect({ will })
    device.stream.destroy()
    await until(() => messages.length === 1)
    await until(() => inner.events.length === 3)
    expect(inner.types()).toEqual(['connect', 'publish', 'disconnect'])
  })

  test('is not published after a goodbye', async () => {
    const { server, messages, types } = await witnessed()
    await using _ = server
    const device = await server.connect({ will })
    await device.endAsync()
    await until(() => types().includes('disconnect'))
    await sleep(20)
    expect(messages).toEqual([])
  })

  test('is not published when the gateway goes, and what is under way is finished', async () => {
    const { server, messages, events } = await witnessed(recorder(() => sleep(50)))
    await using _ = server
    const device = await server.connect({ will })
    const published = device.publishAsync('status/last', 'words', { qos: 1 })
    await until(() => events.some(({ type }) => type === 'mqtt.publish'))
    const closed = Promise.all([server.listener.close(AbortSignal.timeout(5000)), published])
    await closed
    await until(() => messages.length > 0)
    await sleep(20)
    expect(messages).toEqual(['status/last words'])
    expect(events.filter(({ type }) => type === 'mqtt.publish')).toHaveLength(1)
    expect(events.filter(({ type }) => type === 'mqtt.disconnect')).toEqual(
      Array.from({ length: 2 }, () => ({ type: 'mqtt.disconnect', reason: 'shutdown' })),
    )
    expect(server.test.open.size).toBe(0)
  })
})

test('a gateway whose application hangs is closed all the same when its time is over', async () => {
  const { application } = recorder(() => new Promise(() => undefined))
  await using server = await serveMqtt(application, {}, { closeTimeout: 50 })
  const client = await server.raw()
  client.send(bytes.connect(), bytes.publish('a', 'x', { qos: 1 }))
  await until(() => server.test.open.size === 1)
  await server.listener.close(AbortSignal.timeout(100))
  await client.closed
})

/** What a session gets once more: every message that it has not acknowledged, as it was sent the first time, and nothing else. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, jest, test } from '@jest/globals'
import { parser, type Packet } from 'mqtt-packet'
import { SessionStore } from '../../../protocols/mqtt/store.ts'
import type { RawClient } from '../../support/raw-client.ts'
import { inEachStore } from './stores.ts'
import { bytes, packet, recorder, serveMqtt, until, type MqttServer } from './support.ts'

const levels = [1, 2] as const

afterEach(() => {
  jest.restoreAllMocks()
})

const subscribe = (filter: string, qos: number) =>
  packet(0x82, Buffer.from([0, 1]), bytes.string(filter), Buffer.from([qos]))
const answer = (first: number, id: number) => packet(first, Buffer.from([id >> 8, id & 0xff]))

/** Connects to the session of `device`, and says this. */
async function device(server: MqttServer, ...said: readonly Buffer[]): Promise<RawClient> {
  const client = await server.raw()
  client.send(bytes.connect({ clientId: 'device', flags: 0 }), ...said)
  return client
}

/** Breaks the connection off, and waits until the gateway knows. */
async function leave(server: MqttServer, client: RawClient, left = 0): Promise<void> {
  client.reset()
  await until(() => server.listener.connections === left)
}

/** The messages that came, as `topic payload, with these flags`, and their identifiers. */
function messages({ text }: RawClient): readonly { readonly said: string; readonly id: number | undefined }[] {
  const found: { said: string; id: number | undefined }[] = []
  const reader = parser({ protocolVersion: 4 })
  reader.on('packet', (one: Packet) => {
    if (one.cmd !== 'publish') return
    const { topic, payload, qos, retain, dup, messageId } = one
    const flags = [retain && ' retain', dup && ' dup'].filter(Boolean).join('')
    found.push({ said: `${topic} ${payload.toString().trimEnd()} ${qos}${flags}`, id: messageId })
  })
  reader.parse(Buffer.from(text, 'latin1'))
  return found
}
const said = (client: RawClient) => messages(client).map((message) => message.said)

/** What the session gives to its client until a message that is published now comes: that is left out. */
async function waiting(server: MqttServer): Promise<string[]> {
  const client = await device(server, subscribe('now', 1))
  await client.until(/\x90\x03\0\x01\x01/)
  client.send(bytes.publish('now', 'all', { qos: 1 }))
  await client.until(/nowall|now..all/s)
  const [{ id = 0 } = {}] = messages(client).slice(-1)
  client.send(answer(0x40, id), bytes.ping)
  await client.until(/\xd0\0/)
  await leave(server, client)
  return said(client).slice(0, -1)
}

inEachStore((start) => {
  describe.each(levels)('with QoS %i', (qos) => {
    test('a retained message that was not acknowledged comes again, until it is', async () => {
      await using server = await start()
      const sender = await server.connect()
      await sender.publishAsync('state/lamp', 'on', { qos, retain: true })
      await sender.endAsync()
      const first = await device(server, subscribe('state/#', qos))
      await first.until(/on$/)
      await leave(server, first)
      const second = await device(server)
      await second.until(/on$/)
      const [before, again] = [messages(first), messages(second)]
      expect(before).toEqual([{ said: `state/lamp on ${qos} retain`, id: expect.any(Number) }])
      expect(again).toEqual([{ said: `state/lamp on ${qos} retain dup`, id: before[0]?.id }]) // [MQTT-4.4.0-1]
      const id = before[0]?.id ?? 0
      if (qos === 1) second.send(answer(0x40, id), bytes.ping)
      else {
        second.send(answer(0x50, id))
        await second.until(/\x62\x02..$/s)
        await leave(server, second)
        const third = await device(server)
        await third.until(/\x62\x02..$/s)
        expect(said(third)).toEqual([])
        third.send(answer(0x70, id), bytes.ping)
        await third.until(/\xd0\0$/)
        await leave(server, third)
        return expect(await waiting(server)).toEqual([])
      }
      await second.until(/\xd0\0$/)
      await leave(server, second)
      expect(await waiting(server)).toEqual([])
    })

    test('the first time comes without DUP, whatever its publisher said, and every other time with it', async () => {
      await using server = await start()
      const first = await device(server, subscribe('t', qos))
      await first.until(/\x90/)
      const sender = await server.raw()
      sender.send(bytes.connect({ clientId: 'sender' }), bytes.publish('t', 'live', { qos, flags: 8 }))
      await first.until(/live$/)
      await leave(server, first, 1)
      sender.send(bytes.pubrel(1), bytes.publish('t', 'away', { qos, id: 2, flags: 8 }))
      await sender.until(/\0\x02$/)
      const second = await device(server)
      await second.until(/away$/)
      expect(said(first)).toEqual([`t live ${qos}`]) // [MQTT-3.3.1-3]
      expect(said(second)).toEqual([`t live ${qos} dup`, `t away ${qos}`]) // [MQTT-3.3.1-1]
    })
  })

  test('of a clean session no retained message comes again', async () => {
    await using server = await start()
    const sender = await server.connect()
    await sender.publishAsync('state', 'on', { qos: 1, retain: true })
    await sender.endAsync()
    const clean = await server.raw()
    clean.send(bytes.connect({ clientId: 'device' }), subscribe('state', 1))
    await clean.until(/on$/)
    await leave(server, clean)
    expect(await waiting(server)).toEqual([])
  })

  test('however much is retained comes once to a client that subscribes before it has got what waits for it', async () => {
    await using server = await start()
    const first = await device(server, subscribe('t', 1))
    await first.until(/\x90/)
    await leave(server, first)
    const sender = await server.connect()
    const numbers = Array.from({ length: 50 }, (_, number) => String(number).padStart(2, '0'))
    for (const number of numbers) await sender.publishAsync('t', number, { qos: 1 })
    const large = 'on'.padEnd(100_000)
    for (const number of numbers) await sender.publishAsync(`state/${number}`, large, { qos: 1, retain: true })
    await sender.endAsync()
    const second = await device(server, subscribe('state/#', 1))
    await until(() => second.socket.destroyed || second.text.length > 50 * large.length)
    const expected = [
      ...numbers.map((number) => `t ${number} 1`),
      ...numbers.map((number) => `state/${number} on 1 retain`),
    ]
    expect(said(second).toSorted()).toEqual(expected.toSorted())
    await leave(server, second)
    expect((await waiting(server)).toSorted()).toEqual(expected.map((one) => `${one} dup`).toSorted())
  })

  test('retained messages beyond what may wait in a session come, but not again', async () => {
    await using server = await start({ maxQueued: 3 })
    const sender = await server.connect()
    for (const topic of 'abcde') await sender.publishAsync(topic, 'on', { qos: 1, retain: true })
    await sender.endAsync()
    const first = await device(server, subscribe('+', 1))
    await until(() => messages(first).length === 5)
    await leave(server, first)
    const second = await device(server)
    await until(() => messages(second).length === 3)
    expect(said(first).map((one) => `${one} dup`)).toEqual(expect.arrayContaining([...said(second)]))
  })

  test('what was published to be retained while a client was away comes without the flag', async () => {
    await using server = await start()
    const first = await device(server, subscribe('state', 1))
    await first.until(/\x90/)
    await leave(server, first)
    const sender = await server.connect()
    await sender.publishAsync('state', 'on', { qos: 1, retain: true })
    await sender.endAsync()
    expect(await waiting(server)).toEqual(['state on 1']) // [MQTT-3.3.1-9]
  })

  test('what an application says to a client alone comes again until it is acknowledged, with the flag or without', async () => {
    const app = recorder(({ topic }, consumer) => {
      if (topic !== 'ask') return
      void consumer.publish('for/you', 'one', { qos: 1, direct: true, retain: true })
      void consumer.publish('for/you', 'two', { qos: 1, direct: true })
    })
    await using server = await start({ anonymous: { subscribe: ['now'], publish: ['#'] } }, app)
    const first = await device(server, bytes.publish('ask'))
    await first.until(/two$/)
    expect(said(first)).toEqual(['for/you one 1 retain', 'for/you two 1'])
    await leave(server, first)
    const second = await device(server)
    await second.until(/two$/)
    expect(said(second)).toEqual(['for/you one 1 retain dup', 'for/you two 1 dup'])
    second.send(...messages(second).map(({ id = 0 }) => answer(0x40, id)), bytes.ping)
    await second.until(/\xd0\0$/)
    await leave(server, second)
    expect(await waiting(server)).toEqual([])
  })
})

test('a message that comes right before it is read from its session stays there until it is acknowledged', async () => {
  await using server = await serveMqtt(recorder().application)
  const first = await device(server, subscribe('t', 1))
  await first.until(/\x90/)
  await leave(server, first)
  const sender = await server.connect()
  const { outgoingStream } = SessionStore.prototype
  jest.spyOn(SessionStore.prototype, 'outgoingStream').mockImplementationOnce(async function* (
    this: SessionStore,
    client,
  ) {
    await sender.publishAsync('t', 'now', { qos: 1 })
    yield* outgoingStream.call(this, client)
  })
  const second = await device(server)
  await second.until(/now$/)
  await leave(server, second, 1)
  const third = await device(server)
  await third.until(/now$/)
  expect([said(second), said(third)]).toEqual([['t now 1'], ['t now 1 dup']])
})

test('a retained message that was not acknowledged comes again after a restart', async () => {
  const data = mkdtempSync(join(tmpdir(), 'signalbox-mqtt-'))
  const start = () => serveMqtt(recorder().application, { persistence: 'disk' }, { data })
  {
    await using server = await start()
    const sender = await server.connect()
    await sender.publishAsync('state', 'on', { qos: 1, retain: true })
    const client = await device(server, subscribe('state', 1))
    await client.until(/on$/)
  }
  await using server = await start()
  expect(await waiting(server)).toEqual(['state on 1 retain dup'])
  rmSync(data, { recursive: true })
})

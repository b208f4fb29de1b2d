/** `delivery: stored`: PUBACK and PUBREC mean that the publish is on disk, and that it will be handled or kept as a dead letter. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { TopicRouter } from '../../../protocols/mqtt/router.ts'
import type { MqttProtocol } from '../../../protocols/mqtt/scope.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { delivery } from '../../../src/middleware/delivery.ts'
import { permanent } from '../../../src/runtime/errors.ts'
import { bytes, recorder, serveMqtt, until } from './support.ts'

const stored = { delivery: {} }

function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-mqtt-'))
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

const text = (payload: Uint8Array): string => Buffer.from(payload).toString()

test.each([1, 2] as const)(
  'QoS %i: the acknowledgements do not wait for a slow application, which gets all in order',
  async (qos) => {
    const go = Promise.withResolvers<void>()
    const app = recorder(() => go.promise)
    await using server = await serveMqtt(app.application, {}, stored)
    const client = await server.connect()
    const texts = Array.from({ length: 20 }, (_, index) => String(index))
    await Promise.all(texts.map((payload) => client.publishAsync('a', payload, { qos })))
    expect(app.texts()).toEqual(['0'])
    go.resolve()
    await server.test.stored.idle()
    expect(app.texts()).toEqual(texts)
    expect(app.scopes).toHaveLength(1)
  },
)

test('QoS 0 has no answer, and is not stored', async () => {
  const app = recorder()
  await using server = await serveMqtt(app.application, {}, stored)
  const client = await server.connect()
  await client.publishAsync('a', 'gone', { qos: 0 })
  await client.publishAsync('a', 'kept', { qos: 1 })
  await server.test.stored.idle()
  expect(app.texts()).toEqual(['gone', 'kept'])
  expect(await server.test.stored.counts()).toMatchObject({ accepted: 1 })
})

test('a client that leaves at once has had its own instance handle what it sent, before mqtt.disconnect', async () => {
  const app = recorder(() => new Promise((resolve) => void setImmediate(resolve)))
  await using server = await serveMqtt(app.application, {}, stored)
  const client = await server.connect()
  await Promise.all(['1', '2', '3'].map((payload) => client.publishAsync('a', payload, { qos: 1 })))
  await client.endAsync()
  await server.idle()
  expect(app.types()).toEqual(['connect', 'publish', 'publish', 'publish', 'disconnect'])
})

describe('an event that the application fails on', () => {
  test('is tried again in a new scope, while the connection and the others go on', async () => {
    let failures = 2
    const app = recorder(({ payload }) => {
      if (text(payload) === 'bad' && failures-- > 0) throw new Error('not yet')
    })
    await using server = await serveMqtt(app.application, {}, stored)
    const client = await server.connect()
    await Promise.all(['bad', 'good'].map((payload) => client.publishAsync('a', payload, { qos: 1 })))
    await server.test.stored.idle()
    expect(app.texts().filter((payload) => payload === 'bad')).toHaveLength(3)
    expect(app.texts().slice(0, 2)).toEqual(['bad', 'good'])
    expect(app.scopes.map(({ attempt }) => attempt).filter(Boolean)).toEqual([2, 3])
    expect(client.connected).toBe(true)
    expect(server.test.failed).toEqual([])
  })

  test('is a dead letter at last, or at once with permanent(error)', async () => {
    const app = recorder(({ payload }) => {
      if (text(payload) === 'poison') throw permanent(new Error('not a number'))
      if (text(payload) === 'bad') throw new Error('no')
    })
    await using server = await serveMqtt(app.application, {}, stored)
    const client = await server.connect()
    for (const payload of ['poison', 'bad', 'good']) await client.publishAsync('a', payload, { qos: 1 })
    const letters = await server.test.stored.dead(2)
    expect(letters).toMatchObject([
      { event: { topic: 'a', payload: Buffer.from('poison') }, error: 'not a number', attempts: 1 },
      { event: { payload: Buffer.from('bad') }, error: 'no', attempts: 5 },
    ])
    expect(app.texts()).toContain('good')
    expect(client.connected).toBe(true)
  })
})

test('what was not handled when the process ended is handled by the next one in a scope that says so', async () => {
  using temporary = temporaryFolder()
  const services = { ...stored, data: temporary.folder, closeTimeout: 1 }
  const rules = (app: ReturnType<typeof recorder>) => TopicRouter([{ topic: 'rooms/+room/#', app: app.application }])
  {
    const app = recorder(() => new Promise(() => {}))
    await using server = await serveMqtt(rules(app), {}, services)
    const client = await server.connect({ clientId: 'sensor' })
    for (const payload of ['1', '2']) await client.publishAsync('rooms/hall/t', payload, { qos: 1 })
    await until(() => app.texts().length === 1)
    await server.test.stored.stop()
  }
  const app = recorder()
  await using server = await serveMqtt(rules(app), {}, services)
  await server.test.stored.counts()
  await server.test.stored.idle()
  await server.test.idle()
  expect(app.texts()).toEqual(['1', '2'])
  expect(app.events[1]).toMatchObject({ topic: 'rooms/hall/t', params: { room: 'hall' }, qos: 1 })
  expect(app.scopes).toMatchObject([{ clientId: 'sensor', redelivered: true }])
  expect(app.types()).toEqual(['connect', 'publish', 'publish', 'disconnect'])
})

test('while the journal cannot be written there is no PUBACK; then they come in order, and nothing is lost', async () => {
  using temporary = temporaryFolder()
  const app = recorder()
  await using server = await serveMqtt(app.application, {}, { ...stored, data: temporary.folder })
  const client = await server.connect()
  await client.publishAsync('a', 'before', { qos: 1 })
  const other = new DatabaseSync(join(temporary.folder, 'journal.sqlite'), { timeout: 10_000 })
  other.exec('BEGIN IMMEDIATE')
  const acknowledged: string[] = []
  const texts = ['1', '2', '3']
  const all = texts.map(async (payload) => {
    await client.publishAsync('a', payload, { qos: 1 })
    acknowledged.push(payload)
  })
  await until(() => server.test.stored.problem !== undefined)
  expect(acknowledged).toEqual([])
  other.exec('ROLLBACK')
  other.close()
  await Promise.all(all)
  expect(acknowledged).toEqual(texts)
  await server.test.stored.idle()
  expect(app.texts()).toEqual(['before', ...texts])
})

test.each([1, 2] as const)(
  'QoS %i: what a client sends again, who left while the journal could not be written, is handled',
  async (qos) => {
    using temporary = temporaryFolder()
    const app = recorder()
    await using server = await serveMqtt(app.application, {}, { ...stored, data: temporary.folder })
    const before = await server.connect()
    await before.publishAsync('a', 'before', { qos: 1 })
    await before.endAsync()
    const connect = bytes.connect({ clientId: 'device', flags: 0 })
    const file = new DatabaseSync(join(temporary.folder, 'journal.sqlite'), { timeout: 10_000 })
    file.exec('BEGIN IMMEDIATE')
    const first = await server.raw()
    first.send(connect, bytes.publish('a', 'again', { qos, id: 5 }))
    await until(() => server.test.stored.problem !== undefined)
    first.reset()
    await server.idle()
    file.exec('ROLLBACK')
    file.close()
    const second = await server.raw()
    second.send(connect, bytes.publish('a', 'again', { qos, id: 5, flags: 8 }))
    await second.until(qos === 1 ? /\x40\x02\0\x05/ : /\x50\x02\0\x05/)
    if (qos === 2) second.send(bytes.pubrel(5))
    if (qos === 2) await second.until(/\x70\x02\0\x05/)
    await server.test.stored.idle()
    expect(app.texts()).toEqual(['before', 'again'])
  },
)

describe('a publish that comes again', () => {
  const kept = bytes.connect({ clientId: 'device', flags: 0 })
  const publish = (payload: string, flags = 0) => bytes.publish('a', payload, { qos: 1, id: 5, flags })
  const dup = 8
  const puback = /\x40\x02\x00\x05/

  test('with DUP, in the same session, is acknowledged and handled once', async () => {
    const app = recorder()
    await using server = await serveMqtt(app.application, {}, stored)
    for (const flags of [0, dup]) {
      const client = await server.raw()
      client.send(Buffer.concat([kept, publish('same', flags)]))
      await client.until(puback)
      client.socket.destroy()
      await server.idle()
    }
    expect(app.texts()).toEqual(['same'])
  })

  test('with DUP and another payload is another one: the first of its identifier was acknowledged', async () => {
    const app = recorder()
    await using server = await serveMqtt(app.application, {}, stored)
    for (const [payload, flags] of [
      ['first', 0],
      ['second', dup],
    ] as const) {
      const client = await server.raw()
      client.send(Buffer.concat([kept, publish(payload, flags)]))
      await client.until(puback)
      client.socket.destroy()
      await server.idle()
    }
    expect(app.texts()).toEqual(['first', 'second'])
  })

  test('without DUP is a new one, however much it looks like the last', async () => {
    const app = recorder()
    await using server = await serveMqtt(app.application, {}, stored)
    const client = await server.raw()
    client.send(kept)
    for (let time = 1; time <= 2; time++) {
      client.send(publish('21.5'))
      await until(() => app.texts().length === time)
    }
    expect(app.texts()).toEqual(['21.5', '21.5'])
    client.socket.destroy()
  })
})

describe('a rule says otherwise', () => {
  const saying = (app: ReturnType<typeof recorder>, mode: 'handled' | 'none') =>
    delivery(app.application, { mode }) as typeof app.application

  test('handled: PUBACK comes when the application has handled it', async () => {
    const go = Promise.withResolvers<void>()
    const app = recorder(() => go.promise)
    await using server = await serveMqtt(saying(app, 'handled'), {}, stored)
    const client = await server.connect()
    let acknowledged = false
    const done = client.publishAsync('a', 'x', { qos: 1 }).then(() => (acknowledged = true))
    await until(() => app.texts().length === 1)
    expect(acknowledged).toBe(false)
    go.resolve()
    await done
    expect(await server.test.stored.counts()).toMatchObject({ accepted: 0 })
  })

  test('none: PUBACK comes at once', async () => {
    const go = Promise.withResolvers<void>()
    const app = recorder(() => go.promise)
    await using server = await serveMqtt(saying(app, 'none'), {}, stored)
    const client = await server.connect()
    await Promise.all(['1', '2'].map((payload) => client.publishAsync('a', payload, { qos: 1 })))
    go.resolve()
    await until(() => app.texts().length === 2)
    expect(await server.test.stored.counts()).toMatchObject({ accepted: 0 })
  })
})

test('events of two clients that a rule keeps in one lane are tried again each in the scope of its own', async () => {
  const seen: string[] = []
  const app: Application<MqttProtocol> = async (scope, receive) => {
    for (;;) {
      const event = await receive()
      if (event.type === 'mqtt.disconnect') return
      if (event.type !== 'mqtt.publish') continue
      seen.push(`${scope.clientId} ${text(event.payload)}`)
      if ((scope.attempt ?? 1) === 1) throw new Error('not yet')
    }
  }
  const inRoom = delivery(app, { key: 'room' }) as typeof app
  await using server = await serveMqtt(TopicRouter([{ topic: 'rooms/+room', app: inRoom }]), {}, stored)
  for (const clientId of ['ann', 'bob']) {
    const client = await server.connect({ clientId })
    await client.publishAsync('rooms/hall', `of ${clientId}`, { qos: 1 })
  }
  await server.test.stored.idle()
  expect(seen.toSorted()).toEqual(['ann of ann', 'ann of ann', 'bob of bob', 'bob of bob'])
})

test('a client that comes back while what it sent waits is let in at once, and all of it is handled in order', async () => {
  const seen: string[] = []
  const held = Promise.withResolvers<void>()
  const app: Application<MqttProtocol> = async (_scope, receive, send, { signal }) => {
    for (;;) {
      const event = await receive()
      if (event.type === 'mqtt.disconnect') return
      if (event.type === 'mqtt.connect') await send({ type: 'mqtt.accept' })
      if (event.type !== 'mqtt.publish') continue
      seen.push(text(event.payload))
      if (seen.length > 1) continue
      held.resolve()
      await once(signal, 'abort')
      throw signal.reason
    }
  }
  await using server = await serveMqtt(app, {}, { ...stored, closeTimeout: 60_000 })
  const first = await server.connect({ clientId: 'device' })
  for (const payload of ['1', '2', '3']) await first.publishAsync('a', payload, { qos: 1 })
  await held.promise
  const second = await server.connect({ clientId: 'device' })
  await second.publishAsync('a', '4', { qos: 1 })
  await server.test.stored.idle()
  expect(seen.filter((payload, index) => seen.indexOf(payload) === index)).toEqual(['1', '2', '3', '4'])
})

test('a will that cannot be stored is a dead letter when the journal can be written again', async () => {
  using temporary = temporaryFolder()
  const app = recorder()
  await using server = await serveMqtt(app.application, {}, { ...stored, data: temporary.folder })
  const will = { topic: 'a', payload: Buffer.from('gone'), qos: 1, retain: false } as const
  const client = await server.connect({ will })
  await client.publishAsync('a', 'before', { qos: 1 })
  const other = new DatabaseSync(join(temporary.folder, 'journal.sqlite'), { timeout: 10_000 })
  other.exec('BEGIN IMMEDIATE')
  client.stream.destroy()
  await until(() => server.test.stored.problem !== undefined)
  await server.idle()
  other.exec('ROLLBACK')
  other.close()
  expect(await server.test.stored.dead(1)).toMatchObject([{ event: { payload: Buffer.from('gone') } }])
})

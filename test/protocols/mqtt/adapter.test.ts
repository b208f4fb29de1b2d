/** MQTT from the wire to the application and back: scopes, events, instances, and what a goodbye leaves time for. */
import { describe, expect, test } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import { TopicRouter } from '../../../protocols/mqtt/router.ts'
import { bytes, connack, recorder, serveMqtt, until, type MqttApplication } from './support.ts'

const silent: MqttApplication = () => new Promise(() => undefined)

describe('an application without topic rules', () => {
  test('is asked before CONNACK, and gets one scope of plain data for the connection', async () => {
    const { application, scopes, events } = recorder()
    await using server = await serveMqtt(application)
    const client = await server.connect({ clientId: 'c1', keepalive: 30, clean: true })
    await client.publishAsync('a/b', 'one', { qos: 1 })
    await client.publishAsync('c', Buffer.from([0, 255]), { qos: 0 })
    await client.endAsync()
    await server.idle()
    expect(structuredClone(scopes)).toEqual(scopes)
    expect(scopes).toEqual([
      {
        type: 'mqtt',
        id: expect.any(String),
        client: ['127.0.0.1', expect.any(Number)],
        server: ['127.0.0.1', Number(new URL(server.url).port)],
        params: {},
        route: '',
        state: { data: expect.any(String) },
        clientId: 'c1',
        username: '',
        protocolVersion: 4,
        clean: true,
        keepalive: 30,
      },
    ])
    const common = { type: 'mqtt.publish', retain: false, dup: false, params: {} }
    expect(events).toEqual([
      { type: 'mqtt.connect' },
      { ...common, topic: 'a/b', payload: new Uint8Array(Buffer.from('one')), qos: 1 },
      { ...common, topic: 'c', payload: new Uint8Array([0, 255]), qos: 0 },
      { type: 'mqtt.disconnect', reason: 'disconnect' },
    ])
  })

  test.each<[string, MqttApplication, number]>([
    ['closes', async (_scope, receive, send) => void (await receive(), await send({ type: 'mqtt.close' })), 5],
    ['returns', async (_scope, receive) => void (await receive()), 5],
    ['raises', () => Promise.reject(new Error('as told')), 3],
    ['never answers', silent, 3],
  ])('that %s instead of accepting refuses the client', async (_, application, code) => {
    await using server = await serveMqtt(application, { handlerTimeout: '50ms' }, { closeTimeout: 10 })
    const client = await server.raw()
    client.send(bytes.connect())
    expect(await client.closed).toBe(connack(code))
    await server.idle()
    expect(server.test.failed).toEqual([])
  })

  test('may cut the connection later', async () => {
    const { application, events } = recorder((_, consumer) => consumer.close())
    await using server = await serveMqtt(application)
    const client = await server.connect()
    const gone = new Promise<void>((resolve) => void client.once('close', resolve))
    client.publish('a', 'x', { qos: 0 })
    await gone
    await server.idle()
    expect(events.at(-1)).toEqual({ type: 'mqtt.disconnect', reason: 'closed' })
  })

  test('hears what the client subscribes to and leaves', async () => {
    const { application, events } = recorder()
    await using server = await serveMqtt(application)
    const client = await server.connect()
    await client.subscribeAsync({ 'a/+': { qos: 1 }, b: { qos: 0 } })
    await client.unsubscribeAsync(['a/+', 'never'])
    await client.endAsync()
    await server.idle()
    expect(events.slice(1)).toEqual([
      { type: 'mqtt.subscribe', filter: 'a/+', qos: 1 },
      { type: 'mqtt.subscribe', filter: 'b', qos: 0 },
      { type: 'mqtt.unsubscribe', filter: 'a/+' },
      { type: 'mqtt.disconnect', reason: 'disconnect' },
    ])
  })

  test('is told of the retained flag and of a repetition', async () => {
    const { application, events } = recorder()
    await using server = await serveMqtt(application)
    const client = await server.raw()
    client.send(bytes.connect(), bytes.publish('a', 'x', { qos: 1, flags: 0x09 }), bytes.disconnect)
    await client.closed
    await server.idle()
    expect(events[1]).toMatchObject({ type: 'mqtt.publish', retain: true, dup: true })
  })
})

describe('below a TopicRouter', () => {
  test('each rule that matched has its own instance, which sees the params of each publish', async () => {
    const rooms = recorder()
    const doors = recorder()
    const application = TopicRouter([
      { topic: 'sensors/+room/temperature', app: rooms.application },
      { topic: 'doors/#', app: doors.application },
    ])
    await using server = await serveMqtt(application)
    const client = await server.connect({ clientId: 'c' })
    expect(server.test.open.size).toBe(0)
    await client.publishAsync('sensors/kitchen/temperature', '1', { qos: 1 })
    await client.publishAsync('sensors/cellar/temperature', '2', { qos: 1 })
    await client.publishAsync('doors/front', 'open', { qos: 1 })
    expect(server.test.open.size).toBe(2)
    await client.publishAsync('elsewhere', '3', { qos: 1 })
    await client.endAsync()
    await server.idle()
    expect(rooms.types()).toEqual(['connect', 'publish', 'publish', 'disconnect'])
    expect(rooms.events.flatMap((event) => (event.type === 'mqtt.publish' ? [event.params] : []))).toEqual([
      { room: 'kitchen' },
      { room: 'cellar' },
    ])
    expect(rooms.scopes).toEqual([
      expect.objectContaining({ topic: 'sensors/kitchen/temperature', route: 'TopicRouter[0]', clientId: 'c' }),
    ])
    expect(doors.types()).toEqual(['connect', 'publish', 'disconnect'])
    expect(doors.scopes).toEqual([expect.objectContaining({ topicRemaining: 'front' })])
    expect(server.test.unrouted).toEqual(['elsewhere'])
  })

  test('a slow rule holds up no other, and acknowledgements keep their order', async () => {
    const slow = Promise.withResolvers<void>()
    const first = recorder(() => slow.promise)
    const second = recorder()
    const application = TopicRouter([
      { topic: 'slow', app: first.application },
      { topic: 'fast', app: second.application },
    ])
    await using server = await serveMqtt(application)
    const client = await server.raw()
    client.send(
      bytes.connect(),
      bytes.publish('slow', 'x', { qos: 1, id: 1 }),
      bytes.publish('fast', 'y', { qos: 1, id: 2 }),
    )
    await until(() => second.texts().length === 1)
    await client.until(/^\x20\x02\x00\x00$/)
    slow.resolve()
    await client.until(/\x40\x02\x00\x01\x40\x02\x00\x02$/)
  })

  test('many messages for a slow rule hold up no later one for another', async () => {
    const first = recorder(() => new Promise(() => undefined))
    const second = recorder()
    const application = TopicRouter([
      { topic: 'slow', app: first.application },
      { topic: 'fast', app: second.application },
    ])
    await using server = await serveMqtt(application, {}, { closeTimeout: 10 })
    const client = await server.raw()
    client.send(bytes.connect())
    await client.until(/^\x20\x02\x00\x00$/)
    client.send(Buffer.concat(Array.from({ length: 10 }, () => bytes.publish('slow', 'x'))))
    await until(() => first.texts().length === 1)
    client.send(bytes.publish('fast', 'y'))
    await until(() => second.texts().length === 1)
    client.reset()
  })

  test('an instance that closes cuts the connection, and subscriptions are told to those that are open', async () => {
    const { application, types } = recorder((_, consumer) => consumer.close())
    await using server = await serveMqtt(TopicRouter([{ topic: 'a', app: application }]))
    const client = await server.connect()
    await client.subscribeAsync('x')
    client.publish('a', 'x')
    await new Promise<void>((resolve) => void client.once('close', resolve))
    await server.idle()
    expect(types()).toEqual(['connect', 'publish', 'disconnect'])
  })
})

test('a client that says goodbye still gets what is on its way to it', async () => {
  const payload = 'x'.repeat(200_000)
  const { application } = recorder((_event, consumer) =>
    Promise.all(Array.from({ length: 100 }, () => consumer.publish('big', payload, { direct: true }))),
  )
  await using server = await serveMqtt(application)
  const client = await server.raw()
  client.send(bytes.connect())
  await client.until(/^\x20\x02\x00\x00/)
  // More than the kernel holds between the two.
  client.socket.pause()
  client.send(bytes.publish('t', 'x', { qos: 1, id: 7 }), bytes.disconnect)
  setImmediate(() => client.socket.resume())
  const text = await client.closed
  expect(text.split(payload)).toHaveLength(101)
  expect(text).toContain('\x40\x02\x00\x07')
})

test('a client that says goodbye has its publishes handled first; one that vanishes aborts the signal at once', async () => {
  const aborted: string[] = []
  const { application, types } = recorder(async ({ topic }, { signal }) => {
    await sleep(topic === 'slow' ? 2000 : 30, undefined, { signal }).catch(() => aborted.push(topic))
  })
  await using server = await serveMqtt(application, { disconnectTimeout: '500ms' })
  const polite = await server.raw()
  polite.send(bytes.connect(), bytes.publish('quick', 'x'), bytes.disconnect)
  polite.end()
  await server.idle()
  expect([aborted, types()]).toEqual([[], ['connect', 'publish', 'disconnect']])
  const rude = await server.raw()
  rude.send(bytes.connect(), bytes.publish('slow', 'x'))
  await until(() => types().length === 5)
  rude.reset()
  await server.idle()
  expect(aborted).toEqual(['slow'])
  // And the wait for a polite one has an end.
  const slow = await server.raw()
  slow.send(bytes.connect(), bytes.publish('slow', 'x'), bytes.disconnect)
  await server.idle()
  expect(aborted).toEqual(['slow', 'slow'])
})

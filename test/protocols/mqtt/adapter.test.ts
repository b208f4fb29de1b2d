/** MQTT from the wire to the application and back: scopes, events, instances, and what the application may say. */
import { describe, expect, test } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import { MqttConsumer } from '../../../protocols/mqtt/consumer.ts'
import { TopicRouter } from '../../../protocols/mqtt/router.ts'
import type { MqttPublish } from '../../../protocols/mqtt/scope.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { bytes, connack, messagesOf, nextMessage, recorder, serveMqtt, until, type MqttApplication } from './support.ts'

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

describe('an application that fails on a publish', () => {
  test('costs that one: it is acknowledged and kept as failed, and the next gets a fresh instance', async () => {
    const { application, types, texts } = recorder(({ payload }) => {
      if (Buffer.from(payload).toString() === 'bad') throw new Error('as told')
    })
    await using server = await serveMqtt(application)
    const client = await server.connect()
    const subscriber = await server.connect()
    const messages = messagesOf(subscriber)
    await subscriber.subscribeAsync('#', { qos: 1 })
    for (const text of ['good', 'bad', 'better']) await client.publishAsync('a', text, { qos: 1 })
    await client.publishAsync('a', 'bad', { qos: 2 })
    await client.publishAsync('a', 'bad', { qos: 0 })
    await client.publishAsync('a', 'best', { qos: 1 })
    expect(texts()).toEqual(['good', 'bad', 'better', 'bad', 'bad', 'best'])
    expect(types().filter((type) => type === 'connect')).toHaveLength(5)
    expect(server.test.failed.map(({ event, error }) => [event.type, String(error)])).toEqual(
      Array.from({ length: 3 }, () => ['mqtt.publish', 'Error: as told']),
    )
    await until(() => messages.length === 6)
    expect(client.connected).toBe(true)
  })

  test('on every mqtt.connect fails each event, no more', async () => {
    const application = TopicRouter([{ topic: '#', app: () => Promise.reject(new Error('no luck')) }])
    await using server = await serveMqtt(application)
    const client = await server.connect()
    for (const text of ['a', 'b']) await client.publishAsync('t', text, { qos: 1 })
    expect(server.test.failed.map(({ error }) => String(error))).toEqual(['Error: no luck', 'Error: no luck'])
  })

  test('by never answering fails that one, and its late words are not heard', async () => {
    const late: Promise<void>[] = []
    const { application, texts } = recorder(async ({ payload }, consumer) => {
      if (Buffer.from(payload).toString() !== 'hang') return
      await sleep(60)
      late.push(consumer.publish('late', 'x'))
    })
    await using server = await serveMqtt(application, { handlerTimeout: '30ms' })
    const client = await server.connect()
    const messages = messagesOf(client)
    await client.subscribeAsync('late')
    await client.publishAsync('a', 'hang', { qos: 1 })
    await client.publishAsync('a', 'next', { qos: 1 })
    expect(texts()).toEqual(['hang', 'next'])
    const [failure] = server.test.failed
    expect(hasCode(failure?.error, 'timed_out')).toBe(true)
    await until(() => late.length === 1)
    await Promise.all(late)
    await client.publishAsync('a', 'end', { qos: 1 })
    expect(messages).toEqual([])
  })

  test('because its router cannot be asked fails that one', async () => {
    const { application: inner, texts } = recorder()
    const application: MqttApplication = Object.assign(inner.bind(undefined), {
      resolve: ({ topic }: { readonly topic?: string }) => {
        if (topic === 'bad') throw new Error('no idea')
        return topic === undefined ? undefined : { rules: [inner], params: {} }
      },
    })
    await using server = await serveMqtt(application)
    const client = await server.connect()
    for (const topic of ['bad', 'good']) await client.publishAsync(topic, topic, { qos: 1 })
    expect(texts()).toEqual(['good'])
    expect(server.test.failed.map(({ error }) => String(error))).toEqual(['Error: no idea'])
  })

  test('by returning after each publish has handled them all', async () => {
    const handled: string[] = []
    const application: MqttApplication = async (_scope, receive, send) => {
      await receive()
      await send({ type: 'mqtt.accept' })
      const event = await receive()
      if (event.type === 'mqtt.publish') handled.push(Buffer.from(event.payload).toString())
    }
    await using server = await serveMqtt(application)
    const client = await server.connect()
    await Promise.all(['a', 'b', 'c'].map((text) => client.publishAsync('t', text, { qos: 1 })))
    expect(handled).toEqual(['a', 'b', 'c'])
    expect(server.test.failed).toEqual([])
  })

  test('over a message of the channel layer costs no publish', async () => {
    const { application: base } = recorder()
    const application: MqttApplication = async (scope, receive, send, context) => {
      await context.layer.groupAdd('everyone', context.channel)
      await base(
        scope,
        async () => {
          const event = await receive()
          if ((event.type as string) === 'test.raise') throw new Error('as told')
          return event
        },
        send,
        context,
      )
    }
    await using server = await serveMqtt(application)
    const client = await server.connect()
    await client.publishAsync('t', 'a', { qos: 1 })
    await server.test.layer.groupSend('everyone', { type: 'test.raise' })
    await client.publishAsync('t', 'b', { qos: 1 })
    expect(server.test.failed).toEqual([])
    expect(server.test.outcomes).toHaveLength(1)
  })

  test('over something else, while a publish is waiting, hands that one to a fresh instance', async () => {
    class Member extends MqttConsumer {
      override groups = ['everyone']
      async 'test.raise'(): Promise<void> {
        raising.resolve()
        await sleep(20)
        throw new Error('as told')
      }
      override async message({ payload }: MqttPublish): Promise<void> {
        handled.push(Buffer.from(payload).toString())
      }
    }
    const raising = Promise.withResolvers<void>()
    const handled: string[] = []
    await using server = await serveMqtt(Member.asApplication())
    const client = await server.connect()
    await client.publishAsync('t', 'a', { qos: 1 })
    await server.test.layer.groupSend('everyone', { type: 'test.raise' })
    await raising.promise
    await Promise.all(['b', 'c'].map((text) => client.publishAsync('t', text, { qos: 1 })))
    expect([handled, server.test.failed]).toEqual([['a', 'b', 'c'], []])
  })
})

describe('an application may publish', () => {
  test('to every subscriber, retained, and to its client alone', async () => {
    const { application } = recorder(async (_, consumer) => {
      await consumer.publish('news', 'for all', { qos: 1, retain: true })
      await consumer.publish('private', new Uint8Array([0x68, 0x69]), { qos: 1, direct: true })
    })
    await using server = await serveMqtt(application)
    const other = await server.connect()
    const others = messagesOf(other)
    await other.subscribeAsync('#', { qos: 1 })
    const client = await server.connect()
    const own = messagesOf(client)
    await client.publishAsync('a', 'x', { qos: 1 })
    await until(() => own.length === 1 && others.length === 2)
    expect(own).toEqual(['private hi'])
    expect(others.toSorted()).toEqual(['a x', 'news for all'])
    const late = await server.connect()
    const first = nextMessage(late)
    await late.subscribeAsync('news')
    expect(await first).toBe('news for all')
  })

  test('what nobody else does: not to its own instances', async () => {
    const { application, texts } = recorder((_, consumer) => consumer.publish('again', 'echo'))
    await using server = await serveMqtt(application)
    const client = await server.connect()
    await client.publishAsync('a', 'x', { qos: 1 })
    expect(texts()).toEqual(['x'])
  })

  test('also when the client is gone, and in its last words', async () => {
    const { application } = recorder()
    class Farewell {
      static application: MqttApplication = async (_scope, receive, send) => {
        await send({ type: 'mqtt.accept' })
        for (;;) {
          const event = await receive()
          if (event.type !== 'mqtt.publish' && event.type !== 'mqtt.disconnect') continue
          await send({ type: 'mqtt.publish', topic: 'seen', payload: event.type, qos: 1 })
          await send({ type: 'mqtt.publish', topic: 'seen', payload: 'into the void', qos: 1, direct: true })
          if (event.type === 'mqtt.disconnect') return
        }
      }
    }
    await using server = await serveMqtt(
      TopicRouter([
        { topic: 'a', app: Farewell.application },
        { topic: '#', app: application },
      ]),
    )
    const witness = await server.connect()
    const messages = messagesOf(witness)
    await witness.subscribeAsync('seen', { qos: 1 })
    const client = await server.raw()
    client.send(bytes.connect(), bytes.publish('a', 'x'), bytes.disconnect)
    client.end()
    await until(() => messages.length === 2)
    expect(messages).toEqual(['seen mqtt.publish', 'seen mqtt.disconnect'])
  })

  test.each<[string, object, string, string]>([
    ['a wildcard', { topic: 'a/+' }, 'bad_address', 'has a wildcard'],
    ['NUL', { topic: 'a\0' }, 'bad_address', 'NUL'],
    ['an empty topic', { topic: '' }, 'bad_address', 'is empty'],
    ['$SYS', { topic: '$SYS/x' }, 'bad_address', 'belongs to the broker'],
    ['a topic of many levels', { topic: 'a/'.repeat(200) }, 'bad_address', '201 levels'],
    ['no topic', { topic: undefined }, 'unexpected_event', 'a topic of type undefined'],
    ['QoS 3', { qos: 3 }, 'unexpected_event', 'found QoS 3'],
    ['a number', { payload: 21.5 }, 'unexpected_event', 'expected a payload of text or bytes'],
    ['too much', { payload: 'x'.repeat(300_000) }, 'too_large', 'at most 262144'],
  ])('not: %s', async (_, wrong, code, words) => {
    const errors: unknown[] = []
    const { application } = recorder(async (_event, consumer) => {
      try {
        await consumer.send({ type: 'mqtt.publish', topic: 'a', payload: 'x', ...wrong })
      } catch (error) {
        errors.push(error)
      }
    })
    await using server = await serveMqtt(application)
    const client = await server.connect()
    await client.publishAsync('a', 'x', { qos: 1 })
    expect(errors).toEqual([expect.objectContaining({ code, message: expect.stringContaining(words) })])
  })

  test.each<[string, readonly string[], string]>([
    [
      'publishes before it accepts',
      ['mqtt.publish'],
      'mqtt.connect is not answered: expected mqtt.accept or mqtt.close, found mqtt.publish',
    ],
    [
      'accepts twice',
      ['mqtt.accept', 'mqtt.accept'],
      'the connection is accepted: expected mqtt.publish or mqtt.close, found mqtt.accept',
    ],
    [
      'speaks after it closed',
      ['mqtt.close', 'mqtt.publish'],
      'the connection is closed: expected nothing more, found mqtt.publish',
    ],
    [
      'says what is no event',
      ['mqtt.what'],
      'the connection is open: expected mqtt.publish or mqtt.close, found mqtt.what',
    ],
  ])('one that %s is told so', async (_, types, message) => {
    const errors: unknown[] = []
    const application: MqttApplication = async (_scope, receive, send) => {
      await receive()
      for (const type of types)
        await send({ type, topic: 'a', payload: '' } as never).catch((error: unknown) => errors.push(error))
    }
    await using server = await serveMqtt(application)
    const client = await server.raw()
    client.send(bytes.connect())
    await until(() => errors.length === 1)
    expect(errors).toEqual([expect.objectContaining({ code: 'unexpected_event', message })])
  })
})

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

/** What an application may publish, to whom it goes, and what it is told of what it may not. */
import { describe, expect, test } from '@jest/globals'
import { TopicRouter } from '../../../protocols/mqtt/router.ts'
import { bytes, messagesOf, nextMessage, recorder, serveMqtt, until, type MqttApplication } from './support.ts'

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

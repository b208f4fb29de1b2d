/** An application that fails on a publish: it costs that one, and nothing else. */
import { describe, expect, test } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import { MqttConsumer } from '../../../protocols/mqtt/consumer.ts'
import { TopicRouter } from '../../../protocols/mqtt/router.ts'
import type { MqttPublish } from '../../../protocols/mqtt/scope.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { messagesOf, recorder, serveMqtt, until, type MqttApplication } from './support.ts'

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

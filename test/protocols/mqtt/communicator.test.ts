/** The communicator: an application is tested without a socket, and sees what it would see through the broker. */
import { describe, expect, test } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import { MqttCommunicator } from '../../../protocols/mqtt/communicator.ts'
import { MqttConsumer } from '../../../protocols/mqtt/consumer.ts'
import { TopicRouter } from '../../../protocols/mqtt/router.ts'
import type { MqttPublish } from '../../../protocols/mqtt/scope.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { MemoryLayer } from '../../../src/layers/memory.ts'
import { recorder, serveMqtt, type MqttApplication } from './support.ts'

class Thermometer extends MqttConsumer {
  override groups = ['alarms']
  #readings = 0

  override async message({ topic, payload, params }: MqttPublish): Promise<void> {
    const celsius = Number(Buffer.from(payload).toString())
    if (Number.isNaN(celsius)) throw new Error('no number')
    this.#readings++
    if (celsius > 30)
      await this.publish(`${topic}/alarm`, JSON.stringify({ ...params, readings: this.#readings }), { qos: 1 })
  }

  async 'alarms.test'(): Promise<void> {
    await this.publish('alarm', 'test', { direct: true })
  }
}

const layer = new MemoryLayer()
const application = TopicRouter([{ topic: 'sensors/+room/temperature', app: Thermometer.asApplication() }])

test('what the application publishes is received, with everything it said', async () => {
  const device = new MqttCommunicator(application, { layer })
  expect(await device.connect()).toBe(true)
  await device.publish('sensors/kitchen/temperature', '20')
  await device.publish('sensors/cellar/temperature', Buffer.from('35'))
  const alarm = await device.receivePublish()
  expect({ ...alarm, payload: Buffer.from(alarm.payload).toString() }).toEqual({
    topic: 'sensors/cellar/temperature/alarm',
    payload: '{"room":"cellar","readings":2}',
    qos: 1,
    retain: false,
    direct: false,
  })
  expect(device.pending).toBe(0)
  await device.disconnect()
})

test('a publish that the application fails on throws its error, and the next finds a fresh instance', async () => {
  const device = new MqttCommunicator(application, { layer })
  await device.connect()
  await expect(device.publish('sensors/a/temperature', '21,5')).rejects.toThrow('no number')
  await device.publish('sensors/a/temperature', '31')
  expect(Buffer.from((await device.receivePublish()).payload).toString()).toContain('"readings":1')
  await device.disconnect()
})

test('topics without a rule are told, groups reach the application, and waiting in vain harms nothing', async () => {
  const device = new MqttCommunicator(application, { layer, timeout: 20 })
  await device.connect()
  await device.publish('elsewhere', 'x')
  expect(device.unrouted).toEqual(['elsewhere'])
  const vain: unknown = await device.receivePublish().catch((error: unknown) => error)
  expect(hasCode(vain, 'timed_out')).toBe(true)
  await device.publish('sensors/a/temperature', '1')
  await layer.groupSend('alarms', { type: 'alarms.test' })
  expect(await device.receivePublish(1000)).toMatchObject({ topic: 'alarm', direct: true })
  await device.disconnect()
  expect(layer.stats()).toMatchObject({ groups: 0, channels: 0 })
})

test('an application without topic rules decides on the client, and may cut it', async () => {
  const refusing: MqttApplication = async (_scope, _receive, send) => void (await send({ type: 'mqtt.close' }))
  const refused = new MqttCommunicator(refusing, { layer })
  expect([await refused.connect(), refused.closed]).toEqual([false, true])
  const { application: closing } = recorder((_, consumer) => consumer.close())
  const cut = new MqttCommunicator(closing, { layer })
  expect([await cut.connect(), cut.closed]).toEqual([true, false])
  await cut.publish('a', 'x')
  expect(cut.closed).toBe(true)
  await cut.disconnect('closed')
  const silent = new MqttCommunicator(() => new Promise(() => undefined), {
    layer,
    handlerTimeout: 10,
    closeTimeout: 10,
  })
  expect(await silent.connect()).toBe(false)
  await silent.disconnect()
})

test('every hook of a consumer is called with what happened', async () => {
  const calls: unknown[] = []
  class Everything extends MqttConsumer {
    override async connect() {
      calls.push(['connect', this.scope.clientId, this.scope.username, this.scope.state['data']])
      await this.accept()
    }
    override async message({ topic, qos, retain, dup }: MqttPublish) {
      calls.push(['message', topic, qos, retain, dup])
    }
    override async subscribed(filter: string, qos: number) {
      calls.push(['subscribed', filter, qos])
    }
    override async unsubscribed(filter: string) {
      calls.push(['unsubscribed', filter])
    }
    override async disconnect(reason: string) {
      calls.push(['disconnect', reason])
    }
  }
  const scope = { clientId: 'c', username: 'ann' }
  const device = new MqttCommunicator(Everything.asApplication(), { layer, scope, state: { data: '/data' } })
  await device.connect()
  await device.subscribe('a/#', 1)
  await device.publish('a', 'x', { qos: 2, retain: true, dup: true })
  await device.unsubscribe('a/#')
  await device.disconnect('keepalive')
  expect(calls).toEqual([
    ['connect', 'c', 'ann', '/data'],
    ['subscribed', 'a/#', 1],
    ['message', 'a', 2, true, true],
    ['unsubscribed', 'a/#'],
    ['disconnect', 'keepalive'],
  ])
})

describe('an application sees the same', () => {
  test.each<[string, (own: MqttApplication) => MqttApplication]>([
    ['without rules', (own) => own],
    ['below a TopicRouter', (own) => TopicRouter([{ topic: 'a/+x/#', app: own }])],
  ])('through a communicator and through the broker, %s', async (_, wrapped) => {
    const inProcess = recorder(() => sleep(1))
    const device = new MqttCommunicator(wrapped(inProcess.application), { layer, scope: { clientId: 'same' } })
    await device.connect()
    await device.publish('a/b/c', 'one', { qos: 1 })
    await device.subscribe('x', 1)
    await device.publish('a/d', 'two', { retain: true })
    await device.publish('z', 'three')
    await device.disconnect()

    const overTheWire = recorder(() => sleep(1))
    await using server = await serveMqtt(wrapped(overTheWire.application))
    const client = await server.connect({ clientId: 'same' })
    await client.publishAsync('a/b/c', 'one', { qos: 1 })
    await client.subscribeAsync('x', { qos: 1 })
    await client.publishAsync('a/d', 'two', { retain: true })
    await client.publishAsync('z', 'three')
    await client.endAsync()
    await server.idle()

    expect(inProcess.events).toEqual(overTheWire.events)
    const comparable = (scopes: typeof inProcess.scopes) =>
      scopes.map(({ id: _id, client: _client, server: _server, state: _state, ...rest }) => rest)
    expect(comparable(inProcess.scopes)).toEqual(comparable(overTheWire.scopes))
    expect(device.unrouted).toEqual(server.test.unrouted)
  })
})

/** The sensors, driven by publishes without a broker. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { MqttCommunicator } from '../../protocols/mqtt/communicator.ts'
import { MqttTemperatureConsumer } from '../../config/handlers/temperature.ts'
import { hasCode, reason } from '../../src/runtime/errors.ts'
import { sample, type Sample } from './sample.ts'

let house: Sample
let sensor: MqttCommunicator
beforeEach(async () => {
  house = await sample()
  sensor = await connected()
})
afterEach(async () => {
  await sensor.disconnect()
  house[Symbol.dispose]()
})

async function connected(): Promise<MqttCommunicator> {
  const { layer, state } = house
  const device = new MqttCommunicator(MqttTemperatureConsumer.asApplication(), { layer, state })
  expect(await device.connect()).toBe(true)
  return device
}
const kitchen = 'sensors/kitchen/temperature'
const history = (room = 'kitchen') => house.store.readings.history(room, 100).map(({ celsius }) => celsius)
/** This many seconds before now, as the sensor would say it. */
const ago = (celsius: number, seconds: number) =>
  JSON.stringify({ celsius, at: new Date(Date.now() - seconds * 1000).toISOString() })

describe('a reading', () => {
  test('is stored and shown', async () => {
    await sensor.publish(kitchen, '21.5')
    await sensor.publish(kitchen, '{"celsius":20,"at":"2026-01-01T12:00:00Z"}')
    expect(history()).toEqual([21.5, 20])
    expect(house.store.readings.latest('kitchen')).toMatchObject({ celsius: 21.5 })
    expect(house.news).toMatchObject([
      { kind: 'reading', room: 'kitchen', celsius: 21.5 },
      { kind: 'reading', room: 'kitchen', celsius: 20, at: '2026-01-01T12:00:00Z' },
    ])
  })

  test('on another topic is none of ours', async () => {
    for (const topic of [
      'sensors/kitchen/humidity',
      'sensors/a/b/temperature',
      'temperature',
      'sensors/kitchen/alarm',
    ]) {
      await sensor.publish(topic, 'whatever')
    }
    expect(house.store.readings.rooms(10)).toEqual([])
  })
})

describe('nonsense', () => {
  test.each([
    [kitchen, '21,5', '"21,5": expected a number'],
    [kitchen, 'NaN', 'expected a number'],
    [kitchen, '', 'an empty payload'],
    [kitchen, '{"celsius":21,"at":"1970-01-01T00:00:07Z"}', "the sensor's clock was never set"],
    ['sensors/living room/temperature', '21', 'the room "living room": expected'],
    ['sensors//temperature', '21', 'the room "": expected'],
  ])('%s %s is refused in words, for good, and the sensor goes on', async (topic, payload, words) => {
    const refused: unknown = await sensor.publish(topic, payload).catch((error: unknown) => error)
    expect(reason(refused)).toContain(words)
    expect(hasCode(refused, 'permanent')).toBe(true)
    await sensor.publish(kitchen, '21')
    expect(sensor.closed).toBe(false)
    expect(history()).toEqual([21])
  })
})

describe('what is no new reading', () => {
  test('a retained message, and its removal', async () => {
    await sensor.publish(kitchen, '99', { retain: true })
    await sensor.publish(kitchen, '', { retain: true })
    expect(history()).toEqual([])
    expect(sensor.pending).toBe(0)
  })

  test('the same time of the same room again', async () => {
    await sensor.publish(kitchen, ago(40, 1))
    await sensor.publish(kitchen, '21')
    const stamped = ago(22, 0)
    await sensor.publish(kitchen, stamped)
    await sensor.publish(kitchen, stamped)
    await sensor.publish(kitchen, stamped, { qos: 1, dup: true })
    expect(new Set(history())).toEqual(new Set([21, 22, 40]))
    expect(history()).toHaveLength(3)
  })

  test('one that is sent twice, also on another connection; but not one whose original was lost', async () => {
    await sensor.publish(kitchen, '21', { qos: 1 })
    await sensor.publish(kitchen, '22', { qos: 1 })
    const again = await connected()
    await again.publish(kitchen, '21', { qos: 1, dup: true })
    await again.publish(kitchen, '22', { qos: 1, dup: true })
    await again.publish(kitchen, '23', { qos: 1, dup: true })
    await again.disconnect()
    expect(history()).toEqual([23, 22, 21])
  })

  test('but equal values one after the other are readings', async () => {
    await sensor.publish(kitchen, '21')
    await sensor.publish(kitchen, '21')
    expect(history()).toEqual([21, 21])
  })
})

describe('the alarm', () => {
  test('answers every reading over the threshold, on the topic of its room', async () => {
    await sensor.publish(kitchen, '30')
    expect(sensor.pending).toBe(0)
    await sensor.publish('sensors/oven/temperature', '30.5')
    const alarm = await sensor.receivePublish()
    expect(alarm).toMatchObject({ topic: 'sensors/oven/alarm', qos: 1, retain: false, direct: false })
    const said: unknown = JSON.parse(Buffer.from(alarm.payload).toString())
    expect(said).toEqual({ room: 'oven', celsius: 30.5, threshold: 30, at: house.store.readings.latest('oven')?.at })
  })

  test('answers a reading with a fresh time', async () => {
    await sensor.publish(kitchen, ago(31, 60))
    expect(await sensor.receivePublish()).toMatchObject({ topic: 'sensors/kitchen/alarm' })
  })

  test('is silent about late data, which is stored all the same', async () => {
    await sensor.publish(kitchen, ago(35, 3600))
    await sensor.publish(kitchen, '21')
    await sensor.publish(kitchen, ago(36, 60))
    expect(history()).toEqual([21, 36, 35])
    expect(sensor.pending).toBe(0)
  })

  test('is silent about a repetition', async () => {
    const hot = ago(35, 1)
    await sensor.publish(kitchen, hot)
    await sensor.publish(kitchen, hot)
    await sensor.receivePublish()
    expect(sensor.pending).toBe(0)
  })
})

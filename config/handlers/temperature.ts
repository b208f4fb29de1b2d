/** The sensors: each publish to `sensors/<room>/temperature` is a reading; one over the threshold raises an alarm. */
import { MqttConsumer, permanent, type MqttPublish } from 'signalbox'
import { checkedRoom, parseReading, type SensorReading } from './reading.ts'
import { storeOf } from './store.ts'

/** Readings above it raise the alarm, in °C. */
const threshold = 30
/** Older readings are stored and raise no alarm: what they tell is over, in milliseconds. */
const late = 5 * 60_000
/** How long the original of a message that was sent twice is looked for, in milliseconds. */
const repeatWindow = 10 * 60_000

export class MqttTemperatureConsumer extends MqttConsumer {
  /** An error thrown here has the message tried again, and in the end kept as a dead letter; the sensor stays connected. */
  override async message({ topic, payload, retain, dup }: MqttPublish): Promise<void> {
    const [, name] = /^sensors\/([^/]*)\/temperature$/.exec(topic) ?? []
    // Other topics are none of our business: they go to their subscribers as ever.
    if (name === undefined) return
    // Retained: what the broker is to keep for later subscribers. How old it is nobody knows, so it is no new reading.
    if (retain) return this.log.debug({ topic }, 'a retained message is no new reading')

    const now = Date.now()
    const { room, celsius, at } = readingOf(name, payload, now)
    const { readings } = storeOf(this.scope)

    // `dup` says that it may be a repetition, not that it is one: its original may have been lost (MQTT 3.1.1, 3.3.1.1).
    // One with a time of its own is found out by that when it is stored.
    if (dup && at === undefined && readings.hasSince(room, celsius, now - repeatWindow)) return
    const newest = readings.latest(room)
    const reading = readings.add({ room, celsius, at: at ?? now, stamped: at !== undefined, received: now })
    if (!reading) return

    await this.groupSend('live', { type: 'live.update', update: { kind: 'reading', ...reading } })
    const isLate = at !== undefined && (at < now - late || (newest !== undefined && at < Date.parse(newest.at)))
    if (celsius <= threshold || isLate) return
    const alarm = JSON.stringify({ room, celsius, threshold, at: reading.at })
    await this.publish(`sensors/${room}/alarm`, alarm, { qos: 1 })
  }
}

/** What is nonsense now is nonsense in a minute too: no further attempt. */
function readingOf(name: string, payload: Uint8Array, now: number): SensorReading & { readonly room: string } {
  try {
    return { room: checkedRoom(name), ...parseReading(payload, now) }
  } catch (error) {
    throw permanent(error)
  }
}

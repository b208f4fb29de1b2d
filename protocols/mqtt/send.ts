/** What an application may publish: checked before it reaches the broker, which would only be silent about it. */
import type { PublishPacket } from 'aedes'
import { SignalboxError } from '../../src/runtime/errors.ts'
import type { MqttPublishSend } from './scope.ts'
import { isReserved, topicProblem, type TopicLimits } from './topic.ts'

export interface SendLimits extends TopicLimits {
  readonly maxPacketSize: number
}

/**
 * @throws SignalboxError `bad_address` for a topic that cannot be published to, `too_large`, and `unexpected_event` for
 * values that the types do not allow.
 */
export function checkPublish({ topic, payload, qos = 0 }: MqttPublishSend, limits: SendLimits): void {
  if (typeof topic !== 'string')
    throw new SignalboxError('unexpected_event', `mqtt.publish: found a topic of type ${typeof topic}`)
  const problem = topicProblem(topic, limits)
  if (problem) throw new SignalboxError('bad_address', `mqtt.publish: ${problem}`)
  if (isReserved(topic)) throw new SignalboxError('bad_address', `mqtt.publish: ${topic} belongs to the broker`)
  if (qos !== 0 && qos !== 1 && qos !== 2) {
    throw new SignalboxError('unexpected_event', `mqtt.publish: found QoS ${String(qos)}, expected 0, 1 or 2`)
  }
  if (typeof payload !== 'string' && !ArrayBuffer.isView(payload)) {
    throw new SignalboxError('unexpected_event', 'mqtt.publish: expected a payload of text or bytes')
  }
  // Fixed header, length of the topic, packet identifier.
  const size = Buffer.byteLength(payload) + Buffer.byteLength(topic) + 9
  if (size > limits.maxPacketSize) {
    throw new SignalboxError(
      'too_large',
      `mqtt.publish: ${size} bytes to ${topic}: at most ${limits.maxPacketSize} are taken`,
    )
  }
}

/** For Aedes. */
export function packetOf({ topic, payload, qos = 0, retain = false }: MqttPublishSend): PublishPacket {
  return { cmd: 'publish', topic, payload: Buffer.from(payload as Uint8Array), qos, retain, dup: false }
}

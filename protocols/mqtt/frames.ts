/** Packets for clients as bytes: PUBLISH, with QoS 0 made once for all who get the same message, and SUBACK. */
import type { AedesPublishPacket } from 'aedes'
import type { Qos } from './scope.ts'

/** As the broker has it. */
export type Message = Pick<AedesPublishPacket, 'topic' | 'payload' | 'retain'> &
  Partial<Pick<AedesPublishPacket, 'brokerId' | 'brokerCounter'>>

export class Frames {
  #brokerId = ''
  #brokerCounter = 0
  #retain = false
  #frame: Buffer = Buffer.alloc(0)

  /** With QoS 0. Not to be changed: it is shared. */
  of(message: Message): Buffer {
    const { brokerId, brokerCounter = 0, retain } = message
    const isKnown = brokerCounter === this.#brokerCounter && brokerId === this.#brokerId && retain === this.#retain
    if (isKnown) return this.#frame
    const frame = publishFrame(message)
    // What was retained is of no broker, and has no number.
    if (!brokerId || !brokerCounter) return frame
    this.#brokerId = brokerId
    this.#brokerCounter = brokerCounter
    this.#retain = retain
    this.#frame = frame
    return frame
  }
}

/** Section 3.3: of a message that is sent for the first time, so without DUP, whatever its publisher said [MQTT-3.3.1-3]. */
export function publishFrame({ topic, payload, retain }: Message, qos: Qos = 0, messageId = 0): Buffer {
  const topicLength = Buffer.byteLength(topic)
  const length = 2 + topicLength + (qos > 0 ? 2 : 0) + Buffer.byteLength(payload)
  const head = 1 + bytesFor(length)
  const frame = Buffer.allocUnsafe(head + length)
  frame[0] = 0x30 | (qos << 1) | (retain ? 1 : 0)
  writeLength(frame, length, head)
  frame.writeUInt16BE(topicLength, head)
  frame.write(topic, head + 2)
  let start = head + 2 + topicLength
  if (qos > 0) start = frame.writeUInt16BE(messageId, start)
  if (typeof payload === 'string') frame.write(payload, start)
  else frame.set(payload, start)
  return frame
}

/** Section 3.9; `codes` in the order of the filters [MQTT-3.9.3-1]. */
export function subackFrame(messageId: number, codes: readonly number[]): Buffer {
  const length = 2 + codes.length
  const head = 1 + bytesFor(length)
  const frame = Buffer.allocUnsafe(head + length)
  frame[0] = 0x90
  writeLength(frame, length, head)
  frame.writeUInt16BE(messageId, head)
  frame.set(codes, head + 2)
  return frame
}

/** Section 2.2.3: seven bits a byte, the lowest first, up to `head`. */
function writeLength(frame: Buffer, length: number, head: number): void {
  for (let at = 1, left = length; at < head; at++, left >>>= 7) frame[at] = at < head - 1 ? (left & 0x7f) | 0x80 : left
}

function bytesFor(length: number): number {
  if (length < 2 ** 7) return 1
  if (length < 2 ** 14) return 2
  return length < 2 ** 21 ? 3 : 4
}

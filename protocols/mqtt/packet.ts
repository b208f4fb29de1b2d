/** What can be said of an MQTT control packet from its bytes alone: its length, its type, and whether it is well-formed. */
import { isUtf8 } from 'node:buffer'
import type { PublishPacket } from 'aedes'
import { filterProblem, type TopicLimits } from './topic.ts'

/** The control packet types that clients send, section 2.2.1. */
export const packetTypes = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
} as const

export interface PacketLimits extends TopicLimits {
  readonly maxPacketSize: number
  /** Filters in one SUBSCRIBE or UNSUBSCRIBE. */
  readonly maxSubscriptions: number
}

/** What a client did that ends its connection; the message is for the log. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation'
  /** What CONNACK is to say before the connection is closed; undefined: nothing. */
  readonly returnCode: number | undefined

  constructor(message: string, returnCode?: number) {
    super(message)
    this.returnCode = returnCode
  }
}

/** Of the packet that starts at `start`, which is there. */
export const packetType = (bytes: Uint8Array, start = 0) => (bytes[start] as number) >> 4

/**
 * The length of the packet that starts at `start`, with its header; undefined when the header has not come completely.
 * @throws ProtocolViolation when the remaining length goes on after four bytes.
 */
export function packetLength(bytes: Uint8Array, start: number): number | undefined {
  let length = 0
  for (let index = 1; index <= 4; index++) {
    const byte = bytes[start + index]
    if (byte === undefined) return undefined
    length += (byte & 0x7f) * 128 ** (index - 1)
    if (byte < 0x80) return index + 1 + length
  }
  throw new ProtocolViolation('malformed remaining length') // section 2.2.3
}

/**
 * Looks at what Aedes and its parser would let pass, or answer in silence.
 * @throws ProtocolViolation naming what is wrong; the connection is to be closed [MQTT-4.8.0-1].
 */
export function checkPacket(packet: Buffer, limits: PacketLimits): void {
  const start = packet.length < 130 ? 2 : headerLength(packet)
  const flags = (packet[0] as number) & 0x0f // a packet has at least two bytes
  switch (packetType(packet)) {
    case packetTypes.connect:
      requireFlags(flags, 0)
      return checkConnect(new Reader(packet, start))
    case packetTypes.publish:
      return checkPublish(packet, start, flags, limits)
    case packetTypes.subscribe:
    case packetTypes.unsubscribe:
      requireFlags(flags, 2) // [MQTT-3.8.1-1], [MQTT-3.10.1-1]
      return checkFilters(new Reader(packet, start), limits, packetType(packet) === packetTypes.subscribe)
    case packetTypes.pubrel:
      requireFlags(flags, 2) // [MQTT-3.6.1-1]
      return checkAcknowledgement(packet, start)
    case packetTypes.puback:
    case packetTypes.pubrec:
    case packetTypes.pubcomp:
      requireFlags(flags, 0)
      return checkAcknowledgement(packet, start)
    case packetTypes.pingreq:
    case packetTypes.disconnect:
      requireFlags(flags, 0) // [MQTT-3.14.1-1]
      if (packet.length !== 2) throw new ProtocolViolation('a packet without content has content')
      return
    default:
      throw new ProtocolViolation(`a packet of type ${packetType(packet)}, which no client sends`)
  }
}

/** The QoS of a PUBLISH. */
export const qosOf = (packet: Uint8Array) => (((packet[0] as number) >> 1) & 3) as PublishPacket['qos'] // 3 is refused above

/** What a PUBLISH says, after `checkPacket`. Its payload is a part of it. */
export function parsePublish(packet: Buffer): PublishPacket {
  const start = packet.length < 130 ? 2 : headerLength(packet)
  const flags = packet[0] as number // a packet has at least two bytes
  const qos = qosOf(packet)
  const end = start + 2 + packet.readUInt16BE(start)
  return {
    cmd: 'publish',
    topic: packet.toString('utf8', start + 2, end),
    payload: packet.subarray(qos > 0 ? end + 2 : end),
    qos,
    retain: (flags & 0x01) !== 0,
    dup: (flags & 0x08) !== 0,
    length: packet.length - start,
    ...(qos > 0 && { messageId: packet.readUInt16BE(end) }),
  }
}

/** What a client asks to be sent. */
export interface SubscribePacket {
  readonly messageId: number
  readonly subscriptions: readonly { readonly topic: string; readonly qos: PublishPacket['qos'] }[]
}

/** What a SUBSCRIBE says, after `checkPacket`. */
export function parseSubscribe(packet: Buffer): SubscribePacket {
  const reader = new Reader(packet, headerLength(packet))
  const messageId = reader.number()
  const subscriptions: SubscribePacket['subscriptions'][number][] = []
  while (!reader.atEnd) {
    subscriptions.push({ topic: reader.text('topic filter'), qos: reader.byte() as PublishPacket['qos'] }) // 3 is refused
  }
  return { messageId, subscriptions }
}

/** What follows the fixed header, in bytes. */
export function remainingLength(packet: Uint8Array): number {
  return packet.length - headerLength(packet)
}

function headerLength(packet: Uint8Array): number {
  let length = 1
  while ((packet[length] as number) >= 0x80) length++ // the header was read completely before
  return length + 1
}

function requireFlags(flags: number, expected: number): void {
  // [MQTT-2.2.2-2]
  if (flags !== expected) throw new ProtocolViolation(`reserved header flags ${flags}, expected ${expected}`)
}

function checkConnect(reader: Reader): void {
  const name = reader.text('protocol name')
  // [MQTT-3.1.2-1]
  if (name !== 'MQTT' && name !== 'MQIsdp') throw new ProtocolViolation('CONNECT of another protocol')
  const level = reader.byte() & 0x7f // without the bit that bridges set
  // [MQTT-3.1.2-2]: said in the words of 3.1.1, which clients of MQTT 5 understand (MQTT 5, section 3.1.2.2).
  if (level !== 3 && level !== 4) throw new ProtocolViolation(`protocol level ${level}: only 3 and 4 are spoken`, 1)
  const flags = reader.byte()
  if (flags & 0x01) throw new ProtocolViolation('the reserved connect flag is set') // [MQTT-3.1.2-3]
  if ((flags & 0x18) === 0x18) throw new ProtocolViolation('the QoS of the will is 3') // [MQTT-3.1.2-14]
  // [MQTT-3.1.2-22]
  if (flags & 0x40 && !(flags & 0x80)) throw new ProtocolViolation('a password without a user name')
  reader.number()
  reader.checkText('client id')
  if (flags & 0x04) {
    reader.checkText('topic of the will')
    reader.binary()
  }
  if (flags & 0x80) reader.checkText('user name')
  if (flags & 0x40) reader.binary()
  if (!reader.atEnd) throw new ProtocolViolation('bytes after the end of CONNECT')
}

/** Without a Reader: this is what every message goes through. */
function checkPublish(packet: Buffer, start: number, flags: number, limits: TopicLimits): void {
  const qos = (flags >> 1) & 3
  if (qos === 3) throw new ProtocolViolation('QoS 3') // [MQTT-3.3.1-4]
  const topic = start + 2
  const end = topic + (packet.length < topic ? Infinity : packet.readUInt16BE(start))
  const payload = qos > 0 ? end + 2 : end
  if (payload > packet.length) throw new ProtocolViolation('PUBLISH ends within its topic or packet identifier')
  // [MQTT-2.3.1-1]
  if (qos > 0 && packet.readUInt16BE(end) === 0) throw new ProtocolViolation('the packet identifier is 0')
  if (end === topic) throw new ProtocolViolation('the topic is empty') // [MQTT-4.7.3-1]
  if (end - topic > limits.maxTopicLength) {
    throw new ProtocolViolation(`a topic of ${end - topic} bytes: at most ${limits.maxTopicLength} are taken`)
  }
  let levels = 1
  let anyBits = 0
  for (let index = topic; index < end; index++) {
    const byte = packet[index] as number // inside the packet, as compared above
    anyBits |= byte
    if (byte === 0x2f) levels++
    else if (byte === 0x2b || byte === 0x23) throw new ProtocolViolation('the topic has a wildcard') // [MQTT-3.3.2-2]
    else if (byte === 0) throw new ProtocolViolation('the topic has a NUL character') // [MQTT-1.5.3-2]
  }
  if (levels > limits.maxTopicLevels) {
    throw new ProtocolViolation(`a topic of ${levels} levels: at most ${limits.maxTopicLevels} are taken`)
  }
  // [MQTT-1.5.3-1]
  if (anyBits > 0x7f && !isUtf8(packet.subarray(topic, end))) throw new ProtocolViolation('the topic is not UTF-8')
}

function checkFilters(reader: Reader, limits: PacketLimits, withQos: boolean): void {
  // [MQTT-2.3.1-1]
  if (reader.number() === 0) throw new ProtocolViolation('the packet identifier is 0')
  let filters = 0
  while (!reader.atEnd) {
    const wrong = filterProblem(reader.text('topic filter'), limits)
    if (wrong) throw new ProtocolViolation(wrong)
    if (withQos && reader.byte() > 2) throw new ProtocolViolation('a requested QoS above 2') // [MQTT-3-8.3-4]
    filters++
  }
  if (filters === 0) throw new ProtocolViolation('no topic filter') // [MQTT-3.8.3-3], [MQTT-3.10.3-2]
  if (filters > limits.maxSubscriptions) {
    throw new ProtocolViolation(`${filters} topic filters in one packet: at most ${limits.maxSubscriptions} are taken`)
  }
}

function checkAcknowledgement(packet: Buffer, start: number): void {
  if (packet.length !== start + 2) throw new ProtocolViolation('an acknowledgement of the wrong length')
  if (packet.readUInt16BE(start) === 0) throw new ProtocolViolation('the packet identifier is 0')
}

/** Reads a packet field by field; every read past the end is a violation. */
class Reader {
  readonly #packet: Buffer
  #at: number

  constructor(packet: Buffer, start: number) {
    this.#packet = packet
    this.#at = start
  }

  get atEnd(): boolean {
    return this.#at === this.#packet.length
  }

  byte(): number {
    return this.#take(1)[0] as number // one byte was taken
  }

  number(): number {
    return this.#take(2).readUInt16BE()
  }

  binary(): Buffer {
    return this.#take(this.number())
  }

  text(what: string): string {
    return this.checkText(what).toString()
  }

  checkText(what: string): Buffer {
    const bytes = this.binary()
    if (!isUtf8(bytes)) throw new ProtocolViolation(`the ${what} is not UTF-8`) // [MQTT-1.5.3-1]
    if (bytes.includes(0)) throw new ProtocolViolation(`the ${what} has a NUL character`) // [MQTT-1.5.3-2]
    return bytes
  }

  #take(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#packet.length) throw new ProtocolViolation('a packet ends within a field')
    const bytes = this.#packet.subarray(this.#at, end)
    this.#at = end
    return bytes
  }
}

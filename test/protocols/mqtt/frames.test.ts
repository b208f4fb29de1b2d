/** Packets as bytes, both ways, held against those of mqtt-packet. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { generate, parser, type IPublishPacket } from 'mqtt-packet'
import { Frames, publishFrame, subackFrame } from '../../../protocols/mqtt/frames.ts'
import { checkPacket, parsePublish, parseSubscribe } from '../../../protocols/mqtt/packet.ts'

const limits = { maxPacketSize: 2 ** 22, maxTopicLevels: 100, maxTopicLength: 65_535, maxSubscriptions: 1 }
const topic = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  .filter((text) => text.isWellFormed() && !/[+#\0]/.test(text))
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  // Around the lengths at which the remaining length takes another byte.
  fc.constantFrom(16_300, 16_384, 2_097_100, 2_097_152).map((length) => new Uint8Array(length).fill(0x2b)),
)

function parsed(bytes: Buffer): IPublishPacket {
  const found: unknown[] = []
  const reader = parser({ protocolVersion: 4 })
  reader.on('packet', (packet) => found.push(packet))
  reader.parse(bytes)
  expect(found).toHaveLength(1)
  return found[0] as IPublishPacket
}

test('a frame is what mqtt-packet writes for the same message', () => {
  fc.assert(
    fc.property(topic, payload, fc.boolean(), (name, bytes, retain) => {
      const message = { topic: name, payload: Buffer.from(bytes), retain }
      const expected = generate({ cmd: 'publish', qos: 0, dup: false, ...message })
      expect(new Frames().of(message).equals(expected)).toBe(true)
    }),
  )
})

const messageId = fc.integer({ min: 1, max: 65_535 })

test('so it is with an identifier', () => {
  const qos = fc.constantFrom(1 as const, 2 as const)
  fc.assert(
    fc.property(topic, payload, fc.boolean(), qos, messageId, (name, bytes, retain, level, id) => {
      const message = { topic: name, payload: Buffer.from(bytes), retain }
      const expected = generate({ cmd: 'publish', qos: level, messageId: id, dup: false, ...message })
      expect(publishFrame(message, level, id).equals(expected)).toBe(true)
    }),
  )
})

test('SUBACK is what mqtt-packet writes, however many filters it answers', () => {
  const codes = fc.array(fc.constantFrom(0, 1, 2, 0x80), { minLength: 1, maxLength: 300, size: 'max' })
  fc.assert(
    fc.property(messageId, codes, (id, granted) => {
      const expected = generate({ cmd: 'suback', messageId: id, granted })
      expect(subackFrame(id, granted).equals(expected)).toBe(true)
    }),
  )
})

test('a SUBSCRIBE that mqtt-packet writes is read as it was meant', () => {
  const subscription = fc.record({ topic, qos: fc.constantFrom(0, 1, 2) })
  fc.assert(
    fc.property(messageId, fc.array(subscription, { minLength: 1, maxLength: 20 }), (id, subscriptions) => {
      const bytes = generate({ cmd: 'subscribe', messageId: id, subscriptions })
      checkPacket(bytes, { ...limits, maxSubscriptions: 20 })
      expect(parseSubscribe(bytes)).toEqual({ messageId: id, subscriptions })
    }),
  )
})

test('text is framed as UTF-8', () => {
  const frame = new Frames().of({ topic: 'a/\u00e9', payload: '21,5 \u00b0C', retain: false })
  expect(parsed(frame)).toMatchObject({ topic: 'a/\u00e9', payload: Buffer.from('21,5 \u00b0C') })
})

test('one message is framed once for all who get it, and no other message is taken for it', () => {
  const frames = new Frames()
  const message = { topic: 't', payload: Buffer.from('x'), retain: false, brokerId: 'one', brokerCounter: 1 }
  const frame = frames.of(message)
  expect(frames.of({ ...message })).toBe(frame)
  const others = [
    { ...message, brokerCounter: 2 },
    { ...message, brokerId: 'two' },
    { ...message, retain: true },
  ]
  for (const other of others) {
    expect(frames.of(other)).not.toBe(frame)
    expect(parsed(frames.of(other))).toMatchObject({ topic: 't', retain: other.retain })
  }
})

test('what has no number is framed each time: it may be another one', () => {
  const frames = new Frames()
  const retained = { retain: true, brokerId: '', brokerCounter: 0 }
  expect(parsed(frames.of({ ...retained, topic: 'a', payload: Buffer.from('1') })).topic).toBe('a')
  expect(parsed(frames.of({ ...retained, topic: 'b', payload: Buffer.from('2') })).topic).toBe('b')
})

test('a PUBLISH is read as mqtt-packet reads it', () => {
  fc.assert(
    fc.property(
      fc.record({ topic, payload, retain: fc.boolean(), dup: fc.boolean(), qos: fc.constantFrom(0, 1, 2) }),
      fc.integer({ min: 1, max: 65_535 }),
      ({ payload: bytes, ...rest }, messageId) => {
        const written = generate({ cmd: 'publish', messageId, payload: Buffer.from(bytes), ...rest })
        checkPacket(written, limits)
        const { payload: read, ...fields } = parsePublish(written)
        const { payload: expected, topic: name, qos, retain, dup, length, messageId: id } = parsed(written)
        expect(fields).toEqual({
          cmd: 'publish',
          topic: name,
          qos,
          retain,
          dup,
          length,
          ...(qos > 0 && { messageId: id }),
        })
        expect(Buffer.from(read as Buffer).equals(expected as Buffer)).toBe(true)
      },
    ),
  )
})

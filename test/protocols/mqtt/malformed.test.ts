/** Every malformed packet and CONNECT: the gate closes the connection, and says why. */
import { once } from 'node:events'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { checkPacket } from '../../../protocols/mqtt/packet.ts'
import { closed, connected, limits, openGate } from './gates.ts'
import { bytes, packet } from './support.ts'

const utf8 = Buffer.from([0x74, 0xff])
const id = Buffer.from([0, 1])

describe('a malformed packet closes the connection:', () => {
  test.each<[string, Buffer, string]>([
    ['a wildcard in a publish', bytes.publish('a/+', 'x'), 'the topic has a wildcard'],
    ['# in a publish', bytes.publish('#', 'x'), 'the topic has a wildcard'],
    ['an empty topic', bytes.publish('', 'x'), 'the topic is empty'],
    ['NUL in a topic', bytes.publish('a\0b', 'x'), 'NUL'],
    ['a topic that is no UTF-8', bytes.publish(utf8, 'x'), 'not UTF-8'],
    ['a topic of many levels', bytes.publish('a/'.repeat(1000).slice(0, 60), 'x'), '31 levels'],
    ['a topic that is too long', bytes.publish('a'.repeat(101), 'x'), '101 bytes'],
    ['QoS 3', bytes.publish('a', 'x', { qos: 3 }), 'QoS 3'],
    ['a publish that ends within its topic', packet(0x30, Buffer.from([0, 9, 0x61])), 'ends within its topic'],
    ['a publish without content', packet(0x30), 'ends within its topic'],
    ['a publish without an identifier', packet(0x32, bytes.string('a')), 'ends within its topic'],
    ['a publish with identifier 0', bytes.publish('a', 'x', { qos: 1, id: 0 }), 'identifier is 0'],
    ['SUBSCRIBE without a filter', packet(0x82, id), 'no topic filter'],
    ['SUBSCRIBE with an empty filter', bytes.subscribe(''), 'is empty'],
    [
      'SUBSCRIBE with identifier 0',
      packet(0x82, Buffer.from([0, 0]), bytes.string('a'), Buffer.from([0])),
      'identifier is 0',
    ],
    ['SUBSCRIBE with QoS 3', packet(0x82, id, bytes.string('a'), Buffer.from([3])), 'QoS above 2'],
    ['SUBSCRIBE with wrong flags', packet(0x80, id, bytes.string('a'), Buffer.from([0])), 'reserved header flags'],
    ['SUBSCRIBE that ends too early', packet(0x82, id, bytes.string('a')), 'ends within a field'],
    ['a misplaced wildcard', bytes.subscribe('a/#/b'), 'a # that is not a level'],
    ['a filter that is no UTF-8', bytes.subscribe(utf8), 'not UTF-8'],
    ['a filter of many levels', bytes.subscribe('+/'.repeat(20)), '21 levels'],
    ['more filters than a client may have', bytes.subscribe('a', 'b', 'c', 'd', 'e', 'f'), '6 topic filters'],
    ['UNSUBSCRIBE without a filter', packet(0xa2, id), 'no topic filter'],
    ['PUBREL with wrong flags', packet(0x60, id), 'reserved header flags'],
    ['PUBACK of the wrong length', packet(0x40, Buffer.from([0, 1, 0])), 'wrong length'],
    ['PUBACK of identifier 0', packet(0x40, Buffer.from([0, 0])), 'identifier is 0'],
    ['PINGREQ with content', packet(0xc0, Buffer.from([1])), 'without content has content'],
    ['DISCONNECT with flags', packet(0xe1), 'reserved header flags'],
    ['a packet that only servers send', packet(0x20, id), 'type 2, which no client sends'],
    ['a reserved packet type', packet(0xf0), 'type 15'],
    ['type 0', packet(0x00), 'type 0'],
  ])('%s', async (_, malformed, words) => {
    const { peer, gate, errors } = await connected()
    peer.write(malformed)
    await closed(gate)
    expect(gate.reason).toBe('error')
    expect(errors).toEqual([expect.stringContaining(words)])
  })

  test.each<[string, Buffer, string, string]>([
    ['MQTT 5', bytes.connect({ level: 5 }), 'level 5', '\x20\x02\x00\x01'],
    ['a level that does not exist', bytes.connect({ level: 9 }), 'level 9', '\x20\x02\x00\x01'],
    ['another protocol', bytes.connect({ name: 'AMQP' }), 'another protocol', ''],
    ['the reserved flag', bytes.connect({ flags: 3 }), 'reserved connect flag', ''],
    ['a will of QoS 3', bytes.connect({ flags: 0x1e }), 'QoS of the will', ''],
    ['a password without a name', bytes.connect({ flags: 0x42, rest: [bytes.string('x')] }), 'password without', ''],
    ['a client id with NUL', bytes.connect({ clientId: 'a\0' }), 'client id has a NUL', ''],
    ['bytes at the end', bytes.connect({ rest: [Buffer.from('x')] }), 'bytes after the end', ''],
    ['a missing will', bytes.connect({ flags: 6 }), 'ends within a field', ''],
    ['wrong header flags', packet(0x11, bytes.string('MQTT')), 'reserved header flags', ''],
    ['no content', packet(0x10), 'ends within a field', ''],
    ['a publish instead', bytes.publish('a'), 'no CONNECT', ''],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), 'no CONNECT', ''],
  ])('a CONNECT with %s', async (_, malformed, words, answer) => {
    const { peer, gate, errors, said, taken } = openGate()
    const ended = once(peer, 'end')
    peer.write(malformed)
    await closed(gate)
    await ended
    expect(errors).toEqual([expect.stringContaining(words)])
    expect([said(), taken]).toEqual([answer, []])
  })

  test('whatever the bytes are, the check says so or lets them pass: it never fails otherwise', () => {
    const content = fc.uint8Array({ maxLength: 40 })
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), content, (first, body) => {
        try {
          checkPacket(packet(first, body), limits)
        } catch (error) {
          expect(String(error)).toMatch(/^ProtocolViolation: /)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

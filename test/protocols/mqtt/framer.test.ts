/** Packets out of bytes, however these are cut. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Framer } from '../../../protocols/mqtt/framer.ts'
import { chunkSizes, chunked, connect } from './gates.ts'
import { bytes } from './support.ts'

describe('framing', () => {
  test('gives the same packets however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 20 }), chunkSizes, (lengths, sizes) => {
        const packets = [connect, ...lengths.map((length) => bytes.publish('t', 'x'.repeat(length)))]
        const framer = new Framer(4096)
        const found: Buffer[] = []
        for (const chunk of chunked(Buffer.concat(packets), sizes)) {
          framer.put(Buffer.from(chunk))
          for (let next = framer.next(); next; next = framer.next()) found.push(next)
        }
        expect(found).toEqual(packets)
        expect(framer.buffered).toBe(0)
      }),
    )
  })

  test('knows a packet that is too long after at most five bytes, and holds none of it', () => {
    const framer = new Framer(4096)
    framer.put(connect)
    framer.next()
    framer.put(Buffer.from([0x30, 0xff]))
    expect(framer.next()).toBeUndefined()
    framer.put(Buffer.from([0xff, 0xff, 0x7f]))
    expect(() => framer.next()).toThrow('a packet of 268435460 bytes: at most 4096 are taken')
  })

  test('takes a packet of exactly the limit, and none of a byte more', () => {
    const framer = new Framer(131)
    framer.put(connect)
    framer.next()
    framer.put(bytes.publish('t', 'x'.repeat(125)))
    expect(framer.next()).toHaveLength(131)
    framer.put(bytes.publish('t', 'x'.repeat(126)))
    expect(() => framer.next()).toThrow('132 bytes')
  })

  test('refuses a length that goes on after four bytes', () => {
    const framer = new Framer(1e9)
    framer.put(Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x01]))
    expect(() => framer.next()).toThrow('malformed remaining length')
  })

  test('knows by its first byte what is no MQTT', () => {
    const framer = new Framer(4096)
    framer.put(Buffer.from('G'))
    expect(() => framer.next()).toThrow('no CONNECT')
  })
})

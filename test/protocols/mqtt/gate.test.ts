/** The gate by bytes: framing in any chunks, order, the window, back-pressure, keep alive, and every malformed packet. */
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { afterEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Framer } from '../../../protocols/mqtt/framer.ts'
import { Gate, type GateLimits } from '../../../protocols/mqtt/gate.ts'
import { checkPacket, packetType } from '../../../protocols/mqtt/packet.ts'
import { bytes, packet } from './support.ts'

const limits: GateLimits = {
  maxPacketSize: 4096,
  maxTopicLevels: 10,
  maxTopicLength: 100,
  maxSubscriptions: 5,
  window: 4,
  disconnectTimeout: 20,
}
const connect = bytes.connect()

const gates: Gate[] = []
afterEach(() => {
  for (const gate of gates.splice(0)) gate.destroy()
})

/** A gate with a reader in Aedes' place, which takes CONNECT for good and counts, and with one for publishes beside it. */
function open(own: Partial<GateLimits> = {}) {
  const [peer, source] = duplexPair()
  const gate = new Gate(source, { ...limits, ...own })
  gates.push(gate)
  const errors: string[] = []
  const taken: Buffer[] = []
  const framer = new Framer(1e6)
  gate.on('error', (error) => errors.push(error.message))
  gate.on('readable', () => {
    const chunk = gate.read()
    if (!chunk) return
    framer.put(chunk)
    for (let next = framer.next(); next; next = framer.next()) taken.push(next)
  })
  gate.publishes = {
    published: ({ topic, payload, qos, dup, retain, messageId = 0 }) =>
      taken.push(
        bytes.publish(topic, payload.toString('latin1'), {
          qos,
          flags: (dup ? 8 : 0) | (retain ? 1 : 0),
          id: messageId,
        }),
      ),
  }
  let said = ''
  peer.setEncoding('latin1')
  peer.on('data', (text: string) => (said += text))
  peer.on('error', () => undefined)
  peer.on('end', () => peer.end())
  /** The publishes that passed, as text. */
  const texts = () => taken.filter((one) => packetType(one) === 3).map((one) => one.toString('latin1').slice(5))
  return { peer, gate, errors, taken, texts, said: () => said }
}

async function connected(own: Partial<GateLimits> = {}, silence = 0) {
  const opened = open(own)
  opened.peer.write(connect)
  await turn()
  opened.gate.accept(silence)
  await turn()
  return opened
}

/** Unlike `once`, which fails on an error that comes first. */
const closed = (gate: Gate) => new Promise<void>((resolve) => void gate.once('close', resolve))
const turn = () => new Promise((resolve) => void setImmediate(resolve))
const publish = (text: string) => bytes.publish('t', text)
const size = 3 // of the topic

/** Cuts bytes into chunks of these sizes. */
function chunked(all: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, turn = 0; at < all.length; turn++) {
    const end = at + (sizes[turn % sizes.length] as number)
    chunks.push(all.subarray(at, end))
    at = end
  }
  return chunks
}
const chunkSizes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 10 })

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

describe('order and window', () => {
  test('however packets come and are settled, they pass in order and never more than the window', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 60 }),
        chunkSizes,
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 20 }),
        async (window, count, sizes, settles) => {
          const { peer, gate, texts, errors } = await connected({ window })
          const sent = Array.from({ length: count }, (_, index) => `message ${index}`)
          let settled = 0
          const chunks = chunked(Buffer.concat(sent.map(publish)), sizes)
          for (let step = 0; settled < count; step++) {
            const chunk = chunks.shift()
            if (chunk) peer.write(chunk)
            await turn()
            expect(gate.unsettled).toBeLessThanOrEqual(window)
            const now = Math.min(
              chunks.length > 0 ? (settles[step % settles.length] as number) : window,
              gate.unsettled,
            )
            for (let index = 0; index < now; index++) gate.settled((texts()[settled++] ?? '').length + size)
          }
          expect(texts()).toEqual(sent)
          expect(errors).toEqual([])
          gate.destroy()
        },
      ),
      { numRuns: 60 },
    )
  })

  test('what Aedes parses and what goes past it stay in the order in which they came', async () => {
    const kinds = [
      publish('at most once'),
      bytes.publish('t', 'at least once', { qos: 1 }),
      bytes.publish('t', 'exactly once', { qos: 2 }),
      bytes.subscribe('a'),
      packet(0x40, id),
    ]
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(kinds.length - 1), { minLength: 1, maxLength: 30 }),
        chunkSizes,
        async (list, sizes) => {
          const { peer, gate, taken } = await connected({ window: 100 })
          const sent = list.map((kind) => kinds[kind] as Buffer)
          for (const chunk of chunked(Buffer.concat(sent), sizes)) peer.write(chunk)
          await turn()
          expect(taken.slice(1)).toEqual(sent)
          gate.destroy()
        },
      ),
      { numRuns: 60 },
    )
  })

  test('nothing passes behind a packet for which the connection is closed', async () => {
    const { peer, gate, texts } = await connected()
    gate.on('readable', () => gate.destroy())
    peer.write(Buffer.concat([publish('a'), connect, publish('b')]))
    await closed(gate)
    expect(texts()).toEqual(['a'])
  })

  test('many bytes fill the window as well, but one packet always passes', async () => {
    const { peer, gate, texts } = await connected({ maxPacketSize: 1000 })
    for (const letter of ['a', 'b', 'c']) peer.write(publish(letter.repeat(600)))
    await turn()
    expect(texts()).toHaveLength(1)
    gate.settled(600 + size)
    await turn()
    expect(texts()).toHaveLength(2)
  })

  test('nothing passes between CONNECT and its acceptance', async () => {
    const { peer, gate, taken } = open()
    peer.write(Buffer.concat([connect, publish('early'), bytes.subscribe('a')]))
    await turn()
    expect(taken).toHaveLength(1)
    gate.accept(0)
    await turn()
    expect(taken).toHaveLength(3)
  })

  test('holds little of what a client sends that does not wait: its socket is paused', async () => {
    const { peer, gate } = await connected({ maxPacketSize: 100_000 })
    const flood = Buffer.concat(Array.from({ length: 1000 }, () => publish('x'.repeat(100))))
    let most = 0
    const interval = setInterval(() => (most = Math.max(most, gate.heldBytes)), 0)
    for (let round = 0; round < 20; round++) peer.write(flood)
    for (let round = 0; round < 50; round++) await turn()
    clearInterval(interval)
    expect(gate.heldBytes).toBeLessThan(256 * 1024)
    expect(most).toBeLessThan(256 * 1024)
    expect(peer.writableNeedDrain).toBe(true)
    const drained = once(peer, 'drain')
    while (gate.unsettled > 0) {
      gate.settled(100 + size)
      await turn()
    }
    await drained
  })

  test('DISCONNECT waits for what was published before it, but not for ever', async () => {
    const { peer, gate, taken } = await connected()
    peer.write(Buffer.concat([publish('a'), bytes.disconnect, publish('after the end')]))
    await turn()
    expect(taken).toHaveLength(2)
    gate.settled(1 + size)
    await turn()
    expect(taken.map((one) => packetType(one))).toEqual([1, 3, 14])
    expect(gate.reason).toBe('disconnect')

    const stuck = await connected()
    stuck.peer.write(Buffer.concat([publish('a'), bytes.disconnect]))
    await once(stuck.gate, 'readable')
    while (stuck.taken.length < 3) await turn()
    expect(stuck.taken.map((one) => packetType(one))).toEqual([1, 3, 14])
  })

  test('what came before the end of the connection passes first', async () => {
    const { peer, gate, texts } = await connected({ window: 1 })
    peer.write(Buffer.concat([publish('a'), publish('b')]))
    peer.end()
    await turn()
    expect(gate.destroyed).toBe(false)
    gate.settled(1 + size)
    await turn()
    expect(texts()).toEqual(['a', 'b'])
    expect([gate.destroyed, gate.reason]).toEqual([true, 'closed'])
  })

  test('draining lets nothing more pass, and ends when all is settled', async () => {
    const { peer, gate, texts } = await connected()
    peer.write(publish('a'))
    await turn()
    let drained = false
    const drain = gate.drain().then(() => (drained = true))
    peer.write(publish('b'))
    await turn()
    expect([drained, texts()]).toEqual([false, ['a']])
    gate.settled(1 + size)
    await drain
    expect(texts()).toEqual(['a'])
  })
})

describe('toward the client', () => {
  test('PINGREQ is answered while the window is full', async () => {
    const { peer, said, texts } = await connected({ window: 1 })
    peer.write(Buffer.concat([publish('a'), publish('b'), bytes.ping]))
    await turn()
    await turn()
    expect(texts()).toEqual(['a'])
    expect(said()).toBe('\xd0\x00')
  })

  test('acknowledgements and packets of one turn come in one piece', async () => {
    const { peer, gate } = await connected()
    const chunks: string[] = []
    peer.on('data', (text: string) => chunks.push(text))
    gate.acknowledge(1)
    gate.write(Buffer.from('xy'))
    gate.acknowledge(258)
    await turn()
    await turn()
    expect(chunks).toEqual(['xy\x40\x02\x00\x01\x40\x02\x01\x02'])
  })

  test('pieces of any length, bytes and text, come as they were written', async () => {
    const piece = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.string({ unit: 'grapheme', maxLength: 20 }))
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 8 }),
        fc.array(fc.nat(0xffff), { maxLength: 3 }),
        async (pieces, ids) => {
          const { gate, said } = await connected()
          for (const one of pieces) gate.write(one)
          for (const id of ids) gate.acknowledge(id)
          await turn()
          await turn()
          const acknowledged = ids.map((id) => Buffer.from([0x40, 2, id >> 8, id & 0xff]))
          const written = pieces.map((one) => Buffer.from(one as Uint8Array))
          expect(said()).toBe(Buffer.concat([...written, ...acknowledged]).toString('latin1'))
          gate.destroy()
        },
      ),
      { numRuns: 100 },
    )
  })

  test('a client that does not read is not listened to until it does, and Aedes is told when it has', async () => {
    const { peer, gate, texts } = await connected({ window: 100 })
    peer.pause()
    let taken = 0
    let drained = 0
    gate.on('drain', () => drained++)
    while (gate.write(Buffer.alloc(16 * 1024))) taken++
    expect([taken > 5, gate.writableLength, drained]).toEqual([true, (taken + 1) * 16 * 1024, 0])
    for (let round = 0; round < 5; round++) await turn()
    peer.write(publish('a'))
    await turn()
    expect(texts()).toEqual([])
    peer.resume()
    while (texts().length === 0) await turn()
    expect([drained, gate.write('more')]).toEqual([1, true])
  })

  test('what is written to a client that is gone holds nobody up', async () => {
    const { gate } = await connected()
    gate.destroy()
    expect(gate.write(Buffer.alloc(1024 * 1024))).toBe(true)
  })

  test('what was written before the end still goes out', async () => {
    const { peer, gate, said } = await connected()
    const ended = once(peer, 'end')
    gate.write(Buffer.from('last words'))
    gate.destroy()
    await ended
    expect(said()).toBe('last words')
  })
})

describe('keep alive', () => {
  test('a silent client is cut', async () => {
    const { gate, errors } = await connected({}, 30)
    await closed(gate)
    expect([gate.reason, errors[0]]).toEqual(['keepalive', expect.stringContaining('no sign of life')])
  })

  test('a client whose packets wait because of us is not silent', async () => {
    const { peer, gate } = await connected({ window: 1, maxPacketSize: 70_000 }, 30)
    peer.write(Buffer.concat([publish('a'), ...Array.from({ length: 10 }, () => publish('x'.repeat(30_000)))]))
    await new Promise((resolve) => void setTimeout(resolve, 120))
    expect(gate.destroyed).toBe(false)
    gate.destroy()
  })

  test('a packet that is long in coming is a sign of life, a byte now and then is none', async () => {
    const slow = await connected({ maxPacketSize: 100_000 }, 1200)
    const long = bytes.publish('t', 'x'.repeat(60_000))
    slow.peer.write(long.subarray(0, 100))
    for (let at = 100; at < 40_000; at += 4000) {
      slow.peer.write(long.subarray(at, at + 4000))
      await new Promise((resolve) => void setTimeout(resolve, 150))
    }
    expect(slow.gate.destroyed).toBe(false)
    slow.gate.destroy()

    const trickle = await connected({ maxPacketSize: 100_000 }, 60)
    const end = closed(trickle.gate)
    trickle.peer.write(long.subarray(0, 10))
    const drip = setInterval(() => trickle.peer.write('x'), 10)
    await end
    clearInterval(drip)
    expect(trickle.gate.reason).toBe('keepalive')
  })
})

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
    const { peer, gate, errors, said, taken } = open()
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

/** The gate by bytes: order, the window, back-pressure in both directions, and keep alive. */
import { once } from 'node:events'
import { beforeEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { packetType } from '../../../protocols/mqtt/packet.ts'
import { pass, stopTime } from '../../support/time.ts'
import { chunkSizes, chunked, closed, connect, connected, openGate, turn } from './gates.ts'
import { bytes, packet } from './support.ts'

const publish = (text: string) => bytes.publish('t', text)
const size = 3 // of the topic

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
      packet(0x40, Buffer.from([0, 1])),
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
    const { peer, gate, taken } = openGate()
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
    stopTime()
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
    await pass(19)
    expect(stuck.taken).toHaveLength(2)
    await pass(1)
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

  test('a client that does not read its acknowledgements is cut, and one that reads in time is not', async () => {
    stopTime()
    const slow = await connected({ drainTimeout: 250 })
    const stuck = await connected({ drainTimeout: 250 })
    for (const { peer, gate } of [slow, stuck]) {
      peer.pause()
      for (let id = 1; gate.writableLength < 256 * 1024; id++) gate.acknowledge(id & 0xffff)
      peer.write(publish('waits'))
    }
    await pass(249)
    slow.peer.resume()
    while (slow.texts().length === 0) await turn()
    await pass(1)
    expect([stuck.gate.reason, stuck.errors, stuck.texts()]).toEqual(['error', ['drain timeout'], []])
    expect([slow.gate.destroyed, slow.texts()]).toEqual([false, ['waits']])
    // Nor is it later.
    slow.peer.pause()
    await pass(350)
    expect(slow.gate.destroyed).toBe(false)
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
  beforeEach(stopTime)

  test('a silent client is cut', async () => {
    const { gate, errors } = await connected({}, 30)
    await pass(29)
    expect(gate.destroyed).toBe(false)
    await pass(1)
    expect([gate.reason, errors[0]]).toEqual(['keepalive', expect.stringContaining('no sign of life')])
  })

  test('a client that spoke while this process stood still is heard before it is cut', async () => {
    const { peer, gate } = await connected({}, 30)
    // It is in the socket, which is read after the timers of the turn.
    process.nextTick(() => peer.write(bytes.ping))
    await pass(30)
    expect(gate.destroyed).toBe(false)
    await pass(30)
    expect(gate.destroyed).toBe(true)
  })

  test('a client whose packets wait because of us is not silent', async () => {
    const { peer, gate } = await connected({ window: 1, maxPacketSize: 70_000 }, 30)
    peer.write(Buffer.concat([publish('a'), ...Array.from({ length: 10 }, () => publish('x'.repeat(30_000)))]))
    await turn()
    for (let round = 0; round < 4; round++) await pass(30)
    expect(gate.destroyed).toBe(false)
  })

  test('a packet that is long in coming is a sign of life, a byte now and then is none', async () => {
    const long = bytes.publish('t', 'x'.repeat(60_000))
    const slow = await connected({ maxPacketSize: 100_000 }, 1200)
    slow.peer.write(long.subarray(0, 100))
    for (let at = 100; at < 40_000; at += 4000) {
      slow.peer.write(long.subarray(at, at + 4000))
      await turn()
      await pass(150)
    }
    expect(slow.gate.destroyed).toBe(false)

    const trickle = await connected({ maxPacketSize: 100_000 }, 60)
    trickle.peer.write(long.subarray(0, 10))
    for (let drop = 0; drop < 6; drop++) {
      trickle.peer.write('x')
      await turn()
      await pass(10)
    }
    expect([trickle.gate.destroyed, trickle.gate.reason]).toEqual([true, 'keepalive'])
  })
})

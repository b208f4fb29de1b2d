/** The tables that the listener keeps: what they count, and that they stay bounded. */
import { describe, expect, test } from '@jest/globals'
import { BlockList } from 'node:net'
import fc from 'fast-check'
import { answers } from '../../../protocols/email/answers.ts'
import { ClientRates } from '../../../protocols/email/client-rates.ts'
import { Fate, handled } from '../../../protocols/email/handling.ts'
import { ReplyLimit } from '../../../protocols/email/reply-limit.ts'
import { Seen } from '../../../protocols/email/seen.ts'
import { MessageBuffer, Spool } from '../../../protocols/email/spool.ts'

const nobody = new BlockList()
const limits = { clients: 2, connectionsPerMinute: 6, messagesPerMinute: 3, exempt: nobody }

/** A clock that is set by hand, in milliseconds. */
function clock() {
  let time = 0
  return Object.assign(() => time, { pass: (milliseconds: number) => void (time += milliseconds) })
}

function inLarger(bytes: Uint8Array): Uint8Array {
  const larger = new Uint8Array(3 * bytes.length + 10)
  larger.set(bytes, 7)
  return larger.subarray(7, 7 + bytes.length)
}

describe('the spool', () => {
  test('holds no more than its limit, and has again what is given back', () => {
    const spool = new Spool(10)
    expect([spool.take(6), spool.take(5), spool.take(4), spool.take(1)]).toEqual([true, false, true, false])
    spool.give(4)
    expect([spool.hasRoom(4), spool.hasRoom(5), spool.used]).toEqual([true, false, 6])
  })

  test('a message is what was appended, in whatever pieces', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.uint8Array({ maxLength: 20_000 }), fc.boolean()), { maxLength: 12, size: 'max' }),
        (given) => {
          // Some are a small part of a buffer that something else came in, too.
          const chunks = given.map(([bytes, small]) => (small ? inLarger(bytes) : bytes))
          const buffer = new MessageBuffer()
          for (const chunk of chunks) buffer.append(chunk)
          const whole = Buffer.concat(chunks)
          expect(buffer.length).toBe(whole.length)
          expect(buffer.take().equals(whole)).toBe(true)
          expect(buffer.length).toBe(0)
        },
      ),
      { numRuns: 50 },
    )
  })
})

describe('a message that comes in one chunk', () => {
  const bytes = Buffer.alloc(2000, 'x')

  test('is not copied', () => {
    const buffer = new MessageBuffer()
    const chunk = new Uint8Array(bytes)
    buffer.append(chunk)
    expect(buffer.take().buffer).toBe(chunk.buffer)
  })

  test('is copied out of a buffer that it would keep for little', () => {
    const buffer = new MessageBuffer()
    const chunk = inLarger(bytes)
    buffer.append(chunk)
    const whole = buffer.take()
    expect([whole.buffer === chunk.buffer, whole.equals(bytes)]).toEqual([false, true])
  })
})

describe('the rates of a client address', () => {
  test('bound its connections at once, which are free again when they end', () => {
    const rates = new ClientRates(limits)
    expect([rates.connected('192.0.2.1'), rates.connected('192.0.2.1'), rates.connected('192.0.2.1')]).toEqual([
      true,
      true,
      false,
    ])
    expect(rates.connected('192.0.2.2')).toBe(true)
    rates.disconnected('192.0.2.1')
    expect(rates.connected('192.0.2.1')).toBe(true)
  })

  test('bound its new connections and messages, which fill up evenly over a minute', () => {
    const now = clock()
    const rates = new ClientRates(limits, now)
    const connect = () => {
      const allowed = rates.connected('192.0.2.1')
      if (allowed) rates.disconnected('192.0.2.1')
      return allowed
    }
    expect(Array.from({ length: 8 }, connect)).toEqual([true, true, true, true, true, true, false, false])
    expect(Array.from({ length: 4 }, () => rates.message('192.0.2.1'))).toEqual([true, true, true, false])
    now.pass(10_000)
    expect([connect(), connect()]).toEqual([true, false])
    expect(rates.message('192.0.2.1')).toBe(false)
    now.pass(10_000)
    expect(rates.message('192.0.2.1')).toBe(true)
  })

  test('see an IPv4 client of an IPv6 socket as what it is, and a /64 as one client', () => {
    const rates = new ClientRates(limits)
    expect(rates.connected('::ffff:192.0.2.1')).toBe(true)
    expect(rates.connected('192.0.2.1')).toBe(true)
    expect(rates.connected('::ffff:192.0.2.1')).toBe(false)
    expect(['2001:db8::1', '2001:db8:0:0:1::2', '2001:db8::3'].map((ip) => rates.connected(ip))).toEqual([
      true,
      true,
      false,
    ])
    expect(rates.connected('2001:db8:0:1::1')).toBe(true)
  })

  test('do not bind whoever is exempt', () => {
    const exempt = new BlockList()
    exempt.addSubnet('127.0.0.0', 8)
    const rates = new ClientRates({ ...limits, exempt })
    expect(Array.from({ length: 20 }, () => rates.connected('::ffff:127.0.0.9')).every(Boolean)).toBe(true)
    expect(rates.size).toBe(0)
  })

  test('are forgotten when there is nothing to remember', () => {
    const now = clock()
    const rates = new ClientRates(limits, now)
    rates.connected('192.0.2.1')
    now.pass(120_000)
    expect(rates.size).toBe(1)
    rates.disconnected('192.0.2.1')
    expect(rates.size).toBe(0)
  })

  test('of ten thousand addresses and no more', () => {
    const rates = new ClientRates(limits, clock())
    for (let i = 0; i < 12_000; i++) rates.message(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    expect(rates.size).toBe(10_000)
  })
})

describe('the limit on answers', () => {
  test('counts those within the window', () => {
    const now = clock()
    const limit = new ReplyLimit(2, 1000, now)
    expect([limit.take('a'), limit.take('a'), limit.take('a'), limit.take('b')]).toEqual([true, true, false, true])
    now.pass(999)
    expect(limit.take('a')).toBe(false)
    now.pass(2)
    expect(limit.take('a')).toBe(true)
  })

  test('forgets addresses that are over, and never holds more than ten thousand', () => {
    const now = clock()
    const limit = new ReplyLimit(2, 1000, now)
    for (let i = 0; i < 11_000; i++) limit.take(`a${i}`)
    expect(limit.size).toBe(10_000)
    now.pass(2000)
    limit.take('b')
    expect(limit.size).toBe(1)
  })
})

describe('what was seen', () => {
  test('is known while it runs, and for the window afterwards', () => {
    const now = clock()
    const seen = new Seen(1000, now)
    const fate = new Fate()
    seen.keep('a', fate)
    now.pass(5000)
    expect(seen.find('a')).toBe(fate)
    fate.settle(handled, now())
    now.pass(999)
    expect(seen.find('a')).toBe(fate)
    now.pass(2)
    expect(seen.find('a')).toBeUndefined()
  })

  test('is known for as long as it runs, also beyond the window and while others come', () => {
    const now = clock()
    const seen = new Seen(1000, now)
    const slow = new Fate()
    seen.keep('slow', slow)
    for (let i = 0; i < 5; i++) {
      now.pass(1500)
      const fate = new Fate()
      seen.keep(`${i}`, fate)
      fate.settle(handled, now())
      expect(seen.find('slow')).toBe(slow)
    }
    slow.settle(handled, now())
    expect(seen.size).toBe(2)
    now.pass(1500)
    expect(seen.find('slow')).toBeUndefined()
    expect(seen.size).toBe(0)
  })

  test('is forgotten when it failed', () => {
    const seen = new Seen(1000)
    const fate = new Fate()
    seen.keep('a', fate)
    fate.settle({ kind: 'failed', answer: answers.failed() })
    expect(seen.find('a')).toBeUndefined()
  })

  test('goes by itself, the oldest first, and is never more than fifty thousand', () => {
    const now = clock()
    const seen = new Seen(1000, now)
    for (let i = 0; i < 50_010; i++) {
      const fate = new Fate()
      fate.settle(handled, now())
      seen.keep(`${i}`, fate)
    }
    expect(seen.size).toBeLessThanOrEqual(50_000)
    expect(seen.size).toBeGreaterThan(25_000)
    expect(seen.find('0')).toBeUndefined()
    expect(seen.find('50009')).toBeDefined()
    now.pass(2000)
    expect(seen.size).toBe(0)
  })
})

describe('what becomes of a message', () => {
  test('is told to whoever waits for it, and to whoever asks later; the first time counts', () => {
    const fate = new Fate()
    const told: string[] = []
    fate.tell({ settled: () => told.push(`first: ${fate.handling?.kind}`) })
    expect(told).toEqual([])
    fate.settle(handled)
    fate.settle({ kind: 'failed', answer: answers.failed() })
    fate.tell({ settled: () => told.push(`late: ${fate.handling?.kind}`) })
    expect(told).toEqual(['first: handled', 'late: handled'])
  })
})

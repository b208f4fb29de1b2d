/** Records as bytes, and back: alone, and many on their way to the worker. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Event } from '../../src/asgi/protocol.ts'
import { decode, encode, eventOf } from '../../src/journal/codec.ts'
import type { EncodedRecord } from '../../src/journal/messages.ts'
import { Packer, unpack } from '../../src/journal/parcel.ts'
import { record } from './support.ts'

const placing = { protocol: 'mqtt', route: 'gateway.yaml:3', lane: 'a' }
const scope = { type: 'mqtt', client: ['127.0.0.1', 4000] as const, server: null }

function again(event: object, given: object = scope) {
  const encoded = encode({ direction: 'in', scope: given as typeof scope, event: event as Event }, placing)
  return decode({ id: 1, ...encoded, event: eventOf(encoded) })
}

const bytesOf = (...given: number[]) => Buffer.from(given)
const bytes = fc.uint8Array().map((given) => Buffer.from(given))
const leaf = fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null), fc.constant(undefined), bytes)
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(leaf, fc.array(tie('value')), fc.dictionary(fc.string(), tie('value'))),
}))
const plain = fc.dictionary(fc.string({ unit: 'binary' }), value)

describe('a record comes back as it was', () => {
  test('whatever plain data it is made of', () => {
    fc.assert(
      fc.property(plain, plain, (event, more) => {
        const decoded = again(event, { ...more, ...scope })
        expect(decoded.event).toEqual(event)
        expect(decoded.scope).toEqual({ ...more, ...scope })
      }),
    )
  })

  test('with a payload, as most events', () => {
    const simple = fc.record({
      type: fc.string(),
      payload: bytes,
      qos: fc.nat(2),
      params: fc.dictionary(fc.string(), fc.string()),
    })
    fc.assert(fc.property(simple, (event) => void expect(again(event).event).toEqual(event)))
  })

  test('after others of its scope that are alike, or nearly', () => {
    const little = fc.constantFrom(undefined, null, 0, -0, 1, '', 'a', true, {}, { a: 'a' }, { a: 'b' }, { b: 'a' }, [])
    const event = fc.record(
      { type: fc.constantFrom('a', 'b'), payload: fc.oneof(bytes, little), more: fc.oneof(little, bytes) },
      { requiredKeys: ['payload'] },
    )
    fc.assert(
      fc.property(fc.array(event), (events) => {
        const mine = { ...scope }
        for (const one of events) expect(again(one, mine).event).toEqual(one)
      }),
    )
    const own = JSON.parse('{"__proto__": {}, "payload": 1}') as object
    const mine = { ...scope }
    const alike = [
      { params: {}, payload: bytesOf(1) },
      { ...own, payload: bytesOf(2) },
      { x: undefined, payload: bytesOf(3) },
    ]
    for (const one of alike) expect(again(one, mine).event).toEqual(one)
  })

  test('though what it was made of was changed since: the event before it is remembered as it was', () => {
    const params = { room: 'kitchen' }
    const mine = { ...scope }
    for (const room of ['kitchen', 'hall', 'hall']) {
      params.room = room
      expect(again({ params, payload: bytesOf(1) }, mine).event).toEqual({ params: { room }, payload: bytesOf(1) })
    }
  })

  test('with names and values that JSON changes', () => {
    const odd = JSON.parse(
      '{"__proto__": "own", "toJSON": "text", "zero": 0, "params": {"__proto__": "own"}}',
    ) as object
    for (const event of [
      odd,
      { lone: '\ud800' },
      { zero: -0 },
      { when: new Date(5) },
      { big: 5n },
      { none: undefined },
    ]) {
      expect(again(event).event).toEqual(event)
    }
  })
})

test('what is no plain data is refused in words', () => {
  const event = { type: 'a.b', reply: () => undefined }
  expect(() => again(event)).toThrow(expect.objectContaining({ code: 'journal_failed' }))
  expect(() => again(event)).toThrow(/the event cannot be stored, expected plain data: .* could not be cloned/)
  expect(() => again({ type: 'a.b' }, { ...scope, state: { open: () => undefined } })).toThrow(
    'the scope cannot be stored',
  )
})

test('damaged bytes are refused in words, with the record that they belong to', () => {
  const damaged = { id: 7, scope: Buffer.from('nonsense'), event: Buffer.from('nonsense') }
  expect(() => decode(damaged)).toThrow('record 7 of the journal cannot be read')
})

test('a scope is encoded once, and its client is the peer', () => {
  const [one, two] = [1, 2].map((n) => encode({ direction: 'in', scope, event: { type: `a.${n}` } }, placing))
  expect(one?.scope).toBe(two?.scope)
  expect(one?.peer).toBe('127.0.0.1:4000')
  expect(encode({ direction: 'out', scope: { ...scope, client: null }, event: { type: 'a.b' } }, placing).peer).toBe('')
})

test.each([
  [{ sender: 'ann@example.org', client: ['192.0.2.7', 25] }, 'ann@example.org'],
  [{ sender: '', client: ['192.0.2.7', 25] }, '<>'],
  [{ from: '+14155550100' }, '+14155550100'],
  [{ clientId: 'sensor-1' }, 'sensor-1'],
])('who sent %j is the peer, as the protocol names it: %s', (fields, peer) => {
  const given = { ...scope, ...fields } as typeof scope
  expect(encode({ direction: 'in', scope: given, event: { type: 'a.b' } }, placing).peer).toBe(peer)
})

test('what an event without a payload says again is encoded once for its scope', () => {
  const event = { type: 'email.message' }
  const encoded = () => encode({ direction: 'in', scope, event }, placing)
  const first = encoded()
  expect(encoded().event).toBe(first.event)
  event.type = 'email.other'
  expect(decode({ id: 1, ...encoded() }).event).toEqual(event)
  expect(decode({ id: 1, ...first }).event).toEqual({ type: 'email.message' })
})

const bodies = [Buffer.from('a whole mail'), Buffer.alloc(0), Buffer.from('another')]
const someRecord = fc
  .record(
    {
      direction: fc.constantFrom('in' as const, 'out' as const),
      route: fc.string(),
      lane: fc.string(),
      key: fc.string(),
      mayRepeat: fc.boolean(),
      scope: fc.uint8Array(),
      event: fc.uint8Array(),
      body: fc.constantFrom(...bodies),
    },
    { requiredKeys: [] },
  )
  .map(record)

test('what events of one scope have in common goes to the worker once', () => {
  const event = { type: 'mqtt.publish', topic: 'sensors/1/temperature', qos: 1, retain: false, params: {} }
  const records = Array.from({ length: 100 }, (_, number) =>
    encode({ direction: 'in', scope, event: { ...event, payload: bytesOf(number) } as Event }, placing),
  )
  const packer = new Packer()
  packer.add(records)
  const parcel = packer.take()
  expect(parcel.bytes.byteLength).toBeLessThan(600)
  const decoded = unpack(parcel)[0]?.map((one) => decode({ id: 1, ...one, event: eventOf(one) }).event)
  expect(decoded).toEqual(records.map((_, number) => ({ ...event, payload: bytesOf(number) })))
})

test('parcels bring what was put in, and records of a call share their bodies', () => {
  const packer = new Packer()
  fc.assert(
    fc.property(fc.array(fc.array(someRecord, { maxLength: 5 })), (calls) => {
      for (const call of calls) packer.add(call)
      const parcel = structuredClone(packer.take())
      expect(packer.isEmpty).toBe(true)
      const unpacked = unpack(parcel)
      expect(unpacked.map((call) => call.map(readable))).toEqual(calls.map((call) => call.map(readable)))
      for (const call of unpacked) {
        const given = call.flatMap(({ body }) => (body?.length ? [body] : []))
        const different = new Set(given.map((body) => Buffer.from(body).toString()))
        expect(new Set(given).size).toBe(different.size)
      }
    }),
  )
})

function readable({ scope, start, event, body, key, mayRepeat, ...rest }: EncodedRecord) {
  const content = { scope: [...scope], start: start && [...start], event: [...event], body: body && [...body] }
  // Without a key there is nothing that could repeat.
  return { ...rest, ...content, key, mayRepeat: key === undefined || mayRepeat }
}

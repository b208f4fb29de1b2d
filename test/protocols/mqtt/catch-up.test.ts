/** A client that comes back: what waited for it comes first, and nothing comes twice. */
import { expect, test } from '@jest/globals'
import type { AedesPublishPacket } from 'aedes'
import fc from 'fast-check'
import { CatchUp } from '../../../protocols/mqtt/catch-up.ts'

const packet = (brokerCounter: number, size = 1) =>
  ({
    cmd: 'publish',
    brokerId: 'b',
    brokerCounter,
    topic: 't',
    payload: Buffer.alloc(size),
    qos: 1,
    retain: false,
    dup: false,
  }) as AedesPublishPacket

function client() {
  const got: number[] = []
  let overflows = 0
  const catchUp = new CatchUp({
    deliver: (one) => {
      expect(catchUp.isDelivering(one)).toBe(true)
      got.push(one.brokerCounter ?? 0)
    },
    overflow: () => void overflows++,
  })
  return {
    catchUp,
    got,
    overflows: () => overflows,
    read: (counter: number) => {
      got.push(counter)
      catchUp.read(packet(counter))
    },
    publish: (counter: number) => catchUp.keepsBack(packet(counter)) || got.push(counter),
  }
}

test('whatever was stored before it comes, and whenever what is published comes: each once, and in order', () => {
  fc.assert(
    fc.property(fc.nat(10), fc.nat(10), fc.nat(10), fc.infiniteStream(fc.boolean()), (old, both, later, choices) => {
      const { catchUp, got, read, publish } = client()
      // The first wait in the session, the last are only published, and those between are both.
      const stored = Array.from({ length: old + both }, (_, index) => index)
      const published = Array.from({ length: both + later }, (_, index) => old + index)
      catchUp.begin()
      while (stored.length > 0) {
        const reads = published.length === 0 || choices.next().value === true
        if (reads) read(stored.shift() as number)
        else publish(published.shift() as number)
      }
      catchUp.end()
      for (const counter of published) publish(counter)
      expect(got).toEqual(Array.from({ length: old + both + later }, (_, index) => index))
      catchUp.close()
    }),
  )
})

test('who is not catching up gets everything at once', () => {
  const { catchUp, got, publish } = client()
  publish(1)
  catchUp.begin()
  publish(2)
  expect(got).toEqual([1])
  catchUp.end()
  publish(3)
  expect(got).toEqual([1, 2, 3])
})

test('more than can be held back is said', () => {
  const { catchUp, overflows } = client()
  catchUp.begin()
  for (let counter = 0; counter < 4; counter++) catchUp.keepsBack(packet(counter, 2 ** 20))
  expect(overflows()).toBe(1)
})

test('messages without content take room as well', () => {
  const { catchUp, overflows } = client()
  catchUp.begin()
  for (let counter = 0; counter < 5000; counter++) catchUp.keepsBack(packet(counter, 0))
  expect(overflows()).toBe(0)
  for (let counter = 5000; counter < 10_000 && overflows() === 0; counter++) catchUp.keepsBack(packet(counter, 0))
  expect(overflows()).toBe(1)
})

/** Line ends: what is one and what is not, however the bytes are cut into chunks. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { LineEnds, normaliseLineEnds } from '../../../protocols/email/line-ends.ts'

/** Bytes that matter, and some that do not. */
const bytes = fc
  .array(fc.constantFrom(0x0d, 0x0a, 0x00, 0x2e, 0x61), { maxLength: 30 })
  .map((list) => Buffer.from(list))
const cuts = fc.array(fc.nat(30), { maxLength: 8 })

function chunksOf(message: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.filter((place) => place < message.length).toSorted((a, b) => a - b), message.length]
  return places.slice(1).map((end, index) => message.subarray(places[index], end))
}

function faultOf(chunks: readonly Buffer[]): string | undefined {
  const lineEnds = new LineEnds()
  for (const chunk of chunks) lineEnds.look(chunk)
  lineEnds.end()
  return lineEnds.fault
}

test('a fault is found exactly when there is one, wherever the chunks are cut', () => {
  fc.assert(
    fc.property(bytes, cuts, (message, at) => {
      const text = message.toString('latin1')
      const isFaulty = /\0|\r(?!\n)|(?<!\r)\n/.test(text)
      expect(faultOf(chunksOf(message, at)) !== undefined).toBe(isFaulty)
    }),
    { numRuns: 2000 },
  )
})

test.each([
  ['\n.\n', 'bare LF'],
  ['\n.\r\n', 'bare LF'],
  ['\r\n.\n', 'bare LF'],
  ['\r.\r', 'bare CR'],
  ['\r\r\n', 'bare CR'],
  ['a\r', 'bare CR'],
  ['\r\n\0.\r\n', 'NUL'],
])('%j is named', (text, fault) => {
  expect(faultOf([Buffer.from(text)])).toBe(fault)
})

test('a normalised message has no fault and the same lines', () => {
  fc.assert(
    fc.property(bytes, (message) => {
      const normalised = normaliseLineEnds(message)
      expect(faultOf([normalised])).toBeUndefined()
      const lines = (text: string) => text.replaceAll('\0', '').split(/\r\n|\r|\n/)
      expect(lines(normalised.toString('latin1'))).toEqual(lines(message.toString('latin1')))
    }),
  )
})

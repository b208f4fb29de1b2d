/** What a sensor may say, and the words in which anything else is refused. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { checkedRoom, parseReading } from '../../config/handlers/reading.ts'

const now = Date.parse('2026-06-01T12:00:00Z')
const parse = (payload: string) => parseReading(new TextEncoder().encode(payload), now)

test('a number is a temperature of now', () => {
  expect(parse('21.5')).toEqual({ celsius: 21.5, at: undefined })
  expect(parse(' -4\n')).toEqual({ celsius: -4, at: undefined })
  expect(parse('85')).toEqual({ celsius: 85, at: undefined })
})

test('an object says when it was measured, in any zone; what else is in it does not matter', () => {
  const at = Date.parse('2026-01-01T12:00:00Z')
  expect(parse('{"celsius":21.5,"at":"2026-01-01T12:00:00Z"}')).toEqual({ celsius: 21.5, at })
  expect(parse('{"at":"2026-01-01T13:00:00.000+01:00","celsius":0,"battery":3.1}')).toEqual({ celsius: 0, at })
  expect(parse('{"celsius":21.5}')).toEqual({ celsius: 21.5, at: undefined })
})

test.each([
  ['', 'an empty payload'],
  ['21,5', '"21,5": expected a number such as 21.5'],
  ['NaN', '"NaN": expected a number'],
  ['null', '"null": expected a number'],
  ['"21.5"', 'expected a number'],
  ['[21.5]', '"[21.5]": expected a number'],
  ['21.5 C', 'expected a number'],
  ['0x15', 'expected a number'],
  ['{}', 'celsius "nothing": expected a number'],
  ['{"celsius":"21.5"}', 'celsius "\\"21.5\\"": expected a number'],
  ['{"celsius":null}', 'celsius "null"'],
  ['-127', 'a sensor reports that lost its wire'],
  ['{"celsius":-127.0}', 'lost its wire'],
  ['-273.16', '-273.16 °C: expected -100 to 200'],
  ['1e3', '1000 °C: expected -100 to 200'],
  ['1e999', 'Infinity °C: expected -100 to 200'],
  ['{"celsius":21,"at":"1970-01-01T00:03:12Z"}', "the sensor's clock was never set"],
  ['{"celsius":21,"at":"2000-01-01T00:00:00Z"}', "the sensor's clock was never set"],
  ['{"celsius":21,"at":"2026-06-01T12:05:01Z"}', "the sensor's clock is ahead, here it is 2026-06-01T12:00:00.000Z"],
  ['{"celsius":21,"at":"2099-01-01T00:00:00Z"}', "the sensor's clock is ahead"],
  ['{"celsius":21,"at":1767268800}', 'at "1767268800": expected a time with its zone'],
  ['{"celsius":21,"at":1767268800000}', 'expected a time with its zone'],
  ['{"celsius":21,"at":"1767268800"}', 'expected a time with its zone'],
  ['{"celsius":21,"at":"2026-01-01T12:00:00"}', 'expected a time with its zone'],
  ['{"celsius":21,"at":"2026-01-01"}', 'expected a time with its zone'],
  ['{"celsius":21,"at":null}', 'at "null": expected a time'],
  ['{"celsius":21,"at":"2026-13-01T12:00:00Z"}', 'no such time'],
  [`{"celsius":21,"pad":"${'x'.repeat(1024)}"}`, 'expected 1024 at most'],
])('%s is refused', (payload, words) => {
  expect(() => parse(payload)).toThrow(words)
})

test('a payload that is no UTF-8 is refused', () => {
  expect(() => parseReading(new Uint8Array([0x32, 0xff]), now)).toThrow('a payload that is not UTF-8')
})

test('a clock may be five minutes ahead', () => {
  expect(parse('{"celsius":21,"at":"2026-06-01T12:05:00Z"}').at).toBe(now + 300_000)
})

test('whatever comes, it is a finite reading in range or an Error of at most a few lines', () => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.json().map((json) => new TextEncoder().encode(json)),
  )
  fc.assert(
    fc.property(payload, (bytes) => {
      try {
        const { celsius, at } = parseReading(bytes, now)
        return celsius >= -100 && celsius <= 200 && (at === undefined || Number.isSafeInteger(at))
      } catch (error) {
        return Error.isError(error) && error.message.length < 400
      }
    }),
  )
})

test('every temperature in range is read as it was written', () => {
  fc.assert(
    fc.property(fc.double({ min: -100, max: 200, noNaN: true }), (celsius) => {
      fc.pre(celsius !== -127 && !Object.is(celsius, -0))
      expect(parse(JSON.stringify(celsius)).celsius).toBe(celsius)
      expect(parse(JSON.stringify({ celsius })).celsius).toBe(celsius)
    }),
  )
})

test('a room is letters, digits, "_" and "-"', () => {
  for (const room of ['kitchen', 'Room_2', 'a-b', '7']) expect(checkedRoom(room)).toBe(room)
  for (const room of ['', 'küche', 'living room', '$SYS', '+', 'a.b', 'a'.repeat(65), 'kitchen\n']) {
    expect(() => checkedRoom(room)).toThrow('expected 1 to 64 letters, digits')
  }
})

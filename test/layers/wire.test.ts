/** Messages as JSON and back. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { deepStrictEqual } from 'node:assert/strict'
import { seal } from '../../src/layers/message.ts'
import { addressed, fromJson, toJson } from '../../src/layers/wire.ts'

const key = fc
  .oneof(
    fc.string(),
    fc.constantFrom('$bytes', '$date', '$', '$$', '$from', '$$to', '$number', '$join'),
    // Every object has these, though not of its own.
    fc.constantFrom(...Object.getOwnPropertyNames(Object.prototype)),
  )
  .filter((text) => text !== '__proto__')

const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc.string({ unit: 'binary' }),
    fc.constantFrom('"$', '\\"$bytes', '\ud800'),
    fc.double().map((number) => (number === 0 ? 0 : number)),
    fc.bigInt(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array(),
    fc.date({ noInvalidDate: true }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
}))

const message = fc
  .dictionary(key, value, { maxKeys: 4, noNullPrototype: true })
  .map((rest) => ({ ...rest, type: 'test.message' }))

test('whatever may be sent comes back as it was, frozen', () => {
  fc.assert(
    fc.property(message, (sent) => {
      const sealed = seal(sent, 1e9)
      // Not `toStrictEqual`, which takes an own key `constructor` for the class of its object.
      deepStrictEqual(sealed.message, sent)
      const incoming = fromJson(addressed(toJson(sealed), { from: 'p.1', to: 'p!1' }))
      deepStrictEqual(incoming, { from: 'p.1', to: 'p!1', message: sent })
      expect(Object.isFrozen(incoming.message)).toBe(true)
      deepStrictEqual(fromJson(toJson(sealed)).message, sent)
    }),
  )
})

test.each(Object.getOwnPropertyNames(Object.prototype).filter((name) => name !== '__proto__'))(
  'an object with nothing but a key %s comes back as it was, beside something that JSON has no form for',
  (name) => {
    const sent = { type: 'a.b', at: new Date(0), inside: { [name]: 'mine' } }
    expect(fromJson(toJson(seal(sent, 1e6))).message).toStrictEqual(sent)
  },
)

test('the reckoned size is never less than that of the JSON', () => {
  fc.assert(
    fc.property(message, (sent) => {
      const size = Buffer.byteLength(toJson(seal(sent, 1e9)))
      expect(() => seal(sent, size)).not.toThrow()
      expect(() => seal(sent, size - 1)).toThrow('is the limit')
    }),
  )
})

test('any text is a message or an error', () => {
  const json = fc.oneof(
    fc.string(),
    fc.json(),
    fc.jsonValue().map((rest) => JSON.stringify({ type: 'a.b', rest, $bytes: rest })),
  )
  fc.assert(
    fc.property(json, (text) => {
      try {
        expect(fromJson(text).message?.type).toContain('.')
      } catch (error) {
        expect(Error.isError(error) && !('matcherResult' in error)).toBe(true)
      }
    }),
  )
})

test.each([
  ['nothing', ''],
  ['half a message', '{"type":"a.b"'],
  ['a number', '1'],
  ['null', 'null'],
  ['an array', '[{"type":"a.b"}]'],
  ['no type', '{"text":"hi"}'],
  ['a type without a dot', '{"type":"constructor"}'],
  ['a type that is no text', '{"type":["a.b"]}'],
  ['bytes that are no base64', '{"type":"a.b","x":{"$bytes":"&"}}'],
  ['bytes that are no text', '{"type":"a.b","x":{"$bytes":[1]}}'],
  ['a date that is none', '{"type":"a.b","x":{"$date":"soon"}}'],
  ['a big number that is none', '{"type":"a.b","x":{"$bigint":"1.5"}}'],
  ['an endless big number', `{"type":"a.b","x":{"$bigint":"${'9'.repeat(2000)}"}}`],
  ['a number that is one', '{"type":"a.b","x":{"$number":"1"}}'],
  ['an address that is no text', '{"$to":1,"type":"a.b"}'],
  ['a sender whose name is too long', `{"$from":"${'x'.repeat(201)}","type":"a.b"}`],
  ['__proto__', '{"type":"a.b","x":{"__proto__":{"admin":true}}}'],
  ['__proto__ written in another way', '{"type":"a.b","x":[{"\\u005f_proto__":{"admin":true}}]}'],
  ['a depth that nobody means', `{"type":"a.b","x":${'['.repeat(50_000)}${']'.repeat(50_000)}}`],
])('%s is refused', (_, text) => {
  expect(() => fromJson(text)).toThrow()
})

test('a form that is not alone in its object is an object', () => {
  expect(fromJson('{"type":"a.b","x":{"$bytes":"AA==","y":1},"z":{"$what":1}}').message).toEqual({
    type: 'a.b',
    x: { $bytes: 'AA==', y: 1 },
    z: { $what: 1 },
  })
})

/** Text from strangers on one line. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { oneLine } from '../../config/handlers/clean.ts'

test('line ends and unseen characters become a space, the ends are trimmed', () => {
  expect(oneLine(' a\r\nb\u2028c\u0000d\u202Ee ', 100)).toBe('a b c d e')
})

test('the length counts characters, and no character is cut in two', () => {
  expect(oneLine('😀😀😀', 2)).toBe('😀😀')
})

test('whatever comes in is one well-formed line within the length', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.integer({ min: 1, max: 50 }), (text, longest) => {
      const line = oneLine(text, longest)
      expect(Array.from(line).length).toBeLessThanOrEqual(longest)
      expect(line).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069]/u)
      expect(line.isWellFormed()).toBe(true)
    }),
  )
})

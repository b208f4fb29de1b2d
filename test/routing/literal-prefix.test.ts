/** What an index may believe of a regular expression. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { literalPrefix } from '../../src/routing/literal-prefix.ts'

test.each([
  ['^chat/$', { text: 'chat/', complete: true, everything: false }],
  ['^chat/', { text: 'chat/', complete: false, everything: true }],
  ['^', { text: '', complete: false, everything: true }],
  ['^a\\.b/(?<c>x)$', { text: 'a.b/', complete: false, everything: false }],
  ['^ab?c', { text: 'a', complete: false, everything: false }],
  ['^a|b', { text: '', complete: false, everything: false }],
  ['chat', { text: '', complete: false, everything: false }],
  ['^\\d+', { text: '', complete: false, everything: false }],
])('%s', (source, expected) => {
  expect(literalPrefix(source)).toEqual(expected)
})

test('whatever an expression matches starts with its prefix', () => {
  const piece = fc.constantFrom(
    'a',
    'b',
    '/',
    '\\.',
    '.',
    'a?',
    'b+',
    '(?:a|b)',
    '[ab]',
    'b{2}',
    '\\w',
    '$',
    '(?<n>a)',
    '|',
  )
  const source = fc.array(piece, { maxLength: 6 }).map((pieces) => `^${pieces.join('')}`)
  const address = fc.array(fc.constantFrom('a', 'b', '/', '.'), { maxLength: 6 }).map((letters) => letters.join(''))
  fc.assert(
    fc.property(source, address, (expression, text) => {
      let compiled: RegExp
      try {
        compiled = new RegExp(expression, 'u')
      } catch {
        return
      }
      const prefix = literalPrefix(expression)
      const matches = compiled.test(text)
      if (matches) expect(text.startsWith(prefix.text)).toBe(true)
      if (prefix.complete) expect(matches).toBe(text === prefix.text)
      if (prefix.everything) expect(matches).toBe(text.startsWith(prefix.text))
    }),
    { numRuns: 3000 },
  )
})

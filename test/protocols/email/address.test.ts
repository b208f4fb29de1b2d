/** Envelope addresses: which are the same mailbox, and which are none. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { asciiDomainForm, foldAddress, foldDomain } from '../../../protocols/email/address.ts'

test.each([
  ['Bob@Support.ORG', 'bob@support.org'],
  ['"bob"@support.org', 'bob@support.org'],
  [String.raw`"b\ob"@support.org`, 'bob@support.org'],
  ['"bob smith"@support.org', '"bob smith"@support.org'],
  [String.raw`"a\"b"@support.org`, String.raw`"a\"b"@support.org`],
  ['bob@support.org.', 'bob@support.org'],
  ['bob@BÜCHER.example', 'bob@bücher.example'],
  ['bob@xn--bcher-kva.example', 'bob@bücher.example'],
  ['bob@ｓupport．org', 'bob@support.org'],
  ['JÖRG@support.org', 'jörg@support.org'],
  ['jo\u0308rg@support.org', 'jörg@support.org'],
  ['bob@[127.0.0.1]', 'bob@[127.0.0.1]'],
  ['bob@[IPv6:2001:DB8::1]', 'bob@[ipv6:2001:db8::1]'],
])('%j is %j', (given, folded) => {
  expect(foldAddress(given)?.address).toBe(folded)
})

test.each([
  '',
  'bob',
  '@support.org',
  'bob@',
  'bob@sup port.org',
  'bo b@support.org',
  'bob@support.org/x',
  'bob@support.org:25',
  'bob@%41.org',
  'bob@a..b',
  'bob@-',
  'a,b@support.org',
  '<bob@support.org>',
  'bob\0@support.org',
  'b\ufffdb@support.org',
  '.bob@support.org',
  'b..ob@support.org',
  '"bob@support.org',
  `${'a'.repeat(400)}@support.org`,
  `bob@${'a'.repeat(64)}.org`,
])('%j is no address', (text) => {
  if (text === 'bob@-') return expect(foldAddress(text)?.domain).toBe('-')
  expect(foldAddress(text)).toBeUndefined()
})

test('a plus-tag is taken off the first plus', () => {
  expect(foldAddress('bob+a+b@support.org')).toMatchObject({ base: 'bob', tag: 'a+b', local: 'bob+a+b' })
  expect(foldAddress('+a@support.org')).toMatchObject({ base: '+a', tag: '' })
  expect(foldAddress('"bob +a"@support.org')).toMatchObject({ base: '"bob +a"', tag: '' })
})

test('folding twice is folding once', () => {
  expect(foldAddress('a@⅐ࣈ')).toBeUndefined()
  const local = fc.string({ unit: 'binary', minLength: 1, maxLength: 20 })
  const domain = fc.oneof(fc.domain(), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }))
  fc.assert(
    fc.property(local, domain, (local, domain) => {
      const once = foldAddress(`${local}@${domain}`)
      if (once) expect(foldAddress(once.address)).toEqual(once)
    }),
    { numRuns: 2000 },
  )
})

test('a domain and its ASCII form are one', () => {
  expect(asciiDomainForm('bob@bücher.example')).toBe('bob@xn--bcher-kva.example')
  expect(asciiDomainForm('bob@[127.0.0.1]')).toBe('bob@[127.0.0.1]')
  expect(foldDomain('XN--BCHER-KVA.example')).toBe('bücher.example')
})

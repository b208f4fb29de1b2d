/** The signature: whatever Twilio's own package takes is taken, and nothing else. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { getExpectedTwilioSignature, validateRequest } from 'twilio/lib/webhooks/webhooks.js'
import { hasSigned } from '../../../protocols/sms/signature.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 12 })
const url = fc
  .tuple(
    fc.constantFrom('http://', 'https://', 'HTTPS://'),
    fc.constantFrom('a.example', 'A.example', '[::1]', 'user:word@a.example'),
    fc.constantFrom('', ':80', ':443', ':8080'),
    fc.constantFrom('', '/', '/sms', "/it's", '/ä'),
    fc.constantFrom('', '?', "?a=it's&b", '?a=%27', '?ä=1'),
  )
  .map((parts) => parts.join(''))

/** What somebody may have signed instead. */
const signed: Readonly<Record<string, (url: string) => string>> = {
  'as it stands': (given) => given,
  'without its port': (given) => given.replace(/:\d+(?=\/|\?|$)/, ''),
  'with a port': (given) => given.replace(/^(\w+:\/\/[^/?]*[^/?\d])(?=\/|\?|$)/, '$1:443'),
  'as a browser writes it': (given) => (URL.canParse(given) ? new URL(given).href : given),
  'of another place': () => 'https://b.example/sms',
}

test('what Twilio’s package takes for signed is taken, and nothing else', () => {
  const outcomes = new Set<boolean>()
  fc.assert(
    fc.property(
      fc.record({ url, joined: text, token: text, other: text }),
      fc.constantFrom(...Object.keys(signed)),
      fc.constantFrom('', 'token', 'joined', 'cut', 'longer', 'empty', 'latin-1'),
      ({ url: given, joined, token, other }, how, wrong) => {
        const by = wrong === 'token' ? other : token
        const params = { '': wrong === 'joined' ? other : joined }
        const right = getExpectedTwilioSignature(by, signed[how]?.(given) ?? given, params)
        const changed: Readonly<Record<string, string>> = {
          cut: right.slice(1),
          longer: `${right}=`,
          empty: '',
          'latin-1': `ÿ${right.slice(1)}`,
        }
        const signature = changed[wrong] ?? right
        const expected = validateRequest(token, signature, given, { '': joined })
        expect(hasSigned(token, { url: given, joined }, signature)).toBe(expected)
        outcomes.add(expected)
      },
    ),
    { numRuns: 1000 },
  )
  expect(outcomes).toEqual(new Set([true, false]))
})

test('a URL that cannot be parsed and is not signed as it stands is not signed', () => {
  const signature = getExpectedTwilioSignature('token', 'https://a.example/', {})
  expect(hasSigned('token', { url: 'nowhere', joined: '' }, signature)).toBe(false)
})

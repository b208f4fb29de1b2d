/** SMSFromRouter: prefixes, countries, expressions, and senders that are no numbers. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { countryOf, isE164 } from '../../../protocols/sms/phone.ts'
import { sms } from '../../../protocols/sms/protocol.ts'
import { SMSFromRouter, smsFromRouterDefinition } from '../../../protocols/sms/router.ts'
import type { SmsProtocol, SmsScope } from '../../../protocols/sms/scope.ts'
import type { Application, Step } from '../../../src/asgi/protocol.ts'

const app: Application<SmsProtocol> = async () => {}
const { phone, regex, country } = smsFromRouterDefinition.keys

function scopeOf(from: string): SmsScope {
  return { ...(sms.sampleScope(from) as SmsScope), id: '1', params: {}, route: '', state: {} }
}

/** Which rule takes this sender: its number, or undefined. */
function taken(rules: Parameters<typeof SMSFromRouter>[0], from: string): number | undefined {
  const [rule] = SMSFromRouter(rules).resolve?.(scopeOf(from))?.rules ?? []
  const route = rule && 'route' in rule ? String(rule.route) : undefined
  return route === undefined ? undefined : Number(/\[(\d+)\]/.exec(route)?.[1])
}

describe('phone', () => {
  test.each([
    ['+1', '+14155550100', true],
    ['+1415', '+14155550100', true],
    ['+14155550100', '+14155550100', true],
    ['+1416', '+14155550100', false],
    ['+1', '+442079460000', false],
    ['+1', '14155550100', false],
    ['+1', 'whatsapp:+14155550100', false],
    ['+1', '+1-415-555-0100', false],
    ['+1', '+1415555010012345', false],
    ['+1', '12345', false],
    ['+1', 'AMAZON', false],
  ])('%s takes %s: %s', (prefix, from, expected) => {
    expect(taken([{ phone: prefix, app }], from) === 0).toBe(expected)
    // What explains the rules asks each one, without the index.
    expect(phone.compile(prefix).match(from) !== undefined).toBe(expected)
  })

  test.each(['', '+', '1', '+0', '+1 415', '+1-415', '+1415*', '415', '+1234567890123456', '^\\+1'])(
    '%j is refused in words',
    (prefix) => {
      expect(() => phone.compile(prefix)).toThrow(/expected a plus sign and the first digits.*found/)
    },
  )

  test('YAML’s +1 is the number 1: the message says to write quotes', () => {
    const result = phone.schema.safeParse(1)
    expect(result.error?.issues[0]?.message).toBe('found the number 1, expected a prefix in quotes: phone: "+1"')
    expect(() => phone.compile('1415')).toThrow('write "+1415", in quotes')
  })

  test('the index finds exactly the rules that match, in file order', () => {
    const digits = fc.stringMatching(/^[12]{1,5}$/)
    const prefixes = fc.array(
      digits.map((text) => `+${text}`),
      { minLength: 1, maxLength: 12 },
    )
    const sender = fc.oneof(fc.stringMatching(/^\+[12]{2,6}$/), fc.stringMatching(/^[+12A]{1,4}$/))
    fc.assert(
      fc.property(prefixes, sender, (rules, from) => {
        const expected = isE164(from) ? rules.findIndex((prefix) => from.startsWith(prefix)) : -1
        const found = taken(
          rules.map((prefix) => ({ phone: prefix, app })),
          from,
        )
        expect(found).toBe(expected < 0 ? undefined : expected)
      }),
    )
  })

  test('every rule that calls itself total takes every address that fits its tokens', () => {
    const { tokens: cut } = smsFromRouterDefinition
    const rules = [
      phone.compile('+1'),
      phone.compile('+44'),
      country.compile('FR'),
      country.compile('US'),
      regex.compile('^'),
    ]
    const sender = fc.oneof(fc.stringMatching(/^\+(?:1|44|33)\d{2,10}$/), fc.stringMatching(/^[+\dA-Z:]{1,12}$/))
    fc.assert(
      fc.property(fc.constantFrom(...rules), sender, (rule, from) => {
        const tokens = cut(from)
        const fits = rule.tokens.every((token, index) => token === null || token === tokens[index])
        if (rule.match(from)) expect(fits).toBe(true)
        if (rule.total && fits) expect(rule.match(from)).toBeDefined()
      }),
      { numRuns: 1000 },
    )
  })
})

describe('country', () => {
  test.each([
    ['+14155550100', 'US'],
    ['+14165550100', 'CA'],
    ['+18765551234', 'JM'],
    ['+18005551234', 'US'],
    ['+15555550100', 'US'],
    ['+447700900123', 'GB'],
    ['+447911123456', 'GG'],
    ['+77011234567', 'KZ'],
    ['+79161234567', 'RU'],
    ['+33612345678', 'FR'],
    ['+3361', 'FR'],
    ['+80012345678', undefined],
    ['+999123456', undefined],
    ['12345', undefined],
    ['whatsapp:+14155550100', undefined],
  ])('%s is in %s', (from, expected) => {
    expect(countryOf(from)).toBe(expected)
    if (expected)
      expect(
        taken(
          [
            { country: 'EE', app },
            { country: expected, app },
          ],
          from,
        ),
      ).toBe(1)
  })

  test('countries that share a calling code are told apart, in file order with prefixes', () => {
    const rules = [
      { country: 'CA', app },
      { phone: '+1415', app },
      { country: 'US', app },
      { phone: '+1', app },
    ]
    expect(['+14165550100', '+14155550100', '+12125550100', '+18765551234'].map((from) => taken(rules, from))).toEqual([
      0, 1, 2, 3,
    ])
  })

  test.each([
    ['us', 'write US'],
    ['UK', 'write GB'],
    ['Germany', 'two capital letters'],
    ['', 'two capital letters'],
    ['constructor', 'two capital letters'],
  ])('%j is refused: %s', (text, hint) => expect(() => country.compile(text)).toThrow(hint))

  test('a country with a calling code of its own takes all of it; one that shares does not', () => {
    expect([country.compile('FR').total, country.compile('US').total]).toEqual([true, false])
  })
})

describe('regex', () => {
  test('sees the sender as it came, and its groups become params', () => {
    const router = SMSFromRouter([
      { regex: '^whatsapp:(?<number>.*)$', app },
      { regex: '^\\d{5}$', app },
    ])
    expect(router.resolve?.(scopeOf('whatsapp:+14155550100'))?.params).toEqual({ number: '+14155550100' })
    expect(taken([{ regex: '^\\d{5}$', app }], '12345')).toBe(0)
    expect(taken([{ regex: '^\\d{5}$', app }], '+12345')).toBeUndefined()
  })

  test('a malformed one is refused, and so is the plus sign that was meant literally', () => {
    expect(() => regex.compile('(')).toThrow(/Invalid regular expression/)
    expect(() => regex.compile('+1')).toThrow(/Nothing to repeat/)
  })

  test.each(['415', '\\+1'])('%s is not anchored: the warning names a sender that it also takes', (source) => {
    const matcher = regex.compile(source)
    const [, also = ''] = /also matches (\S+);/.exec(matcher.warning ?? '') ?? []
    expect(matcher.match(also)).toBeDefined()
    expect(also.startsWith('+415')).toBe(false)
    expect(regex.compile(`^${source}`).warning).toBeUndefined()
  })

  test('an over-long sender is not even looked at', () => {
    expect(regex.compile('^A').match('A'.repeat(300))).toBeUndefined()
  })
})

test('why each rule did or did not match is told', () => {
  const steps: Step[] = []
  SMSFromRouter([
    { phone: '+44', app },
    { country: 'CA', app },
    { regex: '^\\+1', app },
  ]).resolve?.(scopeOf('+14155550100'), (step) => steps.push(step))
  expect(steps.map(({ rule, matched }) => [rule, matched])).toEqual([
    ['SMSFromRouter phone +44', false],
    ['SMSFromRouter country CA', false],
    ['SMSFromRouter regex ^\\+1', true],
  ])
})

test.each(['', ' ', 'a\nb', ' +1415'])('explain refuses the address %j', (address) => {
  expect(() => sms.sampleScope(address)).toThrow('expected a number such as +14155550100')
})

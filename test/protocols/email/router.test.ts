/** EmailToRouter: what its rules take, what they capture, and what is said about a careless one. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Application } from '../../../src/asgi/protocol.ts'
import { EmailToRouter, emailToRouterDefinition } from '../../../protocols/email/router.ts'
import { email } from '../../../protocols/email/protocol.ts'
import type { EmailProtocol, EmailScope } from '../../../protocols/email/scope.ts'

const { regex, address, domain } = emailToRouterDefinition.keys
const nothing: Application<EmailProtocol> = async () => undefined

function scopeTo(recipient: string): EmailScope {
  return { ...email.sampleScope(recipient), id: '1', params: {}, route: '', state: {} }
}

/** Which of these rules takes the address, by number, and what it captures. */
function routed(rules: Parameters<typeof EmailToRouter>[0], recipient: string) {
  const numbered = rules.map((rule) => ({ ...rule, app: Object.assign(nothing.bind(undefined), {}) as typeof nothing }))
  const router = EmailToRouter(numbered)
  const steps: boolean[] = []
  const traced = router.resolve?.(scopeTo(recipient), (step) => steps.push(step.matched))
  const found = router.resolve?.(scopeTo(recipient))
  expect(traced).toEqual(found)
  if (!found) return undefined
  const { app } = found.rules[0] as { app: typeof nothing }
  return { rule: numbered.findIndex((rule) => rule.app === app), params: found.params }
}

test('the first rule in the order of the file wins, whatever its kind', () => {
  const rules = [
    { regex: '^vip-', app: nothing },
    { domain: 'support.org', app: nothing },
    { address: 'bob@support.org', app: nothing },
    { regex: String.raw`@support\.org$`, app: nothing },
    { address: 'ann@example.org', app: nothing },
    { domain: '*.example.org', app: nothing },
  ]
  expect(routed(rules, 'vip-1@support.org')?.rule).toBe(0)
  expect(routed(rules, 'bob@support.org')?.rule).toBe(1)
  expect(routed(rules, 'ann@example.org')?.rule).toBe(4)
  expect(routed(rules, 'x@a.b.example.org')?.rule).toBe(5)
  expect(routed(rules, 'bob@example.org')).toBeUndefined()
  expect(routed(rules, 'bob@notexample.org')).toBeUndefined()
})

describe('address', () => {
  test('is one mailbox, in any spelling and with any tag', () => {
    const rules = [{ address: 'Bob@Support.ORG', app: nothing }]
    expect(routed(rules, 'bob@support.org')?.params).toEqual({ local: 'bob', tag: '' })
    expect(routed(rules, '"BOB"@support.org')?.params).toEqual({ local: 'bob', tag: '' })
    expect(routed(rules, 'bob+x@support.org')?.params).toEqual({ local: 'bob+x', tag: 'x' })
    expect(routed(rules, 'bobby@support.org')).toBeUndefined()
    expect(routed(rules, 'bob@a.support.org')).toBeUndefined()
  })

  test('with a tag takes that tag alone', () => {
    const rules = [{ address: 'bob+x@support.org', app: nothing }]
    expect(routed(rules, 'bob+X@support.org')?.rule).toBe(0)
    expect(routed(rules, 'bob@support.org')).toBeUndefined()
    expect(routed(rules, 'bob+y@support.org')).toBeUndefined()
  })

  test('that is none is refused in words', () => {
    expect(() => address.compile('support.org')).toThrow(
      'expected an address such as help@support.org, found "support.org"',
    )
  })
})

describe('domain', () => {
  test('is exact, and *. is all that is below it', () => {
    expect(routed([{ domain: 'Support.org', app: nothing }], 'bob@support.org')?.rule).toBe(0)
    expect(routed([{ domain: 'support.org', app: nothing }], 'bob@a.support.org')).toBeUndefined()
    expect(routed([{ domain: '*.support.org', app: nothing }], 'bob@a.b.support.org')?.rule).toBe(0)
    expect(routed([{ domain: '*.support.org', app: nothing }], 'bob@support.org')).toBeUndefined()
    expect(routed([{ domain: '*.support.org', app: nothing }], 'bob@evilsupport.org')).toBeUndefined()
  })

  test('is the same in both forms of an international one', () => {
    for (const rule of ['bücher.example', 'xn--bcher-kva.example', 'BÜCHER.example']) {
      for (const to of ['bob@bücher.example', 'bob@xn--bcher-kva.example']) {
        expect(routed([{ domain: rule, app: nothing }], to)?.rule).toBe(0)
      }
    }
  })

  test('that is none is refused in words', () => {
    expect(() => domain.compile('bob@support.org')).toThrow('expected a domain')
    expect(() => domain.compile('*.*.org')).toThrow('expected a domain')
  })
})

describe('regex', () => {
  test('sees the folded address, and captures by name', () => {
    const rules = [{ regex: '^(?<queue>[a-z]+)(?<rest>x)?@Support[.]org$', app: nothing }]
    expect(routed(rules, 'Sales@SUPPORT.org')?.params).toEqual({ local: 'sales', tag: '', queue: 'sales' })
  })

  test('takes an international domain in both forms', () => {
    for (const rule of [String.raw`@bücher\.example$`, String.raw`@xn--bcher-kva\.example$`]) {
      expect(routed([{ regex: rule, app: nothing }], 'bob@bücher.example')?.rule).toBe(0)
    }
  })

  test('is found by the domain that it ends in', () => {
    expect(regex.compile(String.raw`@support\.org$`)).toMatchObject({
      tokens: ['org', 'support', '@'],
      open: true,
      total: true,
    })
    expect(regex.compile(String.raw`^help@support\.org$`)).toMatchObject({
      tokens: ['org', 'support', '@'],
      total: false,
    })
    expect(regex.compile('@support.org')).toMatchObject({ tokens: [], open: true, total: false })
  })

  test.each([
    ['@support.org', 'bob@support.org.evil.com'],
    [String.raw`@support\.org`, 'bob@support.org.evil.com'],
    ['@support.org$', 'bob@supportxorg'],
    [String.raw`support\.org$`, 'bob@evilsupport.org'],
    [String.raw`@.*support\.org$`, 'bob@evilsupport.org'],
    [String.raw`^help@support\.org`, 'help@support.org.evil.com'],
    [String.raw`@x\.org$|@y\.org`, 'bob@y.org.evil.com'],
  ])('%s warns, with %s that it also matches', (source, surprise) => {
    const matcher = regex.compile(source)
    expect(matcher.warning).toContain(surprise)
    expect(matcher.match(surprise)).toBeDefined()
  })

  test.each([
    String.raw`@support\.org$`,
    String.raw`^(?<q>[a-z]+)@(sales|help)\.example\.(com|org)$`,
    '^.+@.+$',
    '.*',
    '^help',
    String.raw`@.*\.example\.org$`,
    String.raw`@([a-z0-9-]+\.)?example\.org$`,
    String.raw`@([a-z0-9-]+\.)*example\.org$`,
    String.raw`^(?!spam)[^@]+@x\.org$`,
  ])('%s says what it means', (source) => {
    expect(regex.compile(source).warning).toBeUndefined()
  })

  test.each([
    '(a+)+$',
    '(a|a)*@',
    String.raw`^(\w+\s?)*@`,
    '(aa?)*b',
    '([a-z]+)*x',
    '.*a.*b.*c.*d',
    '(x+x+)+y',
    String.raw`(\w|\d)+@`,
  ])('%s is refused, because a short address could keep it busy', (source) => {
    expect(() => regex.compile(source)).toThrow('busy for hours')
  })

  test('that is malformed is refused by the engine', () => {
    expect(() => regex.compile('(a')).toThrow(/Unterminated group/)
    expect(() => regex.compile('*a')).toThrow(/Nothing to repeat/)
  })

  test('that is accepted answers the longest hostile address at once', () => {
    const hostile = ['a', 'a.', 'a-', '1', '.'].map((text) => `${text.repeat(300).slice(0, 300)}!`)
    for (const source of [String.raw`@([a-z0-9-]+\.)*example\.org$`, '^(?:[a-z]+[.-])*[a-z]+@x[.]org$', '^.*a.*b.*c']) {
      const matcher = regex.compile(source)
      for (const text of hostile) {
        matcher.match(`${text}@x.org`)
        matcher.match(`a@${text.slice(0, 60)}.org`)
      }
    }
  })
})

test('every address that a rule takes fits the tokens that it is filed under', () => {
  const label = fc.constantFrom('a', 'b', 'support', 'org', 'bücher')
  const domains = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'))
  const locals = fc.constantFrom('bob', 'bob+x', '"b b"', 'ann')
  const rule = fc.oneof(
    domains.map((value) => domain.compile(value)),
    domains.map((value) => domain.compile(`*.${value}`)),
    fc.tuple(locals, domains).map(([local, value]) => address.compile(`${local}@${value}`)),
    domains.map((value) => regex.compile(`@${value.replaceAll('.', String.raw`\.`)}$`)),
    domains.map((value) => regex.compile(value)),
    fc.constantFrom('@', 'o', 'bob|@a', '(?:b|^a)@', 'b', '(?!bob).*@support', '[+@]x?', 'a$').map(regex.compile),
  )
  fc.assert(
    fc.property(rule, locals, domains, (matcher, local, value) => {
      const found = `${local}@${value}`
      const tokens = emailToRouterDefinition.tokens(found)
      const fits =
        matcher.tokens.every((token, index) => token === null || token === tokens[index]) &&
        (matcher.open ? tokens.length >= matcher.tokens.length : tokens.length === matcher.tokens.length)
      const matches = matcher.match(found) !== undefined
      if (matches) expect(fits).toBe(true)
      if (matcher.total) expect(matches).toBe(fits)
      if (matcher.covers?.(tokens)) expect(matches).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

test('explaining an address that is none is an error that shows one', () => {
  expect(() => email.sampleScope('support.org')).toThrow(
    'expected an address such as help@support.org, found "support.org"',
  )
  expect(email.sampleScope('Bob+X@Support.org')).toMatchObject({ recipient: 'bob+x@support.org', tag: 'x' })
})

/** Expressions that could keep the engine busy are refused, and honest ones are not. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readExpression, type Item, type Sequence } from '../../src/routing/expression.ts'
import { compileSafely } from '../../src/routing/runaway.ts'
import { URLRouter, urlRouterDefinition } from '../../src/routing/url-router.ts'

test.each([
  '^(a+)+$',
  '(a*)*$',
  '(a|a)*@',
  '(aa|a)+$',
  '(?:a|b|ab)*c',
  String.raw`^(\w+\s?)*@`,
  String.raw`(\w|\d)+@`,
  String.raw`(\s+)+x`,
  '(aa?)*b',
  '^(a?b?)*$',
  '^([^/]+/?)+$',
  '(x+x+)+y',
  '^(?=(a+)+$)a',
  '((a{1,50}){1,50})x',
  '([Ѐ-Ӏ]+[Ӏ-ӿ]*)*x',
  String.raw`([\u0400-\u04c0]+[\u{4c0}-\u{4ff}]*)*x`,
  String.raw`^(?:(a+)\1?)+$`,
  '(?i:a+A+)+$',
])('%s is refused: the same letters, repeated, in two ways', (source) => {
  expect(() => compileSafely(source, 'u', 100)).toThrow('as in (a+)+ or (a|a)*: one text could keep it busy for hours')
})

test.each(['^(.*)a(.*)b(.*)c(.*)d$', '^.+/.+/.+$', '^(?:a|){30}$', '^(a?){64}b', '^((a+){3}){3}$', '.*a.*b$'])(
  '%s is refused for a long text: too many repetitions that share their letters',
  (source) => {
    expect(() => compileSafely(source, 'u', 8192)).toThrow('say what each may not take, as in [^/]+')
  },
)

test.each([
  '^',
  '',
  'a?',
  '^gethostbyname/(?<name>[^/]+)$',
  '^temperature/(?<room>[A-Za-z0-9_-]*)$',
  String.raw`^articles/(?<year>[0-9]{4})/(?<month>\d{1,2})/(?<slug>[\w-]+)/$`,
  String.raw`^(?<a>\d+)(?:\.(?<b>\d+))?(?:\.(?<c>\d+))?$`,
  String.raw`^files/(?<name>.+)\.(?<ext>[a-z0-9]+)$`,
  String.raw`\.(?:css|js|png|svg|ico)$`,
  String.raw`^(?!.*\.php$)(?!admin/).*$`,
  '^(?:en|de|fr)(?:/(?<page>[^/]+))?/?$',
  '^(?<path>.*)/edit$',
  '^(.+)/(.+)$',
  'chat/.*/x/.*',
  '^([^/]+/)*[^/]+$',
  '^[^/]*(?:/[^/]*)*$',
  '^[^/]+/[^/]+/[^/]+/[^/]+/[^/]+/?$',
  '^(?:a|b|c)+$',
  '^(?:[a-z]+[.-])*[a-z]+@x[.]org$',
  String.raw`@([a-z0-9-]+\.)*example\.org$`,
  '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
  String.raw`^\+1(?:415|510)\d{7}$`,
  String.raw`^(?<quote>["']).*\k<quote>$`,
  `^(?:${Array.from({ length: 100 }, (_, index) => `word${index}`).join('|')})/.*$`,
])('%s is taken', (source) => {
  expect(compileSafely(source, 'u', 8192).source).toBe(new RegExp(source, 'u').source)
})

test('what is none is refused by the engine', () => {
  expect(() => compileSafely('(a', 'u', 100)).toThrow(/Unterminated group/)
})

test('more than can be looked at is refused in words', () => {
  expect(() => compileSafely(`^(?:${'a?b'.repeat(600)})+$`, 'u', 100)).toThrow('too large an expression')
})

test('a router in code refuses as one in a file does', () => {
  expect(() => URLRouter([{ url: '^(a+)+$', app: async () => undefined }])).toThrow('busy for hours')
  expect(() => urlRouterDefinition.keys.url.compile('^(a+)+$')).toThrow('busy for hours')
})

const letter = fc.constantFrom('a', 'b', '[ab]', '.', 'c')
const { expressionText } = fc.letrec<{ expressionText: string; sequence: string; item: string; atom: string }>(
  (tie) => ({
    expressionText: fc.array(tie('sequence'), { minLength: 1, maxLength: 2 }).map((all) => all.join('|')),
    sequence: fc.array(tie('item'), { minLength: 1, maxLength: 3 }).map((all) => all.join('')),
    item: fc.tuple(tie('atom'), fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}')).map((pair) => pair.join('')),
    atom: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      letter,
      tie('expressionText').map((text) => `(?:${text})`),
    ),
  }),
)

test('what is taken needs no more steps than a square, as an engine that goes back counts them', () => {
  const word = fc
    .tuple(fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 3 }), fc.constantFrom('', 'c', 'd'))
    .map(([unit, end]) => unit.join('').repeat(28 / unit.length) + end)
  let taken = 0
  fc.assert(
    fc.property(expressionText, word, (text, subject) => {
      const source = `^(?:${text})$`
      let expression: RegExp
      try {
        expression = compileSafely(source, 'u', 8192)
      } catch {
        return
      }
      taken++
      const { found, steps } = backtrack(readExpression(source), subject, 100_000_000)
      expect(found).toBe(expression.test(subject))
      if (steps < 100_000) return
      // Counts within counts have many ways, and no more of them in a longer text.
      const longer = subject.replace(/^[ab]+/, '$&$&')
      expect(backtrack(readExpression(source), longer, 8 * steps).steps).toBeLessThan(8 * steps)
    }),
    { numRuns: 3000 },
  )
  expect(taken).toBeGreaterThan(500)
})

/** A matcher as the engine's, which counts what it tries. */
function backtrack(
  alternatives: readonly Sequence[],
  subject: string,
  most: number,
): { found: boolean; steps: number } {
  let steps = 0
  type Rest = (at: number) => boolean
  const choice = (all: readonly Sequence[], at: number, rest: Rest): boolean =>
    all.some((sequence) => inOrder(sequence, at, rest))
  const inOrder = ([first, ...others]: Sequence, at: number, rest: Rest): boolean =>
    first ? repeated(first, at, (next) => inOrder(others, next, rest)) : rest(at)
  const repeated = ({ atom, min, max }: Item, at: number, rest: Rest): boolean => {
    if (++steps > most) return true
    const again = (next: number) =>
      min === 0 && next === at ? false : repeated({ atom, min: Math.max(0, min - 1), max: max - 1 }, next, rest)
    if (max > 0 && once(atom, at, again)) return true
    return min === 0 && rest(at)
  }
  const once = (atom: Item['atom'], at: number, rest: Rest): boolean => {
    if (atom.kind === 'group') return choice(atom.alternatives, at, rest)
    if (atom.kind === 'start') return at === 0 && rest(at)
    if (atom.kind === 'end') return at === subject.length && rest(at)
    const fits =
      at < subject.length && new RegExp(`^${'source' in atom ? atom.source : '.'}$`, 'u').test(subject[at] ?? '')
    return fits && rest(at + 1)
  }
  const found = choice(alternatives, 0, () => true)
  return { found, steps }
}

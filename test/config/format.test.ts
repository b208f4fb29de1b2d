/** How a mistake is printed: place, words, line, caret. */
import { expect, test } from '@jest/globals'
import { formatDiagnostic, pathText, type Diagnostic } from '../../src/config/diagnostics.ts'
import { Source } from '../../src/config/source.ts'
import { didYouMean } from '../../src/config/suggest.ts'

const diagnostic = (over: Partial<Diagnostic>): Diagnostic => ({
  severity: 'error',
  file: 'config/gateway.yaml',
  line: 3,
  column: 5,
  path: 'listen.http',
  message: 'found one thing, expected another',
  source: '    http: nonsense',
  ...over,
})

test('the place, the path and the words, then the line with a caret below the place', () => {
  expect(formatDiagnostic(diagnostic({}))).toBe(
    [
      'config/gateway.yaml:3:5  listen.http  found one thing, expected another',
      '  3 |     http: nonsense',
      '    |     ^',
    ].join('\n'),
  )
})

test('a mistake of the document itself has no path, and a warning says that it is one', () => {
  expect(formatDiagnostic(diagnostic({ path: '', line: 12 })).split('\n')).toEqual([
    'config/gateway.yaml:12:5  found one thing, expected another',
    '  12 |     http: nonsense',
    '     |     ^',
  ])
  expect(formatDiagnostic(diagnostic({ severity: 'warning' }))).toMatch(/ {2}listen\.http {2}warning: found one thing/)
})

test('the caret stands below the place also behind tabs', () => {
  const [, line, caret] = formatDiagnostic(diagnostic({ source: '\t\thttp: x', column: 3 })).split('\n')
  expect(line).toBe('  3 | \t\thttp: x')
  expect(caret).toBe('    | \t\t^')
})

test('of a long line, what is around the place is shown', () => {
  const source = `${'a'.repeat(1000)}HERE${'b'.repeat(1000)}`
  const [, line = '', caret = ''] = formatDiagnostic(diagnostic({ source, column: 1001 })).split('\n')
  expect(line.length).toBeLessThan(180)
  expect(line.slice(caret.indexOf('^')).startsWith('HERE')).toBe(true)
})

test('a path reads like code', () => {
  expect(pathText(['application', 'URLRouter', 0, 'url'])).toBe('application.URLRouter[0].url')
  expect(pathText([])).toBe('')
})

test('a line is shown without what a terminal would obey', () => {
  const source = new Source('a.yaml', 'a: "\u001b[31mred\u009b0m"\r\nb: 1\n')
  expect(source.line(1)).toBe('a: "·[31mred·0m"')
  expect(source.line(2)).toBe('b: 1')
  expect(source.line(3)).toBe('')
})

test.each([
  ['adress', ['address', 'tls'], '; did you mean "address"?'],
  ['URLRuoter', ['URLRouter', 'TopicRouter'], '; did you mean "URLRouter"?'],
  ['HTTP', ['http'], '; did you mean "http"?'],
  ['fax', ['http', 'mqtt', 'email'], ''],
  ['x', ['y'], ''],
])('%s among %j%s', (found, known, expected) => {
  expect(didYouMean(found, known)).toBe(expected)
})

/** Whatever is in the file, it is read without an exception, and every mistake has a place in it. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { formatDiagnostic } from '../../src/config/diagnostics.ts'
import { loadText } from '../support/config-text.ts'

async function isPlaced(text: string): Promise<void> {
  const lines = text.split('\n')
  const { diagnostics, config } = await loadText(text)
  if (!config) expect(diagnostics.some(({ severity }) => severity === 'error')).toBe(true)
  for (const diagnostic of diagnostics) {
    const { line, column, message } = diagnostic
    expect(line).toBeGreaterThanOrEqual(1)
    expect(line).toBeLessThanOrEqual(lines.length)
    expect(column).toBeGreaterThanOrEqual(1)
    expect(column).toBeLessThanOrEqual((lines[line - 1] ?? '').length + 1)
    expect(message).not.toBe('')
    expect(message).not.toContain('\n')
    expect(formatDiagnostic(diagnostic)).toContain(`gateway.yaml:${line}:${column}`)
  }
}

test('any text', async () => {
  await fc.assert(fc.asyncProperty(fc.string({ maxLength: 200, unit: 'grapheme' }), isPlaced), {
    numRuns: 300,
    examples: [['!'], ['! a'], ['!!'], ['!<a> b'], ['%TAG ! x\n--- !a b']],
  })
})

const pieces = [
  'listen',
  'application',
  'http',
  'mqtt',
  'address',
  'ProtocolTypeRouter',
  'URLRouter',
  'TopicRouter',
  'accessLog',
  'app',
  'url',
  'topic',
  'data',
  'log',
  ': ',
  ':',
  '\n',
  '\n  ',
  '\n    ',
  '\n- ',
  '\t',
  ' ',
  '- ',
  '{',
  '}',
  '[',
  ']',
  ', ',
  '"',
  "'",
  '&a ',
  '*a',
  '! ',
  '!x ',
  '!!str ',
  '|\n  ',
  '>-\n',
  '#',
  ' # ',
  '---\n',
  '...\n',
  '%YAML 1.2\n',
  '127.0.0.1:0',
  '1',
  'null',
  '~',
  'true',
  '^',
  '(',
  './handlers.ts#site',
  './throws.ts#x',
  'zod#z',
  '${A}',
  '${A:-b}',
  '${',
  '$${',
  '\\',
  '\r\n',
  '\u0000',
  '\u2028',
  '🦊',
  '<<',
  '? ',
  '__proto__',
]

test('any text that looks like YAML', async () => {
  const text = fc.array(fc.constantFrom(...pieces), { maxLength: 60 }).map((parts) => parts.join(''))
  await fc.assert(fc.asyncProperty(text, isPlaced), { numRuns: 500 })
})

test('any document of the right kind, with anything in it', async () => {
  const scalar = fc.oneof(
    fc.constantFrom('^', '/a', 'a/#', '+1', './handlers.ts#site', './handlers.ts#nobody', 'nobody', ''),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.string({ maxLength: 8 }),
  )
  const key = fc.constantFrom(
    'http',
    'mqtt',
    'websocket',
    'sms',
    'ProtocolTypeRouter',
    'URLRouter',
    'TopicRouter',
    'SMSFromRouter',
    'accessLog',
    'timeout',
    'app',
    'url',
    'path',
    'topic',
    'phone',
    'after',
    './handlers.ts#greeting',
    './handlers.ts#lastLetterRouter',
    'toString',
    '__proto__',
  )
  const { tree } = fc.letrec<{ tree: unknown; leaf: unknown }>((tie) => ({
    leaf: scalar,
    tree: fc.oneof(
      { maxDepth: 5 },
      tie('leaf'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(key, tie('tree'), { maxKeys: 3 }),
    ),
  }))
  // JSON is YAML.
  const text = fc.record({ listen: tree, application: tree }).map((document) => JSON.stringify(document, undefined, 1))
  await fc.assert(fc.asyncProperty(text, isPlaced), { numRuns: 500 })
})

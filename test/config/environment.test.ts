/** Variables are filled in wherever a string stands, and what they hold is never shown. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { formatDiagnostic } from '../../src/config/diagnostics.ts'
import { substitute } from '../../src/config/environment.ts'
import { loadText, mistakes, withTop } from '../support/config-text.ts'

const name = fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/)

describe('substitution', () => {
  test.each([
    ['plain', {}, 'plain'],
    ['${A}', { A: 'x' }, 'x'],
    ['<${A}:${B}>', { A: 'x', B: 'y' }, '<x:y>'],
    ['${A:-z}', {}, 'z'],
    ['${A:-z}', { A: '' }, 'z'],
    ['${A}', { A: '' }, ''],
    ['${A:-}', {}, ''],
    ['${A:-http://127.0.0.1:8000}', {}, 'http://127.0.0.1:8000'],
    ['$${A}', { A: 'x' }, '${A}'],
    ['$5 and {A}', {}, '$5 and {A}'],
    ['${A}', { A: '${B}', B: 'not again' }, '${B}'],
  ])('%s with %j is %s', (text, environment, expected) => {
    expect(substitute(text, environment)).toMatchObject({ value: expected, missing: [], malformed: [] })
  })

  test('what is not set, and what is no variable, is named', () => {
    expect(substitute('${A} ${B:-b} ${C}', { C: 'c' })).toMatchObject({ missing: ['A'], used: ['C'] })
    expect(substitute('${1} ${A-b} ${', {}).malformed).toEqual(['${1}', '${A-b}', '${'])
  })

  test('names that every object has are not set', () => {
    expect(substitute('${constructor} ${__proto__}', {}).missing).toEqual(['constructor', '__proto__'])
  })

  test('any text comes back as it was when its ${ are escaped', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('$', '{', '}', 'A', ':', '-', ' ') }), (text) => {
        expect(
          substitute(
            text.replaceAll('${', () => '$${'),
            { A: 'wrong' },
          ).value,
        ).toBe(text)
      }),
    )
  })

  test('any value of any variable arrives as it is, between any neighbours', () => {
    const neighbour = fc.string().map((text) => text.replaceAll('$', ''))
    fc.assert(
      fc.property(name, fc.string(), neighbour, neighbour, (variable, value, before, after) => {
        const text = `${before}\${${variable}}${after}`
        expect(substitute(text, { [variable]: value }).value).toBe(`${before}${value}${after}`)
      }),
    )
  })
})

describe('in a file', () => {
  test('a variable stands for any setting, whatever its type', async () => {
    const text = [
      'listen:',
      '  http: { address: "${HTTP}", maxBody: "${SIZE:-2MiB}" }',
      '  mqtt: { anonymous: \'${ANONYMOUS}\', clients: "${CLIENTS}", level: ${LEVEL-AS-TEXT} }'.replace(
        '${LEVEL-AS-TEXT}',
        'high',
      ),
      'data: ${DATA:-./data}/here',
      'log:',
      '  level: ${LOG:-info}',
      'application: ./handlers.ts#site',
    ].join('\n')
    const { config, diagnostics } = await loadText(text, {
      HTTP: '127.0.0.1:99',
      ANONYMOUS: 'true',
      CLIENTS: '7',
      LOG: 'debug',
    })
    expect(diagnostics).toEqual([])
    expect(config?.listen).toEqual({
      http: { address: { host: '127.0.0.1', port: 99 }, maxBody: 2 * 1024 * 1024, timeout: 30_000 },
      mqtt: { address: { host: '127.0.0.1', port: 1883 }, anonymous: true, clients: 7, level: 'high' },
    })
    expect(config?.data).toBe(`${config?.base}/data/here`)
    expect(config?.log.level).toBe('debug')
  })

  test('a variable without a value or a default is reported where it stands', async () => {
    expect(await mistakes(withTop('listen: { http: { address: "on ${HOST}:${PORT}" } }'))).toEqual([
      '1:32 listen.http.address found ${HOST}, which is not set, expected a value in the environment, or ${HOST:-default}',
      '1:40 listen.http.address found ${PORT}, which is not set, expected a value in the environment, or ${PORT:-default}',
    ])
  })

  test('what only looks like a variable is reported', async () => {
    expect(await mistakes(withTop('listen: { http: }', 'data: "${a b}"'))).toEqual([
      '2:8 data found "${a b}", expected ${NAME} or ${NAME:-default}; a plain ${ is written $${',
    ])
  })
})

describe('what a variable holds is in no error', () => {
  /** Every place that can complain about a value, with the value in it. */
  const document = [
    'listen:',
    '  http: { address: "${SECRET}", maxBody: "${SECRET}", timeout: "1 ${SECRET}", tls: { cert: "${SECRET}", key: "/${SECRET}" } }',
    '  mqtt: { anonymous: "${SECRET}", clients: "${SECRET}", level: "${SECRET}" }',
    '  sms: { provider: { twilio: { authToken: "${SECRET}", publicUrl: "${SECRET}" } } }',
    '  email: "${SECRET}"',
    'data: ["${SECRET}"]',
    'log: { level: "${SECRET}" }',
    'closeTimeout: "${SECRET}"',
    'application:',
    '  ProtocolTypeRouter:',
    '    http:',
    '      URLRouter:',
    '        - { url: "(${SECRET}", app: "${SECRET}" }',
    '        - { path: "${SECRET}", app: "./${SECRET}#site" }',
    '        - { url: "${SECRET}", app: "./handlers.ts#${SECRET}" }',
    '        - { url: "${SECRET}", app: { accessLog: { level: "${SECRET}", app: ./handlers.ts#site } } }',
    '    websocket: { ./handlers.ts#throwsAtOnce: { greeting: "${SECRET}", app: "${SECRET}#site" } }',
    '    mqtt: { TopicRouter: [{ topic: "${SECRET}/#/a", app: ./handlers.ts#site }] }',
    '    sms: { SMSFromRouter: [{ phone: "${SECRET}", app: "zod/${SECRET}#site" }] }',
    '',
  ].join('\n')

  async function shown(secret: string): Promise<string> {
    const { diagnostics } = await loadText(document, { SECRET: secret })
    expect(diagnostics.length).toBeGreaterThan(15)
    return diagnostics.map((diagnostic) => formatDiagnostic(diagnostic)).join('\n')
  }

  test.each(['hunter2-s3cr3t', 'Xyzzy', '+49hunter2', 'a#HuntEr2', 'https://u:hunter2@h/(', './hunter2.ts#hunter2'])(
    'for example %s',
    async (secret) => {
      const text = await shown(secret)
      expect(text.toLowerCase()).not.toContain(secret.toLowerCase())
      expect(text).not.toMatch(/hunter2/i)
    },
  )

  test('nor is any other', async () => {
    const secret = fc.stringMatching(/^[QXZ]{2}[!-~]{3,20}[QXZ]{2}$/)
    await fc.assert(
      fc.asyncProperty(secret, async (value) => {
        expect(await shown(value)).not.toContain(value)
      }),
      { numRuns: 40 },
    )
  })

  test("nor in one that somebody else's code wrote", async () => {
    const text =
      'listen: { http: }\napplication: { ./handlers.ts#throwsItsOptions: { greeting: "${SECRET}", app: ./handlers.ts#site } }\n'
    expect(await mistakes(text, { SECRET: 'hunter2' })).toEqual([
      '2:16 application../handlers.ts#throwsItsOptions found ./handlers.ts#throwsItsOptions, which throws: cannot greet with ${SECRET}, expected an application',
    ])
  })

  test('a secret that stands in the file itself is blanked out of the line that is shown', async () => {
    const text = withTop(
      'listen:',
      '  sms: { provider: { twilio: { authToken: hunter2-in-the-file, publicUrl: here, password: [hunter3] } } }',
      '  http: { secret_key: "hunter4", adress: 1 }',
      '  mqtt: { token: "${T:-hunter5}", adress: 1 }',
      '  email: { address: "smtp://me:hunter6@example.org" }',
    )
    const { diagnostics } = await loadText(text)
    const all = diagnostics.map((diagnostic) => formatDiagnostic(diagnostic)).join('\n')
    expect(all).not.toMatch(/hunter/)
    expect(all).toContain('authToken: *******************, publicUrl: here')
  })

  test('nor is one in a file that is no YAML at all', async () => {
    const { diagnostics } = await loadText('listen: { sms: { authToken: hunter2, "password": "hunter3" ]\n')
    expect(diagnostics.map((diagnostic) => formatDiagnostic(diagnostic)).join('\n')).not.toMatch(/hunter/)
  })
})

/** What the log writes, and what it keeps to itself. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { logTo, type LogLevel } from '../../src/runtime/log.ts'
import { redactLine } from '../../src/runtime/redact.ts'
import { run } from '../support/child.ts'

/** One line, as an object again. */
function written(level: LogLevel, write: (log: ReturnType<typeof logTo>) => void): Record<string, unknown> {
  const lines: string[] = []
  write(logTo({ write: (line: string) => void lines.push(line) }, level))
  expect(lines).toHaveLength(1)
  return JSON.parse(lines[0] ?? '') as Record<string, unknown>
}
const info = (fields: object, message = 'said') => written('info', (log) => log.info(fields, message))

describe('secrets are not written', () => {
  test.each([
    ['password', { password: 'hunter2' }],
    ['a deep one', { options: { users: [{ name: 'kitchen', Password: 'hunter2' }] } }],
    ['a token that is a list', { provider: { authToken: ['hunter2', 'hunter22'] } }],
    ['a token that is a number', { token: 4711.2 }],
    ['headers as an object', { headers: { Authorization: 'Bearer hunter2', 'set-cookie': 'id=hunter2' } }],
    [
      'headers as pairs',
      {
        headers: [
          ['cookie', 'id=hunter2'],
          ['host', 'a'],
        ],
      },
    ],
    ['a quote in it', { secret: 'hunter2"hunter2\\' }],
    ['credentials in a URL', { relay: 'smtp://user:hunter2@mail.example.org:587' }],
    ['one in a sentence', { why: 'the answer to password=hunter2 was no' }],
    ['one in a query', { why: '/login?user=ann&secret-token=hunter2&x=1' }],
    ['one in quotes', { payload: '{"name":"kitchen","api_key":"hunter2"}', note: "Password: 'hunter2'" }],
    ['a header in a sentence', { why: 'sent Authorization: Basic aHVudGVyMg== and was refused' }],
  ])('%s', (_, fields) => {
    for (const level of ['info', 'debug'] as const) {
      const line = JSON.stringify(written(level, (log) => log[level](fields, 'said')))
      expect(line).not.toMatch(/hunter2|4711|aHVudGVyMg/)
      expect(line).toContain('…')
    }
  })

  test('nor is what a library hangs on its errors', () => {
    const error = Object.assign(new TypeError('refused', { cause: new Error('inner') }), {
      code: 'EAUTH',
      config: { auth: ['hunter2'] },
      request: { raw: 'hunter2' },
    })
    const { err } = info({ err: error })
    expect(err).toMatchObject({ type: 'TypeError', message: 'refused', code: 'EAUTH', cause: { message: 'inner' } })
    expect(Object.keys(err as object)).toEqual(['type', 'message', 'stack', 'code', 'cause'])
  })
})

describe('above debug', () => {
  test.each([
    ['+14155550100', '+1…00'],
    ['sms to +491701234567: no rule', 'sms to +4…67: no rule'],
    ['Call\n+491701234567', 'Call\n+4…67'],
    ['bob.smith+tag@support.org', 'b…@support.org'],
    ['550 <bob@support.org>: no such user', '550 <b…@support.org>: no such user'],
    ['first\nbob@localhost\u0000ann@b\u00fccher.de', 'first\nb…@localhost\u0000a…@b\u00fccher.de'],
  ])('%j is %j', (said, shown) => {
    expect(info({ address: said, list: [said] }, said)).toMatchObject({ address: shown, list: [shown], msg: shown })
    expect(written('debug', (log) => log.debug({ address: said }, said))).toMatchObject({ address: said, msg: said })
  })

  test.each(['2026-11-22T14:55:46+0200', '1e+21', 'a+1', '127.0.0.1', '<id.1@mail.example.org>'])(
    '%j stays',
    (value) => {
      expect(info({ messageId: value })['messageId']).toBe(value)
    },
  )
})

test('whatever is logged, the line stays one of JSON, with the same keys', () => {
  const anything = fc.record({
    address: fc.oneof(fc.string({ unit: 'binary' }), fc.emailAddress()),
    text: fc.stringMatching(/^([\\"\u0000-\u001f@a.+0-9u]|password|:|=|'|,|\[|\])*$/),
    name: fc.constantFrom('password', 'cookie', 'ann'),
    list: fc.array(fc.oneof(fc.constant('password'), fc.string(), fc.emailAddress(), fc.integer())),
    password: fc.oneof(fc.string({ unit: 'binary' }), fc.double({ noNaN: true }), fc.array(fc.string())),
  })
  fc.assert(
    fc.property(anything, (fields) => {
      expect(
        Object.keys(info(fields))
          .filter((key) => key in fields)
          .toSorted(),
      ).toEqual(Object.keys(fields).toSorted())
    }),
    { numRuns: 1000 },
  )
})

test.each<[string, unknown]>([
  ['an object without a prototype', Object.assign(Object.create(null), { year: '2026' })],
  ['an object that cannot be written', { toJSON: fail }],
  ['an error whose message throws', Object.defineProperty(new Error('x'), 'message', { get: fail })],
  ['an error whose name is no text', Object.assign(new Error('x'), { name: Symbol('x') })],
  ['an error with a cause that throws', new Error('x', { cause: new Proxy({}, { get: fail, ownKeys: fail }) })],
  ['a number that JSON does not have', 1n],
])('%s is logged, and throws nothing', (_, err) => {
  expect(info({ err }, 'nobody caught')).toMatchObject({ msg: 'nobody caught' })
})

test('a long line costs little more than a short one', () => {
  const line = JSON.stringify({ level: 30, text: 'x'.repeat(100_000), more: 'a@'.repeat(50_000) })
  const start = process.cpuUsage().user
  redactLine(line)
  // Far above what it takes: what is not linear would need minutes.
  expect(process.cpuUsage().user - start).toBeLessThan(2_000_000)
})

test('on a terminal an entry is one line for a person', async () => {
  const script = `
    const { createLog } = await import('./src/runtime/log.ts')
    const log = await createLog({ level: 'info', pretty: true })
    log.info({ protocol: 'http', address: '/nope' }, 'no rule takes this address')`
  const { error } = await run('--input-type=module', ['-e', script], { environment: { NO_COLOR: '1' } })
  expect(error).toMatch(
    /^\[\d\d:\d\d:\d\d\] INFO: no rule takes this address \{"protocol":"http","address":"\/nope"\}\n$/,
  )
})

function fail(): never {
  throw new Error('a trap')
}

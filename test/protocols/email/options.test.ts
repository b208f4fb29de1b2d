/** The options of `listen.email`. */
import { expect, test } from '@jest/globals'
import { z } from 'zod'
import { emailOptions } from '../../../protocols/email/options.ts'

const problems = (options: unknown) =>
  (emailOptions.safeParse(options).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)

test('everything has a default, closed to the outside', () => {
  const { perAddress, ...options } = emailOptions.parse({})
  expect(options).toEqual({
    address: { host: '127.0.0.1', port: 2525 },
    secure: false,
    maxSize: 25 * 1024 * 1024,
    maxSpool: 128 * 1024 * 1024,
    maxRecipients: 100,
    maxClients: 1000,
    maxErrors: 20,
    maxHops: 50,
    commandTimeout: 300_000,
    dataTimeout: 600_000,
    dataWindow: 60_000,
    dataRate: 16,
    handlerTimeout: 30_000,
    bareNewlines: 'reject',
    dedupe: true,
    dedupeWindow: 86_400_000,
    relayAttempts: 60,
    relayBackoff: 2000,
    replies: { limit: 10, window: 10_800_000 },
  })
  expect(perAddress).toMatchObject({ clients: 20, connectionsPerMinute: 120, messagesPerMinute: 300 })
  expect([
    perAddress.exempt.check('127.0.0.1'),
    perAddress.exempt.check('::1', 'ipv6'),
    perAddress.exempt.check('10.0.0.1'),
  ]).toEqual([true, true, false])
})

test.each([
  ['smtp://mail.example.org', { host: 'mail.example.org', port: 587, secure: false, user: '', password: '' }],
  ['smtps://us%40er:p%3Aw@mail.example.org', { port: 465, secure: true, user: 'us@er', password: 'p:w' }],
  ['smtp://[::1]:2526', { host: '::1', port: 2526 }],
  [
    { host: 'mail.example.org', port: '25', verifyTls: 'false' },
    { host: 'mail.example.org', port: 25, verifyTls: false },
  ],
])('the relay %j', (relay, expected) => {
  expect(emailOptions.parse({ relay }).relay).toMatchObject(expected)
})

test.each<[unknown, RegExp]>([
  [{ secure: true }, /secure: expected tls/],
  [{ maxSpool: '1MiB' }, /maxSpool: expected at least maxSize/],
  [{ hostname: 'not a host' }, /hostname: expected a host name/],
  [{ bareNewlines: 'keep' }, /bareNewlines: /],
  [{ perAddress: { exempt: ['10.0.0.0/33'] } }, /perAddress\.exempt\.0: expected an address or a network/],
  [{ maxSize: 25 }, /maxSize: found 25, expected a size/],
  [{ smtp: true }, /Unrecognized key/],
])('%j is a mistake', (options, message) => {
  expect(problems(options).join('\n')).toMatch(message)
})

test('a relay that is none is a mistake, and its password is not in the message', () => {
  const found = problems({ relay: 'http://user:secret@mail.example.org' }).join('\n')
  expect(JSON.stringify(emailOptions.safeParse({ relay: 'http://user:secret@mail.example.org' }).error)).not.toContain(
    'secret',
  )
  expect(found).not.toBe('')
})

test('they have a JSON Schema, with a description of each', () => {
  const schema = z.toJSONSchema(emailOptions, { io: 'input', unrepresentable: 'any' })
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    expect([name, Object(property).description]).toEqual([name, expect.stringMatching(/\.$|:\d+$/)])
  }
})

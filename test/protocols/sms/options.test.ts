/** The settings below `listen.sms`: defaults, mistakes, and what is refused off loopback. */
import { describe, expect, test } from '@jest/globals'
import { z } from 'zod'
import { refuseSms, smsOptions } from '../../../protocols/sms/options.ts'

const twilio = { authToken: 'a secret token', publicUrl: 'https://gateway.example.org' }
const parse = (options: object) => smsOptions.safeParse({ provider: { twilio }, ...options })
const parseTwilio = (more: object) => smsOptions.safeParse({ provider: { twilio: { ...twilio, ...more } } })

test('all that need not be written has a default', () => {
  expect(parse({}).data).toEqual({
    path: '/sms',
    provider: {
      twilio: { authToken: ['a secret token'], publicUrl: 'https://gateway.example.org', attempts: 12, backoff: 1000 },
    },
    replyTimeout: 10_000,
    handlerTimeout: 60_000,
    maxBodySize: 65_536,
    bodyTimeout: 5_000,
    dedupeWindow: 86_400_000,
  })
})

test('what an unset variable leaves empty is not set', () => {
  const { data } = parseTwilio({ accountSid: '', messagingServiceSid: '', apiUrl: '' })
  expect(data?.provider.twilio).toMatchObject({
    accountSid: undefined,
    messagingServiceSid: undefined,
    apiUrl: undefined,
  })
})

test('the public URL stays as it was written, but for the slash at its end', () => {
  expect(parseTwilio({ publicUrl: 'https://Gateway.example.org:443/Hooks/' }).data?.provider.twilio.publicUrl).toBe(
    'https://Gateway.example.org:443/Hooks',
  )
})

test.each([
  [{ path: 'sms' }],
  [{ path: '/sms/' }],
  [{ path: '/sms?x' }],
  [{ replyTimeout: '15s' }],
  [{ replyTimeout: '10' }],
  [{ maxBodySize: 100 }],
  [{ adress: '127.0.0.1:1' }],
  [{ provider: {} }],
  [{ provider: { vonage: {} } }],
])('%j is a mistake', (options) => expect(parse(options).success).toBe(false))

test.each([
  [{ authToken: '' }],
  [{ authToken: [] }],
  [{ authToken: ['a secret token', ''] }],
  [{ authToken: 5 }],
  [{ publicUrl: 'gateway.example.org' }],
  [{ publicUrl: 'ftp://gateway.example.org' }],
  [{ publicUrl: 'https://gateway.example.org/?x=1' }],
  [{ publicUrl: 'https://user:a secret token@gateway.example.org' }],
  [{ accountSid: 'SK0123456789abcdef0123456789abcdef' }],
  [{ accountSid: 'AC1' }],
  [{ messagingServiceSid: 'MG1' }],
  [{ apiUrl: 'api' }],
  [{ attempts: 0 }],
])('twilio: %j is a mistake, and no message repeats the token', (more) => {
  const { success, error } = parseTwilio(more)
  expect(success).toBe(false)
  expect(JSON.stringify(error?.issues)).not.toContain('secret')
})

test('the schema can be written as JSON Schema', () => {
  const schema = z.toJSONSchema(smsOptions, { unrepresentable: 'any', io: 'input' })
  expect(schema.required).toEqual(['provider'])
  expect(Object.keys(schema.properties ?? {})).toContain('dedupeWindow')
})

describe('off loopback', () => {
  const refusals = (host: string, more: object = {}, own?: string) => {
    const options = smsOptions.parse({ provider: { twilio: { ...twilio, ...more } }, ...(own && { address: own }) })
    return refuseSms(options, { http: { address: { host, port: 8000 } } })
  }

  test('the development token and a plain http URL are refused, each with what to write', () => {
    const found = refusals('0.0.0.0', { authToken: 'development', publicUrl: 'http://gateway.example.org' })
    expect(found.map(({ path }) => path.join('.'))).toEqual(['provider.twilio.authToken', 'provider.twilio.publicUrl'])
    expect(found[0]?.message).toMatch(/0\.0\.0\.0:8000.*set authToken to the account's own/)
    expect(found[1]?.message).toMatch(/write an https:\/\/ URL/)
  })

  test('the development token is refused in a list too', () => {
    expect(refusals('192.0.2.1', { authToken: ['a secret token', 'development'] })).toHaveLength(1)
  })

  test('nothing is said of a token and URL that are safe, nor of loopback', () => {
    expect(refusals('0.0.0.0')).toEqual([])
    const unsafe = { authToken: 'development', publicUrl: 'http://127.0.0.1:8000' }
    expect(refusals('127.0.0.1', unsafe)).toEqual([])
    expect(refusals('0.0.0.0', unsafe, '127.0.0.1:9000')).toEqual([])
    expect(refusals('127.0.0.1', unsafe, '0.0.0.0:9000')).toHaveLength(2)
  })
})

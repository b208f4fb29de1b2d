/** What an application sends: in the webhook's answer while there is time, by the REST interface after that. */
import { describe, expect, test } from '@jest/globals'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { inspect } from 'node:util'
import type { SmsProtocol } from '../../../protocols/sms/scope.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { pass, stopTime } from '../../support/time.ts'
import { held, message, ours, person, publicUrl, sending, startRest, startSms, token, twiml } from './support.ts'

const replying =
  (...bodies: string[]): Application<SmsProtocol> =>
  async (_scope, receive, send) => {
    await receive()
    for (const body of bodies) await send({ type: 'sms.reply', body })
  }

describe('in time', () => {
  test('several replies go into one answer, in order', async () => {
    await using sms = await startSms(replying('one', 'two', 'three'))
    const { body } = await sms.post(message('a'))
    expect(body).toBe(twiml('<Message>one</Message><Message>two</Message><Message>three</Message>'))
  })

  test('a reply may bring media, with a text or alone', async () => {
    await using sms = await startSms(async (_scope, receive, send) => {
      await receive()
      await send({ type: 'sms.reply', body: 'look', media: ['https://example.org/a.png?x=1&y=2'] })
      await send({ type: 'sms.reply', body: '', media: ['https://example.org/b.png'] })
    })
    const { body } = await sms.post(message('a'))
    expect(body).toBe(
      twiml(
        '<Message><Body>look</Body><Media>https://example.org/a.png?x=1&amp;y=2</Media></Message>' +
          '<Message><Media>https://example.org/b.png</Media></Message>',
      ),
    )
  })

  test('an application that says nothing, or does not even look, is answered for with an empty response', async () => {
    await using silent = await startSms(replying())
    expect((await silent.post(message('a'))).body).toBe(twiml(''))
    await using blind = await startSms(async () => {})
    expect((await blind.post(message('a'))).body).toBe(twiml(''))
    expect(blind.failed).toEqual([])
  })

  test('control characters, which XML cannot carry, are left out', async () => {
    await using sms = await startSms(replying('a\u0000b\u0007c\td\r\ne\ud800f'))
    expect((await sms.post(message('a'))).body).toBe(twiml('<Message>abc\td\ne\ufffdf</Message>'))
  })
})

describe('late', () => {
  test('at the deadline the webhook is answered, and what comes later goes by REST with the account’s own credentials', async () => {
    await using rest = await startRest()
    const { go, application } = held(async (send) => {
      await send({ type: 'sms.reply', body: 'late', media: ['https://example.org/a.png'] })
    })
    await using sms = await startSms(application, { twilio: rest.twilio, options: { replyTimeout: '50ms' } })
    const { status, body } = await sms.post(message('a'))
    expect([status, body]).toEqual([200, twiml('')])
    go()
    const call = await rest.next()
    expect(call.url).toBe(`/2010-04-01/Accounts/${rest.twilio.accountSid}/Messages.json`)
    expect(call.authorization).toBe(`Basic ${btoa(`${rest.twilio.accountSid}:${token}`)}`)
    expect(Object.fromEntries(call.form)).toEqual({
      From: ours,
      To: person,
      Body: 'late',
      MediaUrl: 'https://example.org/a.png',
      StatusCallback: `${publicUrl}/sms/status`,
    })
    await sms.idle()
    expect(sms.failed).toEqual([])
  })

  test('what was said before the deadline is in the answer, the rest is not said twice', async () => {
    stopTime()
    await using rest = await startRest()
    const said = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    await using sms = await startSms(
      async (_scope, receive, send) => {
        await receive()
        await send({ type: 'sms.reply', body: 'early' })
        said.resolve()
        await go.promise
        await send({ type: 'sms.reply', body: 'late' })
      },
      { twilio: rest.twilio, options: { replyTimeout: '50ms' } },
    )
    const parameters = message('a')
    const first = sms.post(parameters)
    await said.promise
    await pass(50)
    expect((await first).body).toBe(twiml('<Message>early</Message>'))
    expect((await sms.post(parameters)).body).toBe(twiml('<Message>early</Message>'))
    go.resolve()
    expect((await rest.next()).form.get('Body')).toBe('late')
    expect(rest.calls).toHaveLength(1)
  })

  test('when Twilio has hung up, the replies go by REST and a repetition gets an empty answer', async () => {
    await using rest = await startRest()
    const received = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    await using sms = await startSms(
      async (_scope, receive, send) => {
        await receive()
        received.resolve()
        await go.promise
        await send({ type: 'sms.reply', body: 'hello' })
      },
      { twilio: rest.twilio },
    )
    const parameters = message('a')
    await sms.hangUp(parameters, received.promise)
    go.resolve()
    expect((await rest.next()).form.get('Body')).toBe('hello')
    expect((await sms.post(parameters)).body).toBe(twiml(''))
    expect(rest.calls).toHaveLength(1)
  })

  test('sms.send always goes by REST, from our number, in order for each person even when the first is tried twice', async () => {
    await using rest = await startRest({ status: 503 })
    await using sms = await startSms(
      async (_scope, receive, send) => {
        await receive()
        for (const body of ['1', '2', '3']) await send({ type: 'sms.send', to: '+14155550111', body })
        await send({ type: 'sms.reply', body: 'done' })
      },
      { twilio: { ...rest.twilio, messagingServiceSid: `MG${'c'.repeat(32)}` } },
    )
    expect((await sms.post(message('a'))).body).toBe(twiml('<Message>done</Message>'))
    const calls = [await rest.next(), await rest.next(), await rest.next(), await rest.next()]
    expect(
      calls.map(({ form }) => [form.get('From'), form.get('To'), form.get('Body'), form.get('MessagingServiceSid')]),
    ).toEqual(['1', '1', '2', '3'].map((body) => [ours, '+14155550111', body, `MG${'c'.repeat(32)}`]))
  })

  test.each([
    ['too many requests', { status: 429 }],
    ['a fault of Twilio’s', { status: 503 }],
    ['a connection that breaks', 'cut'],
  ] as const)('%s: tried again', async (_, answer) => {
    await using rest = await startRest(answer, answer)
    await using sms = await startSms(sending('hello'), { twilio: rest.twilio })
    await sms.post(message('a'))
    for (let attempt = 0; attempt < 3; attempt++) expect((await rest.next()).form.get('Body')).toBe('hello')
    await sms.listener.close(new AbortController().signal)
    expect(rest.calls).toHaveLength(3)
    expect(sms.failed).toEqual([])
  })

  test('what Twilio will never take is tried once and is a dead letter, without the token', async () => {
    await using rest = await startRest({ status: 400, code: 21_211 })
    await using sms = await startSms(sending('hello'), { twilio: rest.twilio })
    expect((await sms.post(message('a'))).status).toBe(200)
    const [letter] = await sms.stored.dead(1)
    expect(letter).toMatchObject({
      event: { type: 'sms.outgoing', from: ours, to: '+14155550111', body: 'hello', media: [] },
      error: expect.stringContaining('21211'),
      attempts: 1,
    })
    expect(rest.calls).toHaveLength(1)
    expect(inspect(letter, { depth: 9 })).not.toContain(token)
  })

  test('after the last attempt it is a dead letter, without the token', async () => {
    await using rest = await startRest('cut', { status: 500 }, 'cut')
    await using sms = await startSms(sending('hello'), { twilio: { ...rest.twilio, attempts: 3 } })
    await sms.post(message('a'))
    const [letter] = await sms.stored.dead(1)
    expect(letter?.attempts).toBe(3)
    expect(rest.calls).toHaveLength(3)
    const shown = inspect(letter, { depth: 9 })
    expect(shown).not.toContain(token)
    expect(shown).not.toContain(btoa(`${rest.twilio.accountSid}:${token}`))
  })

  test('of many texts none is lost, and each person gets them in order', async () => {
    await using rest = await startRest()
    await using sms = await startSms(
      async (_scope, receive, send) => {
        await receive()
        for (let index = 0; index < 150; index++)
          await send({ type: 'sms.send', to: '+14155550111', body: String(index) })
      },
      { twilio: rest.twilio },
    )
    await sms.post(message('a'))
    for (let index = 0; index < 150; index++) expect((await rest.next()).form.get('Body')).toBe(String(index))
  })

  test('without an account, what would be sent is written to a file', async () => {
    const { go, application } = held(async (send) => {
      await send({ type: 'sms.reply', body: 'late' })
      await send({ type: 'sms.send', to: '+14155550111', body: 'news' })
    })
    await using sms = await startSms(application, { options: { replyTimeout: '20ms' } })
    await sms.post(message('a'))
    go()
    await sms.idle()
    await sms.listener.close(new AbortController().signal)
    const lines = readFileSync(path.join(sms.services.data, 'outbox', 'sms.jsonl'), 'utf8')
      .trim()
      .split('\n')
    const [first, second] = lines.map((line) => JSON.parse(line) as unknown)
    const at = expect.any(String)
    expect(new Set([first, second])).toEqual(
      new Set([
        { at, from: ours, to: person, body: 'late', media: [], segments: 1 },
        { at, from: ours, to: '+14155550111', body: 'news', media: [], segments: 1 },
      ]),
    )
  })
})

describe('what may not be sent', () => {
  test.each([
    ['a longer text than Twilio takes', 'too_large', { type: 'sms.reply', body: 'x'.repeat(1601) }],
    [
      'more media than Twilio takes',
      'too_large',
      { type: 'sms.reply', body: 'x', media: Array(11).fill('https://a.example') },
    ],
    ['nothing', 'unexpected_event', { type: 'sms.reply', body: '' }],
    ['nothing that can be seen', 'unexpected_event', { type: 'sms.reply', body: '\u0000' }],
    ['something that is no text', 'unexpected_event', { type: 'sms.reply', body: 1 }],
    ['media that is no URL', 'bad_address', { type: 'sms.reply', body: 'x', media: ['file:///etc/passwd'] }],
    ['a text to nobody', 'bad_address', { type: 'sms.send', to: '', body: 'x' }],
    ['a text to a number without its country', 'bad_address', { type: 'sms.send', to: '(415) 555-0100', body: 'x' }],
    ['an event of another protocol', 'unexpected_event', { type: 'http.response.start', status: 200 }],
  ])('%s: the application is told with %s', async (_, code, event) => {
    const errors: unknown[] = []
    await using sms = await startSms(async (_scope, receive, send) => {
      await receive()
      await send(event as never).catch((error: unknown) => errors.push(error))
      await send({ type: 'sms.reply', body: 'x'.repeat(1600) })
    })
    const { body } = await sms.post(message('a'))
    expect(errors.map((error) => hasCode(error, code))).toEqual([true])
    expect(body).toBe(twiml(`<Message>${'x'.repeat(1600)}</Message>`))
  })

  test('more than 100 replies to one message', async () => {
    const errors: unknown[] = []
    await using sms = await startSms(async (_scope, receive, send) => {
      await receive()
      for (let index = 0; index < 102; index++) {
        await send({ type: 'sms.reply', body: 'x' }).catch((error: unknown) => errors.push(error))
      }
    })
    const { body } = await sms.post(message('a'))
    expect(body.match(/<Message>/g)).toHaveLength(100)
    expect(errors.map((error) => hasCode(error, 'too_large'))).toEqual([true, true])
  })
})

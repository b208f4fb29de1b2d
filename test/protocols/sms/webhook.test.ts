/** The webhook on the wire: who is believed, and what is refused. */
import { describe, expect, test } from '@jest/globals'
import { connect } from 'node:net'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks.js'
import type { SmsMessage } from '../../../protocols/sms/scope.ts'
import { SMSFromRouter } from '../../../protocols/sms/router.ts'
import { echo, message, ours, person, publicUrl, recorder, startSms, token, twiml } from './support.ts'

/** The head of a request that nobody has signed, but for the length of its body. */
const postHead = [
  'POST /sms HTTP/1.1',
  'host: a',
  'content-type: application/x-www-form-urlencoded',
  'x-twilio-signature: x',
]

describe('how it comes', () => {
  /** As Twilio signs it. */
  function signed(parameters: Readonly<Record<string, string>>, more: readonly string[] = []) {
    const body = new URLSearchParams(parameters).toString()
    const signature = getExpectedTwilioSignature(token, `${publicUrl}/sms`, parameters)
    const lines = [...postHead.slice(0, 3), `x-twilio-signature: ${signature}`, ...more]
    return { lines, body }
  }

  test('in pieces, wherever it is cut', async () => {
    await using sms = await startSms(echo)
    const { hostname, port } = sms.url
    for (const part of [0, 0.3, 0.6, 0.9, 0.99]) {
      const { lines, body } = signed(message('cut'))
      const text = [...lines, `content-length: ${body.length}`, 'connection: close', '', body].join('\r\n')
      const at = Math.floor(text.length * part)
      const socket = connect({ host: hostname, port: Number(port), noDelay: true })
      let answer = ''
      socket.on('data', (chunk: Buffer) => (answer += String(chunk)))
      // One after the other: each piece is read for itself.
      await once(socket, 'connect')
      await new Promise((resolve) => socket.write(text.slice(0, at), resolve))
      await sms.post(message('in between'))
      socket.write(text.slice(at))
      await once(socket, 'close')
      expect(answer).toContain('<Message>you wrote: cut</Message>')
    }
  })

  test('chunked, without a length', async () => {
    await using sms = await startSms(echo)
    const { lines, body } = signed(message('chunked'), ['transfer-encoding: chunked', 'connection: close'])
    const chunks = [body.slice(0, 10), body.slice(10)].map((text) => `${text.length.toString(16)}\r\n${text}\r\n`)
    expect(await raw(sms.url, [...lines, '', `${chunks.join('')}0\r\n\r\n`])).toContain('you wrote: chunked')
  })

  test('many in one segment: each has its answer, in their order', async () => {
    await using sms = await startSms(echo)
    const texts = Array.from({ length: 20 }, (_, index) => {
      const { lines, body } = signed(message(`number ${index}`), index === 19 ? ['connection: close'] : [])
      return [...lines, `content-length: ${body.length}`, '', body].join('\r\n')
    })
    const answer = await raw(sms.url, [texts.join('')])
    const numbers = Array.from(answer.matchAll(/you wrote: number (\d+)/g), ([, number]) => Number(number))
    expect(numbers).toEqual(texts.map((_, index) => index))
  })
})

describe('who is believed', () => {
  test('a message that Twilio has signed is answered with the reply as TwiML', async () => {
    await using sms = await startSms(echo)
    const { status, body, headers } = await sms.post(message('hello <you> & "me"'))
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('text/xml; charset=utf-8')
    expect(body).toBe(twiml('<Message>you wrote: hello &lt;you&gt; &amp; "me"</Message>'))
  })

  test('the application sees the person, our number, the text, the media and the segments', async () => {
    const { seen, application } = recorder()
    await using sms = await startSms(application)
    const parameters = message('look 🙂', {
      NumSegments: '3',
      NumMedia: '2',
      MediaUrl0: 'https://api.twilio.com/media/0',
      MediaContentType0: 'image/png',
      MediaUrl1: 'https://api.twilio.com/media/1',
      MediaContentType1: 'image/jpeg',
    })
    expect((await sms.post(parameters)).body).toBe(twiml(''))
    expect(seen).toHaveLength(1)
    expect(seen[0]?.scope).toMatchObject({
      type: 'sms',
      kind: 'message',
      from: person,
      to: ours,
      messageSid: parameters['MessageSid'],
      accountSid: parameters['AccountSid'],
      client: ['127.0.0.1', expect.any(Number)],
      server: ['127.0.0.1', Number(sms.url.port)],
    })
    expect(seen[0]?.event).toEqual({
      type: 'sms.message',
      body: 'look 🙂',
      media: [
        { url: 'https://api.twilio.com/media/0', contentType: 'image/png' },
        { url: 'https://api.twilio.com/media/1', contentType: 'image/jpeg' },
      ],
      segments: 3,
      consent: '',
    } satisfies SmsMessage)
    expect(structuredClone(seen)).toEqual(seen)
  })

  test('whatever the other parameters are called, they are part of what is signed', async () => {
    await using sms = await startSms(echo)
    const others = { 10: 'ten', 9: 'nine', a: '1', A: '2', 'ä ö': '3', '🙂': '4', '\uffff': '5', constructor: '6' }
    const parameters = message('odd', others)
    Object.defineProperty(parameters, '__proto__', { value: '7', enumerable: true })
    expect((await sms.post(parameters)).status).toBe(200)
    const { constructor: _, ...fewer } = parameters
    const body = new URLSearchParams(fewer).toString()
    expect((await sms.post(parameters, { body })).status).toBe(403)
  })

  test('each token of a list is believed while the token is being replaced, and no other', async () => {
    await using sms = await startSms(echo, { twilio: { authToken: ['the new one', token] } })
    expect((await sms.post(message('a'), { token: 'the new one' })).status).toBe(200)
    expect((await sms.post(message('b'), { token })).status).toBe(200)
    expect((await sms.post(message('c'), { token: 'development' })).status).toBe(403)
  })

  test('the query that a proxy or the number’s webhook adds is part of what is signed', async () => {
    await using sms = await startSms(echo)
    const query = "?tenant=1&name=o'hara%20&x="
    expect((await sms.post(message('a'), { query })).status).toBe(200)
    expect((await sms.post(message('b'), { query, signedUrl: `${publicUrl}/sms` })).status).toBe(403)
  })

  test('a public URL may have a path of its own, a port and a slash at its end', async () => {
    const { seen, application } = recorder()
    await using sms = await startSms(application, { twilio: { publicUrl: 'https://example.org:8443/hooks/' } })
    expect((await sms.post(message('a'), { signedUrl: 'https://example.org:8443/hooks/sms' })).status).toBe(200)
    expect((await sms.post(message('b'), { signedUrl: 'https://example.org:8443/sms' })).status).toBe(403)
    expect(seen).toHaveLength(1)
  })

  test.each([
    ['another token', { token: 'guessed' }],
    ['another host', { signedUrl: 'https://evil.example.org/sms' }],
    ['plain http instead of https', { signedUrl: 'http://sms.example.org/sms' }],
    ['the status path', { signedUrl: `${publicUrl}/sms/status` }],
    ['an empty signature', { headers: { 'x-twilio-signature': '' } }],
    ['a signature that is none', { headers: { 'x-twilio-signature': 'x'.repeat(28) } }],
    ['two signatures', { headers: { 'x-twilio-signature': 'abc, def' } }],
    [
      'parameters that were changed',
      { body: new URLSearchParams({ ...message('a'), From: '+14155550199' }).toString() },
    ],
  ])('a request signed with %s is refused with 403 and never handled', async (_, how) => {
    const { seen, application } = recorder()
    await using sms = await startSms(application)
    expect((await sms.post(message('a'), how)).status).toBe(403)
    expect(seen).toEqual([])
  })

  test('the Host header is not believed: it is what a forger writes', async () => {
    await using sms = await startSms(echo)
    const parameters = message('hello')
    const body = new URLSearchParams(parameters).toString()
    const signature = getExpectedTwilioSignature(token, 'https://evil.example.org/sms', parameters)
    const answer = await raw(sms.url, [
      'POST /sms HTTP/1.1',
      'host: evil.example.org',
      'x-forwarded-host: evil.example.org',
      'x-forwarded-proto: https',
      'connection: close',
      'content-type: application/x-www-form-urlencoded',
      `content-length: ${body.length}`,
      `x-twilio-signature: ${signature}`,
      '',
      body,
    ])
    expect(answer).toMatch(/^HTTP\/1\.1 403 /)
  })

  test('without a signature the answer is 403', async () => {
    await using sms = await startSms(echo)
    const body = new URLSearchParams(message('a'))
    const answer = await fetch(sms.url, { method: 'POST', body })
    expect(answer.status).toBe(403)
  })

  test('parameters that sign alike are not taken for each other', async () => {
    const { seen, application } = recorder()
    await using sms = await startSms(application)
    // Body "1" and a made up parameter "b" = "2" sign like Body "1b2".
    const honest = message('1BodyX2')
    const { Body: _, ...rest } = honest
    const answer = await sms.post(honest, { body: new URLSearchParams({ ...rest, Body: '1', BodyX: '2' }).toString() })
    expect(answer.status).toBe(200)
    expect(seen[0]?.event).toMatchObject({ body: '1' })
    // What they cannot do is repeat a name, or leave one out that must be there.
    const twice = message('2')
    expect((await sms.post(twice, { body: `${new URLSearchParams(twice).toString()}&From=%2B49` })).status).toBe(400)
  })
})

describe('what is refused', () => {
  test.each(['GET', 'PUT', 'DELETE'])('%s: 405, with what is allowed', async (method) => {
    await using sms = await startSms(echo)
    const answer = await fetch(sms.url, { method })
    expect(answer.status).toBe(405)
    expect(answer.headers.get('allow')).toBe('POST')
  })

  test.each([
    'application/json',
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencoded; charset=latin1',
  ])('a body of type %s: 415', async (type) => {
    await using sms = await startSms(echo)
    expect((await sms.post(message('a'), { headers: { 'content-type': type } })).status).toBe(415)
  })

  test('a compressed body: 415', async () => {
    await using sms = await startSms(echo)
    expect((await sms.post(message('a'), { headers: { 'content-encoding': 'gzip' } })).status).toBe(415)
  })

  test('the charset may be named', async () => {
    await using sms = await startSms(echo)
    const headers = { 'content-type': 'application/x-www-form-urlencoded; charset=UTF-8' }
    expect((await sms.post(message('a'), { headers })).status).toBe(200)
  })

  test.each([
    ['a repeated name', (good: string) => `${good}&Body=other`],
    ['invalid UTF-8', (good: string) => `${good}&Extra=%C3%28`],
    ['half a percent escape', (good: string) => `${good}&Extra=%4`],
    ['a name without a value', (good: string) => `${good}&Extra`],
    ['nothing between two ampersands', (good: string) => `${good}&&Extra=1`],
  ])('%s: 400', async (_, spoil) => {
    const { seen, application } = recorder()
    await using sms = await startSms(application)
    const parameters = message('a')
    const answer = await sms.post(parameters, { body: spoil(new URLSearchParams(parameters).toString()) })
    expect(answer.status).toBe(400)
    expect(seen).toEqual([])
  })

  test.each(['MessageSid', 'From', 'To', 'Body'])(
    'a signed message without %s: 400, and the answer names it',
    async (name) => {
      await using sms = await startSms(echo)
      const { [name]: _, ...rest } = message('a')
      const answer = await sms.post(rest)
      expect(answer.status).toBe(400)
      expect(answer.body).toContain(name)
    },
  )

  test.each([
    ['NumMedia', '11'],
    ['NumMedia', '-1'],
    ['NumMedia', '1'],
    ['MessageSid', 'SM 1'],
    ['From', ' '],
    ['From', 'a\nb'],
  ])('a signed message with %s %j: 400', async (name, value) => {
    await using sms = await startSms(echo)
    expect((await sms.post(message('a', { [name]: value }))).status).toBe(400)
  })

  test('a body over the limit: 413, whether or not its length was told', async () => {
    await using sms = await startSms(echo, { options: { maxBodySize: '2KiB' } })
    const parameters = message('x'.repeat(4000))
    expect((await sms.post(parameters)).status).toBe(413)
    const chunk = `1000\r\n${'x'.repeat(0x1000)}\r\n`
    const answer = await raw(sms.url, [...postHead, 'transfer-encoding: chunked', '', chunk.repeat(3)])
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
  })

  test('a body that trickles: 408 and the connection is closed', async () => {
    await using sms = await startSms(echo, { options: { bodyTimeout: '100ms' } })
    const { hostname, port } = sms.url
    const socket = connect({ host: hostname, port: Number(port) })
    await once(socket, 'connect')
    socket.write(
      'POST /sms HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\nx-twilio-signature: x\r\ncontent-length: 1000\r\n\r\n',
    )
    const trickle = setInterval(() => socket.write('x'), 10)
    let answer = ''
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      // What is written to a connection that is closed resets it, and with it what was not read yet.
      clearInterval(trickle)
      answer += String(chunk)
    })
    await once(socket, 'close')
    expect(answer).toMatch(/^HTTP\/1\.1 408 /)
    socket.destroy()
  })

  test.each([[[]], [['content-length: 0']]])('no body at all %j: 403, at once', async (length) => {
    await using sms = await startSms(echo, { options: { bodyTimeout: '100s' } })
    const answer = await raw(sms.url, [...postHead, ...length, 'connection: close', '', ''])
    expect(answer).toMatch(/^HTTP\/1\.1 403 /)
  })

  test('a peer that leaves in the middle of its body leaves nothing behind', async () => {
    await using sms = await startSms(echo)
    const { hostname, port } = sms.url
    const socket = connect({ host: hostname, port: Number(port) })
    await once(socket, 'connect')
    socket.end(
      'POST /sms HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\nx-twilio-signature: x\r\ncontent-length: 1000\r\n\r\nab',
    )
    socket.resume()
    await once(socket, 'close')
    expect((await sms.post(message('still here'))).status).toBe(200)
    expect(sms.listener.connections).toBe(0)
  })

  test('no rule: an empty answer, counted with the sender', async () => {
    const { seen, application } = recorder()
    await using sms = await startSms(SMSFromRouter([{ phone: '+1', app: application }]))
    const answer = await sms.post(message('a', { From: '+4915112345678' }))
    expect([answer.status, answer.body]).toEqual([200, twiml('')])
    expect(sms.unrouted).toEqual(['+4915112345678'])
    expect(seen).toEqual([])
  })

  test('a router that answers no routing questions: the same', async () => {
    const router = SMSFromRouter([{ phone: '+1', app: echo }])
    await using sms = await startSms((...scope) => router(...scope))
    const answer = await sms.post(message('a', { From: '+4915112345678' }))
    expect([answer.status, answer.body]).toEqual([200, twiml('')])
    expect(sms.unrouted).toEqual(['+4915112345678'])
    expect(sms.failed).toEqual([])
  })
})

/** Writes these lines and answers everything that came back. */
async function raw({ hostname, port }: URL, lines: readonly string[]): Promise<string> {
  const socket = connect({ host: hostname, port: Number(port) })
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(lines.join('\r\n'))
  return text(socket).finally(() => socket.destroy())
}

/** `signalbox send sms` against a gateway that runs. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { client } from '../../../protocols/sms/client.ts'
import { smsOptions } from '../../../protocols/sms/options.ts'
import type { SmsProtocol } from '../../../protocols/sms/scope.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { ours, person, publicUrl, startSms, temporaryFolder, token, twiml } from './support.ts'

const echo: Application<SmsProtocol> = async (scope, receive, send) => {
  const event = await receive()
  if (event.type !== 'sms.message') return
  if (event.body === 'boom') throw new Error('boom')
  const media = event.media.map(({ url }) => url)
  await send({ type: 'sms.reply', body: `${scope.from} to ${scope.to}: ${event.body} (${event.segments})`, media })
}

function target(url: URL, authToken: string | readonly string[] = token) {
  return {
    options: smsOptions.parse({ provider: { twilio: { authToken, publicUrl } } }),
    http: { address: { host: url.hostname, port: Number(url.port) } },
    signal: AbortSignal.timeout(10_000),
  }
}

test('a signed message is posted and the answer is shown', async () => {
  await using sms = await startSms(echo)
  const answer = await client.send([person, 'TEMP kitchen 🙂 & more'], {}, target(sms.url))
  expect(answer).toEqual({
    positive: true,
    text: twiml(`<Message>${person} to ${ours}: TEMP kitchen 🙂 &amp; more (1)</Message>`),
  })
})

test('the receiver and a picture can be named', async () => {
  await using sms = await startSms(echo)
  const options = { to: '+14155550199', media: 'https://example.org/a.png' }
  const { text } = await client.send([person, 'look'], options, target(sms.url, [token, 'old']))
  expect(text).toContain(`<Body>${person} to +14155550199: look (1)</Body><Media>https://example.org/a.png</Media>`)
})

test('an answer that is not positive is told with its status', async () => {
  await using sms = await startSms(echo)
  expect(await client.send([person, 'boom'], {}, target(sms.url))).toMatchObject({ positive: false, text: /^500 / })
  expect(await client.send([person, 'hello'], {}, target(sms.url, 'another'))).toMatchObject({
    positive: false,
    text: /^403 /,
  })
})

test('nobody listens: the error of the connection', async () => {
  await using sms = await startSms(echo)
  const { url } = sms
  await sms[Symbol.asyncDispose]()
  const failure = await client.send([person, 'hello'], {}, target(url)).catch((error: unknown) => error)
  expect(hasCode(failure, 'ECONNREFUSED')).toBe(true)
})

test('without a number and a text: a sentence that says what to write', async () => {
  const failure = await client
    .send([person], {}, target(new URL('http://127.0.0.1:1')))
    .catch((error: unknown) => error)
  expect(hasCode(failure, 'bad_address')).toBe(true)
})

test('over TLS, on an address of its own', async () => {
  using temporary = temporaryFolder()
  const { folder } = temporary
  const tls = { cert: path.join(folder, 'cert.pem'), key: path.join(folder, 'key.pem') }
  writeFileSync(tls.cert, certificate)
  writeFileSync(tls.key, key)
  await using sms = await startSms(echo, { options: { address: '127.0.0.1:0', tls } })
  expect(sms.url.protocol).toBe('https:')
  const { options, http, signal } = target(sms.url)
  const own = { ...options, address: http.address, tls }
  const elsewhere = { address: { host: '127.0.0.1', port: 1 } }
  expect(await client.send([person, 'hello'], {}, { options: own, http: elsewhere, signal })).toMatchObject({
    positive: true,
  })
})

/** For gateway.example.org, signed by itself, good for a hundred years and for nothing else. */
const certificate = `-----BEGIN CERTIFICATE-----
MIIBkzCCATmgAwIBAgIUV8G0RQFLvnMqkKzlTl/Zf69bQwIwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTZ2F0ZXdheS5leGFtcGxlLm9yZzAgFw0yNjExMjIxMjAzMDJa
GA8yMTI2MTAyOTEyMDMwMlowHjEcMBoGA1UEAwwTZ2F0ZXdheS5leGFtcGxlLm9y
ZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNH3BOL2pLFouKrfTBSIfvauBWTt
B7OhHDh15ICq0NS/kFh7/m69qvHzemqt6suKW0LYJ46Xq9u++EsPz+Wbhb2jUzBR
MB0GA1UdDgQWBBQ8xCEHVdXvcKYMZxF2mRBda3yIoTAfBgNVHSMEGDAWgBQ8xCEH
VdXvcKYMZxF2mRBda3yIoTAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gA
MEUCIHh9LLo7j7AxAQv8DXnBSqagOKjmULbeyXa++iZVI+nrAiEA594Rh3ZqCO9z
DiWIFJwyTXjQ7C61/KHsZrPTbMBlISw=
-----END CERTIFICATE-----`
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg5xqeCmOmhxFyxDaJ
BMlpwplEvFiKNANkRnZBlTPAGD6hRANCAATR9wTi9qSxaLiq30wUiH72rgVk7Qez
oRw4deSAqtDUv5BYe/5uvarx83pqrerLiltC2CeOl6vbvvhLD8/lm4W9
-----END PRIVATE KEY-----`

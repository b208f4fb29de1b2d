/** The listener's end, and its TLS. */
import { expect, test } from '@jest/globals'
import { resolve } from 'node:path'
import { Dialogue, held, mailText, recorder, serve } from './support.ts'

const tls = { cert: 'cert.pem', key: 'key.pem' }
const base = resolve(import.meta.dirname, '../../support/tls')

test('closing tells idle clients, and takes no new ones', async () => {
  const { router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  await client.envelope()
  const closed = served.listener.close(new AbortController().signal)
  expect(await client.reply()).toMatch(/^421 4\.3\.2/)
  await client.closed
  await closed
  expect(served.listener.connections).toBe(0)
  await expect(Dialogue.connect(served.port).then((late) => late.reply())).rejects.toThrow()
})

test('closing waits for a message that is on its way, and then says good-bye', async () => {
  const { received, router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  await client.envelope()
  await client.command('DATA')
  await client.write(mailText())
  const closed = served.listener.close(new AbortController().signal)
  await client.write('more\r\n.\r\n')
  expect(await client.reply()).toMatch(/^250/)
  expect(await client.reply()).toMatch(/^421 4\.3\.2/)
  await closed
  expect(received).toHaveLength(1)
})

test('closing waits for a handler', async () => {
  const { router, started, go } = held()
  await using served = await serve(router)
  const client = await served.connect()
  const reply = client.mail(mailText())
  await started
  let isClosed = false
  const closed = served.listener.close(new AbortController().signal).then(() => (isClosed = true))
  await new Promise((resolve) => setImmediate(resolve))
  expect(isClosed).toBe(false)
  go()
  expect(await reply).toMatch(/^250/)
  await closed
  expect(served.open.size).toBe(0)
})

test('the signal cuts clients in the middle of a message, and applications that do not end', async () => {
  const { router, started } = held()
  await using served = await serve(router, {}, { closeTimeout: 20 })
  const sending = await served.connect()
  await sending.envelope()
  await sending.command('DATA')
  const handled = await served.connect()
  const reply = handled.mail(mailText())
  reply.catch(() => undefined)
  await started
  const controller = new AbortController()
  const closed = served.listener.close(controller.signal)
  controller.abort()
  await closed
  await Promise.all([sending.closed, handled.closed])
  expect(served.listener.connections).toBe(0)
  expect(served.open.size).toBe(0)
})

test('with a key STARTTLS is offered, and what was said before it is forgotten', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { tls }, { base })
  const client = await served.connect()
  expect(await client.command('EHLO me')).toContain('STARTTLS')
  await client.command('MAIL FROM:<before@example.org>')
  expect(await client.command('STARTTLS')).toMatch(/^220/)
  await client.startTls()
  expect(await client.command('RCPT TO:<bob@support.org>')).toMatch(/^503/)
  expect(await client.mail(mailText())).toMatch(/^250/)
  expect(received[0]?.scope).toMatchObject({ secure: true, sender: 'ann@example.org' })
  client.end()
  while (served.listener.connections > 0) await new Promise((resolve) => setImmediate(resolve))
})

test('commands that were slipped in before the TLS handshake are not run', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { tls }, { base })
  const client = await served.connect()
  await client.command('EHLO me')
  await client.write('STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n')
  expect(await client.reply()).toMatch(/^220/)
  await client.startTls()
  await client.command('EHLO me')
  expect(client.pending).toBe(0)
  expect(await client.command('RCPT TO:<bob@support.org>')).toMatch(/^503/)
  expect(received).toHaveLength(0)
  client.end()
})

test('a handshake that never ends leaves nothing when the listener closes', async () => {
  await using served = await serve(recorder().router, { tls }, { base })
  const client = await served.connect()
  await client.command('EHLO me')
  await client.command('STARTTLS')
  await client.write(Buffer.from([0x16, 0x03, 0x01]))
  expect(served.listener.connections).toBe(1)
  await served.listener.close(AbortSignal.abort())
  await client.closed
  expect(served.listener.connections).toBe(0)
})

test('implicit TLS, by choice', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { tls, secure: true }, { base })
  expect(served.listener.urls[0]).toMatch(/^smtps:\/\//)
  const client = await Dialogue.connectTls(served.port)
  expect(await client.reply()).toMatch(/^220/)
  expect(await client.mail(mailText())).toMatch(/^250/)
  expect(received[0]?.scope.secure).toBe(true)
  client.end()
  await client.closed
  const plain = await Dialogue.connect(served.port)
  await plain.write('EHLO me\r\n')
  await plain.closed
  while (served.listener.connections > 0) await new Promise((resolve) => setImmediate(resolve))
})

test('a half-done implicit handshake is cut at closing', async () => {
  await using served = await serve(recorder().router, { tls, secure: true }, { base })
  const client = await Dialogue.connect(served.port)
  while (served.listener.connections === 0) await new Promise((resolve) => setImmediate(resolve))
  await served.listener.close(new AbortController().signal)
  await client.closed
  expect(served.listener.connections).toBe(0)
})

test.each([
  ['a key file that is not there', { cert: 'cert.pem', key: 'no.pem' }],
  ['a key file that holds no key', { cert: 'cert.pem', key: 'cert.pem' }],
])('%s is an error before anything listens', async (_what, files) => {
  await expect(serve(recorder().router, { tls: files }, { base })).rejects.toMatchObject({ code: 'listen_failed' })
})

test('an address in use is an error that names it and says so in words', async () => {
  await using served = await serve(recorder().router)
  const address = `127.0.0.1:${served.port}`
  await expect(serve(recorder().router, { address })).rejects.toMatchObject({
    code: 'listen_failed',
    message: `cannot listen on smtp://${address}: another program listens there`,
  })
})

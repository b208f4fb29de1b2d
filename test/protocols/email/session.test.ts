/** One SMTP session: who may send what to whom, and what everybody else is told. */
import { expect, test } from '@jest/globals'
import { EmailToRouter } from '../../../protocols/email/router.ts'
import { pino } from 'pino'
import { Dialogue, mailText, recorder, serve } from './support.ts'

test('a message arrives with its envelope, as it was sent', async () => {
  const { received, router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  const text = mailText()

  expect(await client.mail(text, ['Bob+Printer@Support.ORG'], 'Ann@example.org')).toBe('250 2.6.0 Accepted')

  expect(received).toHaveLength(1)
  expect(received[0]?.scope).toMatchObject({
    type: 'email',
    client: ['127.0.0.1', expect.any(Number)],
    server: ['127.0.0.1', served.port],
    recipient: 'bob+printer@support.org',
    tag: 'printer',
    sender: 'Ann@example.org',
    helo: 'client.example.org',
    secure: false,
  })
  expect(received[0]?.email).toMatchObject({ subject: 'Fire', text: 'My printer is on fire.', defects: [] })
  expect(Buffer.from(received[0]?.email.raw ?? []).toString()).toBe(`${text}\r\n`)
  client.end()
})

test('the greeting, EHLO and the extensions are ours, without AUTH and without STARTTLS', async () => {
  await using served = await serve(recorder().router, { hostname: 'mx.support.org', maxSize: '1MiB' })
  const client = await Dialogue.connect(served.port)
  expect(await client.reply()).toBe('220 mx.support.org ESMTP')
  const lines = (await client.command('EHLO me')).split('\n').map((line) => line.slice(4))
  expect(lines).toEqual([
    'mx.support.org at your service',
    'PIPELINING',
    '8BITMIME',
    'SMTPUTF8',
    'ENHANCEDSTATUSCODES',
    'SIZE 1048576',
  ])
  for (const command of ['AUTH PLAIN AGEAYg==', 'STARTTLS', 'XCLIENT NAME=x', 'WIZ a', 'BDAT 3']) {
    expect(await client.command(command)).toMatch(/^500 5\.5\.2/)
  }
  client.end()
})

test('a recipient without a rule is refused at RCPT, counted, and the others are served', async () => {
  const { received, router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  await client.envelope([])
  expect(await client.command('RCPT TO:<bob@example.org>')).toBe('550 5.1.1 No such recipient here')
  expect(await client.command('RCPT TO:<bob@support.org.evil.com>')).toMatch(/^550 5\.1\.1/)
  expect(await client.command('RCPT TO:<bob%example.org@support.org@evil.com>')).toMatch(/^501/)
  expect(await client.command('RCPT TO:<bob@support.org>')).toMatch(/^250 2\.1\.5/)
  await client.command('DATA')
  await client.write(`${mailText()}.\r\n`)
  expect(await client.reply()).toMatch(/^250/)
  expect(received.map(({ scope }) => scope.recipient)).toEqual(['bob@support.org'])
  expect(served.unrouted).toEqual(['bob@example.org', 'bob@support.org.evil.com'])
  client.end()
})

test('without any recipient there is no DATA', async () => {
  await using served = await serve(recorder().router)
  const client = await served.connect()
  expect(await client.envelope(['bob@example.org'])).toMatch(/^550/)
  expect(await client.command('DATA')).toMatch(/^503/)
  client.end()
})

test('nothing is relayed: percent hacks, source routes and bang paths are plain local parts or refused', async () => {
  await using served = await serve(recorder().router)
  const client = await served.connect()
  await client.envelope([])
  expect(await client.command('RCPT TO:<evil.com!bob@support.org>')).toMatch(/^250/)
  expect(await client.command('RCPT TO:<@support.org:bob@evil.com>')).toMatch(/^550 5\.1\.1/)
  expect(await client.command('RCPT TO:<"bob@evil.com"@support.org>')).toMatch(/^501/)
  expect(await client.command('RCPT TO:<bob@[127.0.0.1]>')).toMatch(/^550/)
  client.end()
})

test('postmaster without a domain is that of this host', async () => {
  const { app, received } = recorder()
  await using served = await serve(EmailToRouter([{ address: 'postmaster@mx.support.org', app }]), {
    hostname: 'mx.support.org',
  })
  const client = await served.connect()
  expect(await client.mail(mailText(), ['Postmaster'])).toMatch(/^250/)
  expect(received[0]?.scope.recipient).toBe('postmaster@mx.support.org')
  client.end()
})

test('one mailbox in two spellings is one recipient', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { dedupe: false })
  const client = await served.connect()
  expect(await client.mail(mailText(), ['bob@support.org', 'BOB@SUPPORT.ORG', '"bob"@support.org'])).toMatch(/^250/)
  expect(received).toHaveLength(1)
  client.end()
})

test('an international domain is one domain in both of its forms', async () => {
  const { app, received } = recorder()
  await using served = await serve(EmailToRouter([{ domain: 'bücher.example', app }]))
  const client = await served.connect()
  expect(await client.mail(mailText(), ['bob@xn--bcher-kva.example'])).toMatch(/^250/)
  expect(await client.mail(mailText(), ['bob@BÜCHER.example'])).toMatch(/^250/)
  expect(received.map(({ scope }) => scope.recipient)).toEqual(['bob@bücher.example', 'bob@bücher.example'])
  client.end()
})

test('a local part beyond ASCII needs SMTPUTF8, and bytes that are no UTF-8 are no address', async () => {
  const { received, router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  await client.command('EHLO me')
  expect(await client.command('MAIL FROM:<jörg@example.org>')).toMatch(/^553 5\.6\.7/)
  expect(await client.command('MAIL FROM:<jörg@example.org> SMTPUTF8')).toMatch(/^250/)
  expect(await client.command('RCPT TO:<büro@support.org>')).toMatch(/^250/)
  await client.write(Buffer.from('RCPT TO:<b\xfcro@support.org>\r\n', 'latin1'))
  expect(await client.reply()).toMatch(/^5\d\d/)
  await client.command('DATA')
  await client.write(`${mailText()}.\r\n`)
  expect(await client.reply()).toMatch(/^250/)
  expect(received.map(({ scope }) => [scope.sender, scope.recipient])).toEqual([
    ['jörg@example.org', 'büro@support.org'],
  ])
  client.end()
})

test('a bounce has no sender', async () => {
  const { received, router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  expect(await client.mail(mailText(), undefined, '')).toMatch(/^250/)
  expect(received[0]?.scope.sender).toBe('')
  expect(received[0]?.email.automatic).toBe('bounce')
  client.end()
})

test('more recipients than allowed get 452, and the others their message', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { maxRecipients: 2 })
  const client = await served.connect()
  expect(await client.envelope(['a@support.org', 'b@support.org', 'c@support.org'])).toMatch(/^452 4\.5\.3/)
  await client.command('DATA')
  await client.write(`${mailText()}.\r\n`)
  expect(await client.reply()).toMatch(/^250/)
  expect(received.map(({ scope }) => scope.recipient)).toEqual(['a@support.org', 'b@support.org'])
  client.end()
})

test('whoever tries one recipient after the other is sent away', async () => {
  await using served = await serve(recorder().router, { maxErrors: 3 })
  const client = await served.connect()
  await client.envelope([])
  expect(await client.command('RCPT TO:<a@example.org>')).toMatch(/^550/)
  expect(await client.command('RCPT TO:<b@example.org>')).toMatch(/^550/)
  expect(await client.command('RCPT TO:<c@example.org>')).toMatch(/^421 4\.7\.0/)
  await client.closed
})

test.each([
  ['a NUL', 'MAIL FROM:<an\0n@example.org>'],
  ['a tab', 'MAIL FROM:<an\tn@example.org>'],
  ['an escape', 'MAIL FROM:<\x1b[2Jann@example.org>'],
  ['a zero-width space', 'MAIL FROM:<an\u200bn@example.org>'],
  ['a line in a parameter', 'MAIL FROM:<ann@example.org> ENVID=a+0D+0AMAIL'],
])('an envelope with %s is refused, and the session goes on', async (_what, line) => {
  await using served = await serve(recorder().router)
  const client = await served.connect()
  await client.command('EHLO me')
  expect(await client.command(line)).toMatch(/^5\d\d/)
  expect(await client.command('MAIL FROM:<ann@example.org>')).toMatch(/^250/)
  client.end()
})

test('a line without an end is cut off', async () => {
  await using served = await serve(recorder().router)
  const client = await served.connect()
  await client.write(`EHLO ${'a'.repeat(5000)}`)
  expect(await client.reply()).toMatch(/^421 .*too long/)
  await client.closed
})

test('HTTP on the mail port is refused', async () => {
  await using served = await serve(recorder().router)
  const client = await served.connect()
  expect(await client.command('POST / HTTP/1.1')).toMatch(/^421/)
  await client.closed
})

test('commands in a wrong order are refused, and the session goes on', async () => {
  const { received, router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  expect(await client.command('MAIL FROM:<ann@example.org>')).toMatch(/^503/)
  await client.command('EHLO me')
  expect(await client.command('RCPT TO:<bob@support.org>')).toMatch(/^503/)
  expect(await client.command('DATA')).toMatch(/^503/)
  expect(await client.command('NONSENSE')).toMatch(/^500/)
  expect(await client.mail(mailText())).toMatch(/^250/)
  expect(received).toHaveLength(1)
  client.end()
})

test('a whole pipelined batch is answered in order', async () => {
  await using served = await serve(recorder().router)
  const client = await served.connect()
  await client.command('EHLO me')
  await client.write(
    'MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@support.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n',
  )
  const replies = [await client.reply(), await client.reply(), await client.reply(), await client.reply()]
  expect(replies.map((reply) => reply.slice(0, 3))).toEqual(['250', '250', '550', '354'])
  client.end()
})

test.each([
  ['plain', 'one'],
  ['with a line that begins with a dot', '..one'],
  ['without a line', ''],
])('messages that come whole, in one segment, are taken one after the other: %s', async (_name, line) => {
  const { router, received } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  await client.command('EHLO me')
  const transaction = 'MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@support.org>\r\nDATA\r\n'
  const message = `${transaction}Subject: again\r\n\r\n${line}\r\n.\r\n`
  await client.write(`${message.repeat(4)}QUIT\r\n`)
  const codes: string[] = []
  while (codes.at(-1) !== '221') codes.push((await client.reply()).slice(0, 3))
  expect(codes).toEqual([...Array.from({ length: 4 }, () => ['250', '250', '354', '250']).flat(), '221'])
  expect(received).toHaveLength(4)
})

test('a rule that raises is a temporary failure, not a hanging session', async () => {
  const { app } = recorder()
  const broken = Object.assign(app.bind(undefined), {
    resolve: () => {
      throw new Error('broken rule')
    },
  })
  await using served = await serve(broken)
  const client = await served.connect()
  expect(await client.envelope()).toMatch(/^451 4\.3\.0/)
  expect(await client.command('QUIT')).toMatch(/^221/)
})

test('more clients than allowed are told to come later', async () => {
  await using served = await serve(recorder().router, { maxClients: 2 })
  const first = await served.connect()
  await served.connect()
  const third = await Dialogue.connect(served.port)
  expect(await third.reply()).toMatch(/^421 4\.3\.2/)
  await third.closed
  first.end()
  await first.closed
  while (served.listener.connections > 1) await new Promise((resolve) => setImmediate(resolve))
  expect(await (await served.connect()).command('NOOP')).toMatch(/^250/)
})

test('one address gets so many connections at once, and so many new ones a minute', async () => {
  await using served = await serve(recorder().router, {
    perAddress: { clients: 1, connectionsPerMinute: 2, exempt: [] },
  })
  const first = await served.connect()
  expect(await (await Dialogue.connect(served.port)).reply()).toMatch(/^421 4\.7\.0/)
  first.end()
  await first.closed
  while (served.listener.connections > 0) await new Promise((resolve) => setImmediate(resolve))
  const second = await Dialogue.connect(served.port)
  expect(await second.reply()).toMatch(/^220/)
  second.end()
  await second.closed
  while (served.listener.connections > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(await (await Dialogue.connect(served.port)).reply()).toMatch(/^421 4\.7\.0/)
})

test('one address gets so many messages a minute', async () => {
  await using served = await serve(recorder().router, { perAddress: { messagesPerMinute: 2, exempt: [] } })
  const client = await served.connect()
  expect(await client.mail(mailText())).toMatch(/^250/)
  expect(await client.mail(mailText())).toMatch(/^250/)
  expect(await client.command('MAIL FROM:<ann@example.org>')).toMatch(/^451 4\.7\.1/)
  client.end()
})

test('2,000 connections leave nothing behind, however they end', async () => {
  await using served = await serve(recorder().router)
  const ends: ((client: Dialogue) => unknown)[] = [
    (client: Dialogue) => client.reset(),
    (client: Dialogue) => client.end(),
    async (client: Dialogue) => {
      await client.reply()
      await client.command('QUIT')
    },
    async (client: Dialogue) => {
      await client.reply()
      await client.envelope()
      client.reset()
    },
    async (client: Dialogue) => {
      await client.reply()
      await client.envelope()
      await client.command('DATA')
      await client.write('From: ann@example.org\r\nhalf a')
      client.reset()
    },
  ]
  let left = 2000
  const peer = async () => {
    while (left > 0) {
      const end = ends[left-- % ends.length]
      const client = await Dialogue.connect(served.port)
      await end?.(client)
      await client.closed
    }
  }
  await Promise.all(Array.from({ length: 200 }, peer))
  while (served.listener.connections > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(served.listener.connections).toBe(0)
  expect(served.open.size).toBe(0)
}, 60_000)

test('a message that is handled is a line of the log at debug, one that is not at info', async () => {
  const lines: { readonly level: number; readonly msg: string; readonly answer?: number }[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const { router } = recorder(({ email }, consumer) => (email.subject === 'no' ? consumer.reject(550) : undefined))
  await using served = await serve(router, {}, { log })
  const client = await served.connect()
  await client.mail(mailText())
  await client.mail(mailText({ Subject: 'no' }))
  const answered = lines.filter(({ msg }) => msg === 'a message was answered')
  expect(answered.map(({ level, answer }) => [level, answer])).toEqual([
    [pino.levels.values['debug'], 250],
    [pino.levels.values['info'], 550],
  ])
})

/** Replies and new mail: how they are written, when they go out, and what becomes of those that do not. */
import { afterEach, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { parseMessage } from '../../../protocols/email/parse.ts'
import type { EmailConsumer } from '../../../protocols/email/consumer.ts'
import { EmailToRouter } from '../../../protocols/email/router.ts'
import { mailText, recorder, serve, type Served } from './support.ts'

interface Relayed {
  readonly from: string
  readonly to: readonly string[]
  readonly raw: string
}

const relays: SMTPServer[] = []
afterEach(async () => {
  for (const relay of relays.splice(0)) await new Promise<void>((resolve) => relay.close(resolve))
})

/** A mail server that keeps what it is given. */
async function startRelay(options: SMTPServerOptions = {}) {
  const mails: Relayed[] = []
  const relay = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    closeTimeout: 100,
    onData(stream, session, callback) {
      let raw = ''
      stream.setEncoding('latin1')
      stream.on('data', (text: string) => (raw += text))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        mails.push({ from: mailFrom ? mailFrom.address : '', to: rcptTo.map(({ address }) => address), raw })
        callback()
      })
    },
    ...options,
  })
  relays.push(relay)
  relay.on('error', () => undefined)
  relay.listen(0, '127.0.0.1')
  await once(relay.server, 'listening')
  return { mails, relay: `smtp://127.0.0.1:${(relay.server.address() as AddressInfo).port}` }
}

/** Sends one mail to a gateway whose application does `act`. */
async function gateway(act: (consumer: EmailConsumer) => unknown, options: Readonly<Record<string, unknown>> = {}) {
  const { received, router } = recorder((_received, consumer) => act(consumer))
  const served = await serve(router, { relayBackoff: '10ms', ...options })
  const client = await served.connect()
  return { served, received, client, [Symbol.asyncDispose]: () => served[Symbol.asyncDispose]() }
}

async function outbox({ services, stored }: Served): Promise<string[]> {
  await stored.idle()
  const folder = join(services.data, 'outbox')
  const names = await readdir(folder).catch(() => [])
  return Promise.all(names.toSorted((a, b) => a.localeCompare(b)).map((name) => readFile(join(folder, name), 'latin1')))
}

describe('a reply', () => {
  test('is threaded, marked as automatic, and has a null return path', async () => {
    const { mails, relay } = await startRelay()
    await using setup = await gateway((consumer) => consumer.reply({ text: 'We have it: grüße' }), { relay })
    const fields = { 'Message-ID': '<1@example.org>', References: '<0@example.org>', Subject: 'Re: Fire' }
    expect(await setup.client.mail(mailText(fields), ['Help+x@support.org'])).toMatch(/^250/)
    await setup.served.stored.idle()
    expect(mails).toHaveLength(1)
    expect(mails[0]).toMatchObject({ from: '', to: ['ann@example.org'] })
    const message = await parseMessage(Buffer.from(mails[0]?.raw ?? '', 'latin1'), { sender: '' })
    expect(message).toMatchObject({
      from: [{ address: 'help+x@support.org', name: '' }],
      to: [{ address: 'ann@example.org', name: 'Ann' }],
      subject: 'Re: Fire',
      inReplyTo: '<1@example.org>',
      references: ['<0@example.org>', '<1@example.org>'],
      text: 'We have it: grüße',
      defects: [],
    })
    expect(message.messageId).toMatch(/^<[^@]+@support\.org>$/)
    expect(message.headers).toEqual(
      expect.arrayContaining([
        ['auto-submitted', 'auto-replied'],
        ['x-auto-response-suppress', 'All'],
      ]),
    )
  })

  test('goes to the return path, whatever the headers claim (RFC 3834 4)', async () => {
    const { mails, relay } = await startRelay()
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }), { relay })
    await setup.client.mail(
      mailText({ From: 'boss@example.net', 'Reply-To': 'victim@example.net' }),
      undefined,
      'ann@example.org',
    )
    await setup.served.stored.idle()
    expect(mails.map(({ to }) => to)).toEqual([['ann@example.org']])
  })

  test.each([
    ['a robot', { 'Auto-Submitted': 'auto-replied' }, 'ann@example.org'],
    ['a list', { 'List-Id': '<x>' }, 'ann@example.org'],
    ['a bounce', {}, ''],
    ['an address of ours', {}, 'other@support.org'],
    ['itself', {}, 'bob@support.org'],
    ['nobody', {}, 'no-reply@example.org'],
  ])('is never sent to %s', async (_who, fields, sender) => {
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }))
    expect(await setup.client.mail(mailText(fields), undefined, sender)).toMatch(/^250/)
    expect(setup.received).toHaveLength(1)
    expect(await outbox(setup.served)).toEqual([])
  })

  test('does go out where the rules take every address, but not to their own domain', async () => {
    const { app } = recorder((_received, consumer) => consumer.reply({ text: 'x' }))
    await using served = await serve(EmailToRouter([{ regex: '^', app }]))
    const client = await served.connect()
    await client.mail(mailText(), undefined, 'ann@example.org')
    await client.mail(mailText(), undefined, 'eve@support.org')
    expect(await outbox(served)).toHaveLength(1)
    client.end()
  })

  test('is not sent more often than allowed to one address, in any of its spellings', async () => {
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }), { replies: { limit: 2 } })
    for (const sender of ['ann@example.org', 'Ann@Example.org', '"ann"@example.org', 'eve@example.org']) {
      expect(await setup.client.mail(mailText(), undefined, sender)).toMatch(/^250/)
    }
    expect(await outbox(setup.served)).toHaveLength(3)
  })
})

describe('a new mail', () => {
  test('comes from the address that the message came to, which gets its bounces', async () => {
    const { mails, relay } = await startRelay()
    const content = Buffer.from('pdf')
    await using setup = await gateway(
      (consumer) =>
        consumer.sendMail({
          to: ['Dan <dan@example.net>', 'eve@bücher.example'],
          subject: 'Status',
          text: 'down',
          html: '<b>down</b>',
          attachments: [{ filename: 'a.pdf', contentType: 'application/pdf', content }],
          headers: { 'x-ticket': '1', 'reply-to': 'desk@support.org' },
        }),
      { relay },
    )
    await setup.client.mail(mailText())
    await setup.served.stored.idle()
    expect(mails[0]).toMatchObject({
      from: 'bob@support.org',
      to: ['dan@example.net', expect.stringContaining('eve@')],
    })
    const message = await parseMessage(Buffer.from(mails[0]?.raw ?? '', 'latin1'), { sender: '' })
    expect(message).toMatchObject({
      subject: 'Status',
      text: 'down',
      replyTo: [{ address: 'desk@support.org', name: '' }],
    })
    expect(message.attachments).toMatchObject([
      { filename: 'a.pdf', contentType: 'application/pdf', content: new Uint8Array(content) },
    ])
    expect(message.headers).toEqual(
      expect.arrayContaining([
        ['auto-submitted', 'auto-generated'],
        ['x-ticket', '1'],
      ]),
    )
  })

  test('to ourselves is not sent because of an automatic one', async () => {
    await using setup = await gateway((consumer) =>
      consumer.sendMail({ to: 'sales@support.org', subject: 'x', text: 'x' }),
    )
    await setup.client.mail(mailText({ Precedence: 'bulk' }))
    expect(await outbox(setup.served)).toEqual([])
    await setup.client.mail(mailText())
    expect(await outbox(setup.served)).toHaveLength(1)
  })
})

test('without a relay a mail is a whole file, under the return path it would have', async () => {
  await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }))
  await setup.client.mail(mailText())
  await setup.served.stored.idle()
  const files = await readdir(join(setup.served.services.data, 'outbox'))
  expect(files).toEqual([expect.stringMatching(/^[\dTZ-]+-[\da-f]{8}\.eml$/)])
  const [text = ''] = await outbox(setup.served)
  expect(text).toMatch(/^Return-Path: <>\r\n/)
  expect(text).not.toMatch(/(?<!\r)\n/)
  expect(await parseMessage(Buffer.from(text), { sender: '' })).toMatchObject({
    subject: 'Re: Fire',
    text: 'x',
    defects: [],
  })
})

test('an outbox that cannot be written makes a dead letter, and the message is handled', async () => {
  await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }), { relayAttempts: 1 })
  await writeFile(join(setup.served.services.data, 'outbox'), 'a file')
  expect(await setup.client.mail(mailText())).toMatch(/^250/)
  expect(await setup.served.stored.dead(1)).toMatchObject([
    { event: { type: 'email.outgoing' }, scope: { recipient: 'bob@support.org' } },
  ])
})

describe('no line of an application becomes a header', () => {
  const attempts: readonly [string, (consumer: EmailConsumer) => Promise<void>, RegExp][] = [
    [
      'a name with a line end',
      (consumer) => consumer.reply({ text: 'x', headers: { 'X-A\r\nBcc': 'x' } }),
      /no name of a header/,
    ],
    [
      'a name with a colon',
      (consumer) => consumer.reply({ text: 'x', headers: { 'Bcc: x@example.org\nX': 'x' } }),
      /no name of a header/,
    ],
    ['Bcc', (consumer) => consumer.reply({ text: 'x', headers: { bCC: 'x@example.org' } }), /gateway's own/],
    [
      'Auto-Submitted in a reply',
      (consumer) => consumer.reply({ text: 'x', headers: { 'auto-submitted': 'no' } }),
      /gateway's own/,
    ],
    ['Content-Type', (consumer) => consumer.reply({ text: 'x', headers: { 'Content-Type': 'x' } }), /gateway's own/],
    [
      'a Message-ID with a line end',
      (consumer) => consumer.reply({ text: 'x', messageId: '<a@b>\r\nBcc: x' }),
      /expected <…@…>/,
    ],
    [
      'two recipients in one',
      (consumer) => consumer.sendMail({ to: 'a@example.org, b@example.org', subject: 'x', text: 'x' }),
      /expected an address/,
    ],
    [
      'a recipient with a line end',
      (consumer) => consumer.sendMail({ to: 'a@example.org\r\nDATA', subject: 'x', text: 'x' }),
      /expected an address/,
    ],
    ['no recipient', (consumer) => consumer.sendMail({ to: [], subject: 'x', text: 'x' }), /at least one/],
    [
      'a text that is a file',
      (consumer) => consumer.reply({ text: { path: '/etc/passwd' } as unknown as string }),
      /expected a string/,
    ],
    [
      'an attachment that is a file',
      (consumer) =>
        consumer.reply({
          text: 'x',
          attachments: [{ filename: 'x', contentType: 'text/plain', content: { path: '/etc/passwd' } as never }],
        }),
      /expected content as bytes/,
    ],
    [
      'a type with a line end',
      (consumer) =>
        consumer.reply({
          text: 'x',
          attachments: [{ filename: 'x', contentType: 'text/plain\r\nX: y', content: Buffer.from('') }],
        }),
      /expected a content type/,
    ],
  ]

  test.each(attempts)('%s is an error', async (_what, act, message) => {
    let error: unknown
    await using setup = await gateway((consumer) => act(consumer).catch((caught: unknown) => (error = caught)))
    expect(await setup.client.mail(mailText())).toMatch(/^250/)
    expect(error).toMatchObject({
      code: expect.stringMatching(/^(?:unexpected_event|bad_address)$/),
      message: expect.stringMatching(message),
    })
    expect(await outbox(setup.served)).toEqual([])
  })

  test('line ends in values, names and subjects become spaces', async () => {
    await using setup = await gateway((consumer) =>
      consumer.sendMail({
        to: 'Dan\r\nBcc: x@example.org <dan@example.net>',
        subject: 'a\r\nBcc: x@example.org',
        text: 'x',
        headers: { 'X-A': 'a\r\nBcc: x@example.org', 'X-B': 'a\u2028b\0' },
        attachments: [{ filename: 'a\r\nX: y.txt', contentType: 'text/plain', content: Buffer.from('') }],
      }),
    )
    expect(await setup.client.mail(mailText())).toMatch(/^250/)
    const [text = ''] = await outbox(setup.served)
    expect(text).not.toMatch(/^(?:bcc|x):/im)
    const { headers } = await parseMessage(Buffer.from(text, 'latin1'), { sender: '' })
    expect(headers).toEqual(
      expect.arrayContaining([
        ['x-a', 'a Bcc: x@example.org'],
        ['subject', 'a Bcc: x@example.org'],
      ]),
    )
  })

  test('nor does what a stranger wrote and a reply repeats', async () => {
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }))
    const subject = '=?utf-8?Q?a=0D=0ABcc:_x@example.org?='
    await setup.client.mail(
      mailText({
        Subject: subject,
        'Message-ID': '<a@b>\r\n X-Evil: 1',
        From: '=?utf-8?Q?A=0D=0ABcc:_x?= <ann@example.org>',
      }),
    )
    const [text = ''] = await outbox(setup.served)
    expect(text).not.toMatch(/^(?:bcc|x-evil):/im)
  })
})

describe('a relay', () => {
  test('that is busy gets the mail again, and the application does not wait for it', async () => {
    let refusals = 2
    const { mails, relay } = await startRelay({
      onMailFrom: (_address, _session, callback) =>
        callback(refusals-- > 0 ? Object.assign(new Error('busy'), { responseCode: 451 }) : null),
    })
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }), { relay })
    expect(await setup.client.mail(mailText())).toMatch(/^250/)
    await setup.served.stored.idle()
    expect(mails).toHaveLength(1)
    expect(await setup.served.stored.counts()).toMatchObject({ handled: 1, dead: 0 })
  })

  test('that stays busy makes it a dead letter', async () => {
    let attempts = 0
    const { relay } = await startRelay({
      onMailFrom: (_address, _session, callback) => {
        attempts++
        callback(Object.assign(new Error('busy'), { responseCode: 451 }))
      },
    })
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }), { relay, relayAttempts: 3 })
    expect(await setup.client.mail(mailText())).toMatch(/^250/)
    expect(await setup.served.stored.dead(1)).toMatchObject([{ attempts: 3, error: expect.stringContaining('busy') }])
    expect(attempts).toBe(3)
  })

  test('that says never is asked once', async () => {
    let attempts = 0
    const { relay } = await startRelay({
      onRcptTo: (_address, _session, callback) => {
        attempts++
        callback(Object.assign(new Error('no'), { responseCode: 550 }))
      },
    })
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }), { relay })
    expect(await setup.client.mail(mailText())).toMatch(/^250/)
    expect(await setup.served.stored.dead(1)).toMatchObject([{ attempts: 1 }])
    expect(attempts).toBe(1)
  })

  test('that is not there gets the mail later, after a restart too', async () => {
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }), {
      relay: 'smtp://127.0.0.1:1',
      relayBackoff: '10m',
    })
    expect(await setup.client.mail(mailText())).toMatch(/^250/)
    await setup.served.listener.close(new AbortController().signal)
    expect(await setup.served.stored.counts()).toMatchObject({ waiting: 1, dead: 0 })
  })

  test('is signed in to with the name and the password of its URL', async () => {
    const logins: (string | undefined)[][] = []
    const { relay } = await startRelay({
      allowInsecureAuth: true,
      onAuth: ({ username, password }, _session, callback) => {
        logins.push([username, password ?? undefined])
        callback(null, { user: username })
      },
    })
    await using setup = await gateway((consumer) => consumer.reply({ text: 'x' }), {
      relay: relay.replace('//', '//us%40er:p%3Aw@'),
    })
    expect(await setup.client.mail(mailText())).toMatch(/^250/)
    await setup.served.stored.idle()
    expect(logins).toEqual([['us@er', 'p:w']])
  })
})

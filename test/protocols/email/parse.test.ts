/** Parsing the fields: everything that mail programs and strangers write, to one event, without ever failing. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { multipart, parse, part } from './parsing.ts'
import { mailText } from './support.ts'

test('an address that needs no parser reads as the parser reads it', async () => {
  const local = fc.stringMatching(/^[\w.+-]{1,12}$/)
  const domain = fc.stringMatching(/^[\da-zA-Z.-]{1,12}$/)
  const name = fc.array(fc.stringMatching(/^[\da-zA-Z]{1,8}$/), { maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(name, local, domain, fc.boolean(), async (words, before, after, isBare) => {
      const address = `${before}@${after}`
      const value = isBare ? address : [...words, `<${address}>`].join(' ')
      const direct = await parse(`From: ${value}\r\n\r\n`)
      const parsed = await parse(`From: ${value},\r\n\r\n`)
      expect(direct.from).toEqual(parsed.from)
    }),
    { numRuns: 500 },
  )
})

test('a plain mail is read field by field', async () => {
  const raw = Buffer.from(
    [
      'Received: from a',
      'Received: from b',
      'From: "Ann, B." <ann@example.org>, carl@example.org',
      'Reply-To: desk@example.org',
      'To: friends: bob@support.org, Dan <dan@example.org>;',
      'Cc: eve@example.org',
      'Subject: a long',
      ' subject',
      'Date: Tue, 1 Jul 2025 10:52:37 +0200 (CEST)',
      'Message-ID: <1@example.org>',
      'In-Reply-To: <0@example.org>',
      'References: <a@example.org>\r\n\t<0@example.org>',
      '',
      'one',
      '',
      'two',
      '',
    ].join('\r\n'),
  )
  const { raw: whole, headers, ...message } = await parse(raw)
  expect(message).toEqual({
    type: 'email.message',
    messageId: '<1@example.org>',
    inReplyTo: '<0@example.org>',
    references: ['<a@example.org>', '<0@example.org>'],
    subject: 'a long subject',
    from: [
      { name: 'Ann, B.', address: 'ann@example.org' },
      { name: '', address: 'carl@example.org' },
    ],
    replyTo: [{ name: '', address: 'desk@example.org' }],
    to: [
      { name: '', address: 'bob@support.org' },
      { name: 'Dan', address: 'dan@example.org' },
    ],
    cc: [{ name: '', address: 'eve@example.org' }],
    date: '2025-07-01T08:52:37.000Z',
    text: 'one\n\ntwo',
    html: '',
    attachments: [],
    automatic: '',
    defects: [],
  })
  expect(headers.slice(0, 2)).toEqual([
    ['received', 'from a'],
    ['received', 'from b'],
  ])
  expect(Buffer.from(whole)).toEqual(raw)
})

describe('names and addresses', () => {
  test('an encoded name cannot smuggle an address or a comma in', async () => {
    const word = `=?utf-8?Q?${'Boss <boss@example.org>, x'.replaceAll(/[^a-z]/gi, (letter) => `=${letter.charCodeAt(0).toString(16)}`)}?=`
    const { from } = await parse(`From: ${word} <evil@example.net>\r\n\r\n`)
    expect(from).toEqual([{ name: 'Boss <boss@example.org>, x', address: 'evil@example.net' }])
  })

  test('control characters in encoded words make no new line', async () => {
    const { subject, headers } = await parse('Subject: =?utf-8?Q?a=0D=0ABcc:=20x@example.org=00?=\r\n\r\n')
    expect(subject).toBe('a Bcc: x@example.org')
    expect(headers).toEqual([['subject', 'a Bcc: x@example.org']])
  })

  test('of a field that may stand once the first counts, and the others are named', async () => {
    const { from, subject, defects } = await parse('From: a@b.org\r\nFrom: c@d.org\r\nSubject: 1\r\nSubject: 2\r\n\r\n')
    expect([from[0]?.address, subject]).toEqual(['a@b.org', '1'])
    expect(defects).toEqual(
      expect.arrayContaining(['more than one from: the first is taken', 'more than one subject: the first is taken']),
    )
  })

  test.each([
    ['<a b@c>', '<ab@c>'],
    ['abc@d', '<abc@d>'],
    ['<a@b> junk', '<a@b>'],
    ['', ''],
    ['<>', ''],
  ])('a Message-ID %j is %j', async (field, messageId) => {
    expect((await parse(`Message-ID: ${field}\r\n\r\n`)).messageId).toBe(messageId)
  })
})

describe('what is missing or broken is named, and the rest is there', () => {
  test.each<[string, string, Partial<Awaited<ReturnType<typeof parse>>>, readonly string[]]>([
    ['nothing', '', { text: '', subject: '' }, ['no from', 'no date', 'no message-id']],
    ['no headers', 'just text\r\nmore\r\n', { text: 'just text\nmore' }, ['no empty line between headers and body']],
    ['no body', 'Subject: x\r\n', { subject: 'x', text: '' }, ['no body']],
    [
      'no empty line',
      'Subject: x\r\nHello Bob\r\n',
      { subject: 'x', text: 'Hello Bob' },
      ['no empty line between headers and body'],
    ],
    [
      'a mailbox line',
      'From ann@example.org Tue\r\nSubject: x\r\n\r\n',
      { subject: 'x' },
      ['starts with a mailbox separator'],
    ],
    ['a strange date', 'Date: yesterday\r\n\r\n', { date: '' }, ['date: unreadable']],
    ['a sender without an address', 'From: Ann\r\n\r\n', { from: [] }, ['from: no address in it']],
  ])('%s', async (_what, message, expected, defects) => {
    const parsed = await parse(message)
    expect(parsed).toMatchObject(expected)
    expect(parsed.defects).toEqual(expect.arrayContaining([...defects]))
  })

  test('line ends without CR are read too', async () => {
    expect(await parse('Subject: x\n y\n\nbody\n')).toMatchObject({ subject: 'x y', text: 'body' })
  })

  test('1,200 parts: the raw message is whole and the headers are read', async () => {
    const raw = Buffer.from(
      `Subject: many\r\n${multipart(...Array.from({ length: 1200 }, () => part('text/plain', 'a')))}`,
    )
    const message = await parse(raw)
    expect(message.subject).toBe('many')
    expect(message.raw).toHaveLength(raw.length)
    expect(message.defects).toEqual(expect.arrayContaining([expect.stringContaining('more than 1000 parts')]))
  })

  test('parts in parts in parts', async () => {
    const nested = (depth: number): string =>
      depth === 0
        ? part('text/plain', 'deep')
        : `Content-Type: multipart/mixed; boundary=b${depth}\r\n\r\n--b${depth}\r\n${nested(depth - 1)}\r\n--b${depth}--\r\n`
    expect((await parse(nested(200))).text).toBe('deep')
    expect((await parse(nested(1500))).defects).toEqual(
      expect.arrayContaining([expect.stringContaining('more than 1000 parts')]),
    )
  })

  test('a header of two megabytes is cut, the body is read', async () => {
    const message = await parse(`Subject: x\r\nX-Long: ${'a'.repeat(2_000_000)}\r\n\r\nbody`)
    expect(message).toMatchObject({
      subject: 'x',
      text: 'body',
      defects: expect.arrayContaining(['the headers are longer than 1 MiB: cut']),
    })
  })

  test.each([
    ['open groups', `From: ${'g:'.repeat(200_000)}`],
    ['open brackets', `From: ${'<'.repeat(500_000)}`],
    ['open quotes', `To: ${'"a'.repeat(200_000)}`],
    ['encoded words', `Subject: ${'=?utf-8?Q?a?= '.repeat(60_000)}`],
    ['half encoded words', `Subject: ${'=?a?b?'.repeat(150_000)}`],
    ['parameters', `Content-Type: text/plain${'; a=b'.repeat(150_000)}`],
    ['references', `References: ${'<a@b> '.repeat(150_000)}`],
    ['opening tags', `Content-Type: text/html\r\n\r\n${'<div>'.repeat(200_000)}`],
    ['opening scripts', `Content-Type: text/html\r\n\r\n${'<script></script '.repeat(60_000)}`],
    ['spaces', `Content-Type: text/html\r\n\r\n${'&nbsp;'.repeat(150_000)}`],
  ])('a megabyte of %s is no bomb', async (_what, message) => {
    await parse(`${message}\r\n\r\nx`)
  })

  test('no bytes at all make it fail, and the event is plain data', async () => {
    const known =
      'From: |Content-Type: |multipart/mixed; boundary=x|text/html|\r\n|\r\n\r\n|--x|--x--|=?utf-8?Q?|?=|\0|\xff|message/rfc822|<|>|"|,|;|:|@'
    const fields = 'Content-Transfer-Encoding: base64|Content-Disposition: attachment; filename*0*='
    const pieces = fc.constantFrom(...`${known}|${fields}`.split('|'))
    const message = fc.oneof(
      fc.array(fc.oneof(pieces, fc.string()), { maxLength: 30 }).map((list) => Buffer.from(list.join(''), 'latin1')),
      fc.uint8Array({ maxLength: 300 }),
    )
    await fc.assert(
      fc.asyncProperty(message, async (raw) => {
        const event = await parse(raw)
        expect(structuredClone(event)).toEqual(event)
        expect(event.headers.every(([name, value]) => name === name.toLowerCase() && !/[\0-\x1f]/.test(value))).toBe(
          true,
        )
      }),
      { numRuns: 300 },
    )
  })
})

describe('automatic', () => {
  test.each<[string, Readonly<Record<string, string>>, string, string]>([
    ['a person', {}, 'ann@example.org', ''],
    ['a person who says so', { 'Auto-Submitted': 'no' }, 'ann@example.org', ''],
    ['an automatic answer', { 'Auto-Submitted': 'auto-replied (vacation)' }, 'ann@example.org', 'auto-submitted'],
    [
      'an automatic answer with parameters',
      { 'Auto-Submitted': 'auto-generated; owner-email=x' },
      'a@b.org',
      'auto-submitted',
    ],
    ['a vacation notice without a return path', { 'Auto-Submitted': 'auto-replied' }, '', 'auto-submitted'],
    ['no return path', {}, '', 'bounce'],
    [
      'a delivery report',
      { 'Content-Type': 'multipart/report; report-type=delivery-status; boundary=x', 'Auto-Submitted': 'auto-replied' },
      '',
      'bounce',
    ],
    [
      'a receipt',
      { 'Content-Type': 'multipart/report; report-type="disposition-notification"; boundary=x' },
      'a@b.org',
      'report',
    ],
    ['a mailer daemon', { From: 'MAILER-DAEMON@example.org' }, 'x@example.org', 'bounce'],
    ['a list', { 'List-Id': '<x.example.org>' }, 'x@example.org', 'list'],
    ['a newsletter', { 'List-Unsubscribe': '<mailto:x@example.org>' }, 'x@example.org', 'list'],
    ['bulk', { Precedence: 'Bulk' }, 'x@example.org', 'bulk'],
    ['an auto reply by precedence', { Precedence: 'auto_reply' }, 'x@example.org', 'bulk'],
    ['Exchange', { 'X-Auto-Response-Suppress': 'DR, OOF, AutoReply' }, 'x@example.org', 'suppressed'],
    ['Exchange that suppresses nothing', { 'X-Auto-Response-Suppress': 'None' }, 'x@example.org', ''],
    ['an old auto reply', { 'X-Autoreply': 'yes' }, 'x@example.org', 'auto-submitted'],
    ['nobody', { From: 'Do-Not-Reply@example.org' }, 'x@example.org', 'no-reply'],
    ['nobody in the envelope', {}, 'shop-noreply@example.org', 'no-reply'],
    ['a list owner', {}, 'owner-list@example.org', 'no-reply'],
    ['somebody called Norep', { From: 'norep@example.org' }, 'norep@example.org', ''],
  ])('%s', async (_who, fields, sender, automatic) => {
    expect((await parse(mailText(fields), sender)).automatic).toBe(automatic)
  })
})

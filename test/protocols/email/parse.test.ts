/** Parsing: everything that mail programs and strangers write, to one event, without ever failing. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parseMessage } from '../../../protocols/email/parse.ts'
import { htmlToText } from '../../../protocols/email/html-text.ts'
import { mailText } from './support.ts'

const parse = (message: string | Uint8Array, sender = 'ann@example.org') =>
  parseMessage(typeof message === 'string' ? Buffer.from(message, 'latin1') : message, { sender })

const part = (type: string, body: string, fields = '') => `Content-Type: ${type}\r\n${fields}\r\n${body}\r\n`
const multipart = (...parts: readonly string[]) =>
  `Content-Type: multipart/mixed; boundary=x\r\n\r\n${parts.map((text) => `--x\r\n${text}`).join('')}--x--\r\n`
const base64 = 'Content-Transfer-Encoding: base64\r\n'

test('a body that needs no parser reads as the parser reads it', async () => {
  const line = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', '.', ' ', '--x', '=20', 'a '))
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (lines) => {
      const body = Buffer.from(lines.join('\r\n').replaceAll(/(?<!\r)\n|\r(?!\n)/g, ''))
      const head = (type: string) => Buffer.from(`Content-Type: text/plain; charset=utf-8${type}\r\n\r\n`)
      const direct = await parse(Buffer.concat([head(''), body]))
      const parsed = await parse(Buffer.concat([head('; x=y'), body]))
      expect(direct.text).toBe(parsed.text)
    }),
  )
})

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

describe('charsets', () => {
  const japanese = '\x1b$BF|K\\8l\x1b(B'
  const texts: readonly [charset: string, hex: string, text: string][] = [
    ['utf-8', 'e697a5e69cac', '日本'],
    ['iso-2022-jp', Buffer.from(japanese, 'latin1').toString('hex'), '日本語'],
    ['ISO-2022-JP-MS', Buffer.from(japanese, 'latin1').toString('hex'), '日本語'],
    ['shift_jis', '93fa967b8740', '日本①'],
    ['euc-jp', 'c6fccbdc', '日本'],
    ['gb2312', 'd6d0cec4', '中文'],
    ['gb18030', '95348233', '𠧕'],
    ['gbk', 'e946', '镕'],
    ['big5', 'c163', '繁'],
    ['euc-kr', 'c7d1b1db', '한글'],
    ['ks_c_5601-1987', '8c63', '똠'],
    ['cp949', '8c63', '똠'],
    ['windows-1250', '9e6c', 'žl'],
    ['windows-1251', 'cff0e8', 'При'],
    ['windows-1252', '93e993', '“é“'],
    ['koi8-r', 'f0d2c9', 'При'],
    ['iso-8859-1', 'fc', 'ü'],
    ['iso-8859-8-i', 'f9ec', 'של'],
    ['windows-874', 'e4b7c2', 'ไทย'],
    ['utf-16le', '68006900', 'hi'],
  ]

  test.each(texts)('%s is read in a body, in a subject and in a name', async (charset, hex, text) => {
    const encoded = Buffer.from(hex, 'hex').toString('base64')
    const word = `=?${charset}?B?${encoded}?=`
    const message = await parse(
      `From: ${word} <ann@example.org>\r\nSubject: ${word}\r\n${part(`text/plain; charset=${charset}`, encoded, base64)}`,
    )
    expect([message.subject, message.from[0]?.name, message.text]).toEqual([text, text, text])
    expect(message.from[0]?.address).toBe('ann@example.org')
  })

  test('a letter that two encoded words share is put together', async () => {
    expect((await parse('Subject: =?utf-8?B?5pel5g==?= =?UTF-8?B?nKw=?=\r\n\r\n')).subject).toBe('日本')
    expect((await parse('Subject: =?utf-8?Q?a=C3?=\r\n =?utf-8?Q?=BCb_c?= d\r\n\r\n')).subject).toBe('aüb c d')
  })

  test('what claims to be ASCII, or claims nothing, is UTF-8 or else windows-1252', async () => {
    expect((await parse('Subject: =?us-ascii?Q?=C3=BC?=\r\n\r\n')).subject).toBe('ü')
    expect((await parse('Subject: =?utf-8?Q?=FC?=\r\n\r\n')).subject).toBe('ü')
    expect((await parse('Subject: \xc3\xbc\r\n\r\n')).subject).toBe('ü')
    expect((await parse('Subject: \xfc\r\nFrom: J\xfcrg <a@b.org>\r\n\r\n')).from[0]?.name).toBe('Jürg')
  })

  test('an unknown charset is named, and what can be read is read', async () => {
    const message = await parse('Subject: =?x-klingon?Q?gr=C3=BCn?=\r\n\r\n')
    expect(message.subject).toBe('grün')
    expect(message.defects).toContain('subject: unknown charset x-klingon')
  })

  test('bytes that are not in the charset of their part are named', async () => {
    const { text, defects } = await parse(
      part('text/plain; charset=utf-8', '\xff\xfe ok', 'Content-Transfer-Encoding: 8bit\r\n'),
    )
    expect(text).toContain('ok')
    expect(defects).toContain('text: bytes that are not in its charset')
  })

  test.each([
    '=?',
    '=?utf-8',
    '=?utf-8?B',
    '=?utf-8?B?',
    '=?utf-8?X?a?=',
    '=?utf-8?B?%%%?=',
    '=??B?YQ==?=',
    '=?utf-8?Q?a',
  ])('a broken encoded word %j stays text', async (word) => {
    expect((await parse(`Subject: a ${word} b\r\n\r\n`)).subject).toMatch(/^a .*b$/)
  })
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

describe('attachments', () => {
  test('come with type, name and content, winmail.dat among them', async () => {
    const { text, attachments } = await parse(
      multipart(
        part('text/plain', 'see below'),
        part('application/ms-tnef; name=winmail.dat', 'QUJD', base64),
        part('image/png', 'QUJD', `${base64}Content-ID: <pic@x>\r\nContent-Disposition: inline; filename=a.png\r\n`),
        part('message/rfc822', 'Subject: inner\r\n\r\ninner'),
      ),
    )
    expect(text).toBe('see below')
    expect(attachments).toEqual([
      {
        filename: 'winmail.dat',
        contentType: 'application/ms-tnef',
        content: new Uint8Array([65, 66, 67]),
        contentId: '',
        inline: false,
      },
      {
        filename: 'a.png',
        contentType: 'image/png',
        content: new Uint8Array([65, 66, 67]),
        contentId: 'pic@x',
        inline: true,
      },
      expect.objectContaining({ contentType: 'message/rfc822' }),
    ])
  })

  test.each([
    ['../../etc/passwd', 'passwd'],
    ['..\\\\..\\\\boot.ini', 'boot.ini'],
    ['/etc/passwd', 'passwd'],
    ['a\tb.txt', 'ab.txt'],
    ['.bashrc', 'bashrc'],
    ['..', ''],
    ['=?utf-8?Q?..=2F..=2Fx=00.txt?=', 'x.txt'],
    ['=?utf-8?Q?exe=E2=80=AEgpj.txt?=', 'exegpj.txt'],
  ])('a name %j is %j', async (given, name) => {
    const { attachments } = await parse(
      multipart(part('application/pdf', 'x', `Content-Disposition: attachment; filename="${given}"\r\n`)),
    )
    expect(attachments.map(({ filename }) => filename)).toEqual([name])
  })

  test('a name in pieces and in a charset is put together (RFC 2231)', async () => {
    const fields = "Content-Disposition: attachment;\r\n filename*0*=utf-8''%E2%82%AC;\r\n filename*1=.pdf\r\n"
    const { attachments } = await parse(multipart(part('application/pdf', 'x', fields)))
    expect(attachments[0]?.filename).toBe('€.pdf')
  })

  test('a type that is none is bytes', async () => {
    const { attachments } = await parse(multipart(part('no type', 'x', 'Content-Disposition: attachment\r\n')))
    expect(attachments[0]?.contentType).toMatch(/^(?:application\/octet-stream|text\/plain)$/)
  })
})

describe('HTML', () => {
  test('is the text when there is no other, and stays as it came', async () => {
    const html = '<p>Gr&uuml;&szlig;e</p><script>evil()</script>'
    const { text, html: kept } = await parse(part('text/html; charset=utf-8', html))
    expect(text).toBe('Grüße')
    expect(kept.trim()).toBe(html)
  })

  test('does not replace a text part', async () => {
    const alternative = `Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n${part('text/plain', 'plain')}--x\r\n${part('text/html', '<b>rich</b>')}--x--\r\n`
    expect(await parse(alternative)).toMatchObject({ text: 'plain', html: expect.stringContaining('<b>rich</b>') })
  })

  test.each([
    ['a<br>b<div>c</div>d', 'a\nb\nc\nd'],
    ['<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>', 'a b\n\nc'],
    ['<p>one</p>\n\n<p>two</p>', 'one\n\ntwo'],
    ['1 &lt; 2 &amp;&amp; 3 &gt; 2 &#33; &#x21; &unknown; &euro;', '1 < 2 && 3 > 2 ! ! &unknown; €'],
    ['<style>p{}</style><title>t</title>x<!-- <b> -->y', 'xy'],
    ['a < b', 'a < b'],
    ['<b', ''],
    ['&#0;&#55296;&#1114112;', ''],
    ['a<script>b', 'a'],
  ])('%j reads %j', (html, text) => {
    expect(htmlToText(html)).toBe(text)
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

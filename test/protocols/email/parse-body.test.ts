/** Parsing the body: charsets, attachments and HTML, as mail programs and strangers write them. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { htmlToText } from '../../../protocols/email/html-text.ts'
import { base64, multipart, parse, part } from './parsing.ts'

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

/** A stored message as a person reads it. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readBody } from '../../../protocols/email/body-reader.ts'

const base64 = (text: string): string => Buffer.from(text).toString('base64')
const lines = (...all: readonly string[]): Buffer => Buffer.from(all.join('\r\n'))

test('headers, text and the names of attachments are decoded, and what said how they were written is left out', async () => {
  const body = lines(
    'From: =?utf-8?Q?D=C3=B6rte?= <d@example.org>',
    `Subject: =?utf-8?B?${base64('Feuer in der Küche')}?=`,
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary=b',
    '',
    '--b',
    'Content-Type: text/plain; charset=iso-8859-1',
    'Content-Transfer-Encoding: quoted-printable',
    '',
    'Hilfe, die K=FCche brennt',
    '--b',
    'Content-Type: image/png',
    'Content-Disposition: attachment; filename="k.png"',
    'Content-Transfer-Encoding: base64',
    '',
    base64('picture'),
    '--b--',
  )
  expect(await readBody(body)).toBe(
    [
      'From: Dörte <d@example.org>',
      'Subject: Feuer in der Küche',
      '',
      'Hilfe, die Küche brennt',
      '',
      '[attachment "k.png", image/png, 7 bytes]',
    ].join('\n'),
  )
})

test('of a message that has HTML alone it is the text of that', async () => {
  const body = lines(
    'Subject: Hi',
    'Content-Type: text/html',
    'Content-Transfer-Encoding: base64',
    '',
    base64('<b>Fire</b>'),
  )
  expect(await readBody(body)).toBe('Subject: Hi\n\nFire')
})

test('whatever was stored can be read', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
      expect(typeof (await readBody(bytes))).toBe('string')
    }),
    { numRuns: 200 },
  )
})

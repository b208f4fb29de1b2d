/** Bytes to `email.message`. Never fails: what cannot be read is left empty and named in `defects`; `raw` is always whole. */
import addressparser from 'nodemailer/lib/addressparser'
import { automaticReason } from './automatic.ts'
import { decodeValue, plainBytes, splitHead, type Field } from './headers.ts'
import { htmlToText } from './html-text.ts'
import { parseBody } from './mime.ts'
import type { EmailAddress, EmailMessage } from './scope.ts'

/** RFC 5322 3.6: at most one of each. */
const singular = new Set([
  'from',
  'sender',
  'reply-to',
  'to',
  'cc',
  'bcc',
  'message-id',
  'in-reply-to',
  'references',
  'subject',
  'date',
])
/** Address fields beyond this are read up to here: a header of a megabyte of commas would stop the gateway for a second. */
const longestAddresses = 64 * 1024
const mostReferences = 1000
const longestHtml = 1024 * 1024

export interface Envelope {
  /** The envelope sender; empty for the null return path. */
  readonly sender: string
}

export async function parseMessage(raw: Uint8Array, { sender }: Envelope): Promise<EmailMessage> {
  const { fields, bodyStart, defects: headDefects } = splitHead(raw)
  const defects = [...headDefects]
  const headers = fields.map(({ name, value }): readonly [string, string] => {
    const { text, unknownCharset } = decodeValue(value)
    if (unknownCharset !== undefined) defects.push(`${name}: unknown charset ${unknownCharset.slice(0, 40)}`)
    return [name, text]
  })
  defects.push(...repeated(fields), ...missing(fields))

  const text = (name: string) => headers.find(([found]) => found === name)?.[1] ?? ''
  const addresses = (name: string) =>
    parseAddresses(fields.find((field) => field.name === name)?.value ?? '', name, defects)
  const from = addresses('from')
  const body = await parseBody(fields, raw.subarray(bodyStart))
  defects.push(...body.defects)
  return {
    type: 'email.message',
    raw,
    headers,
    messageId: messageIds(text('message-id'))[0] ?? '',
    inReplyTo: messageIds(text('in-reply-to'))[0] ?? '',
    references: messageIds(text('references')).slice(-mostReferences),
    subject: text('subject'),
    from,
    replyTo: addresses('reply-to'),
    to: addresses('to'),
    cc: addresses('cc'),
    date: isoDate(text('date'), defects),
    text: body.text === '' && body.html !== '' ? htmlToText(body.html.slice(0, longestHtml)) : body.text,
    html: body.html,
    attachments: body.attachments,
    automatic: automaticReason({ sender, from, headers }),
    defects: [...new Set(defects)],
  }
}

function repeated(fields: readonly Field[]): string[] {
  const counts = new Map<string, number>()
  for (const { name } of fields) counts.set(name, (counts.get(name) ?? 0) + 1)
  return [...counts]
    .filter(([name, count]) => count > 1 && singular.has(name))
    .map(([name]) => `more than one ${name}: the first is taken`)
}

// RFC 5322 3.6: the two that every message has. A Message-ID is only a SHOULD, and still the one that threads hang on.
function missing(fields: readonly Field[]): string[] {
  return ['from', 'date', 'message-id']
    .filter((wanted) => !fields.some(({ name, value }) => name === wanted && value !== ''))
    .map((name) => `no ${name}`)
}

/** Groups are flattened; what has no address in it is left out. */
function parseAddresses(value: string, name: string, defects: string[]): EmailAddress[] {
  if (value.length > longestAddresses) defects.push(`${name}: longer than 64 KiB: cut`)
  // Names are decoded after the cut into addresses: no encoded word can smuggle a comma or an address in (RFC 2047 5).
  const parsed = addressparser(plainBytes(value.slice(0, longestAddresses)), { flatten: true })
  const found = parsed.map((entry) => ({
    address: entry.address.replaceAll(/[\p{Cc}\s]/gu, ''),
    name: decodeValue(entry.name).text,
  }))
  if (value !== '' && !found.some(({ address }) => address.includes('@'))) defects.push(`${name}: no address in it`)
  return found.filter(({ address }) => address !== '')
}

/** What stands in angle brackets; broken ones without brackets get them. */
function messageIds(value: string): string[] {
  const bracketed = [...value.matchAll(/<([^<>]{1,900})>/g)].map(([, id = '']) => `<${id.replaceAll(/\s/g, '')}>`)
  if (bracketed.length > 0) return bracketed
  const bare = value.split(/\s+/)[0]?.replaceAll(/[<>]/g, '').slice(0, 900)
  return bare ? [`<${bare}>`] : []
}

function isoDate(value: string, defects: string[]): string {
  if (value === '') return ''
  const time = Date.parse(value)
  if (!Number.isNaN(time)) return new Date(time).toISOString()
  defects.push('date: unreadable')
  return ''
}

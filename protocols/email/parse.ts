/** Bytes to `email.message`. Never fails: what cannot be read is left empty and named in `defects`; `raw` is always whole. */
import addressparser from 'nodemailer/lib/addressparser'
import { automaticReason } from './automatic.ts'
import { decodeValue, plainBytes, splitHead, type Head } from './headers.ts'
import { htmlToText } from './html-text.ts'
import { Reading, messageOf, type Parts } from './message.ts'
import { isPlain, parseParts, plainBody, type Body } from './mime.ts'
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
/** RFC 5322 3.6: the two that every message has. A Message-ID is only a SHOULD, and still the one that threads hang on. */
const expected = ['from', 'date', 'message-id']
/** What most address fields are: one address, alone or after a name of plain words. */
const oneAddress = /^(?:((?:[a-z\d]+ )*[a-z\d]+) )?<([\w.+-]+@[a-z\d.-]+)>$|^[\w.+-]+@[a-z\d.-]+$/i
/** Address fields beyond this are read up to here: a header of a megabyte of commas would stop the gateway for a second. */
const longestAddresses = 64 * 1024
const mostReferences = 1000
const longestHtml = 1024 * 1024

export interface Envelope {
  /** The envelope sender; empty for the null return path. */
  readonly sender: string
}

/** As `openMessage`. */
export async function parseMessage(raw: Uint8Array, envelope: Envelope): Promise<EmailMessage> {
  return messageOf(await openMessage(raw, envelope, splitHead(raw)))
}

/**
 * What the message says, which is read at the first question; `head` is that of `raw`. A body that is no plain text is read
 * before: its parser takes its time.
 */
export function openMessage(raw: Uint8Array, envelope: Envelope, head: Head): Reading | Promise<Reading> {
  const bytes = raw.subarray(head.bodyStart)
  const read = (body: Body) => new Reading(raw, () => parse(head, envelope, body))
  if (!isPlain(head, bytes)) return parseParts(head, bytes).then(read)
  return new Reading(raw, () => parse(head, envelope, plainBody(bytes)))
}

function parse(head: Head, { sender }: Envelope, body: Body): Parts {
  const { fields, defects: headDefects } = head
  const defects = new Set(headDefects)
  const headers: (readonly [name: string, value: string])[] = []
  /** The first of each name. */
  const first = new Map<string, Value>()
  for (const { name, value } of fields) {
    const { text, unknownCharset } = decodeValue(value)
    headers.push([name, text])
    if (unknownCharset !== undefined) defects.add(`${name}: unknown charset ${unknownCharset.slice(0, 40)}`)
    if (!first.has(name)) first.set(name, { text, raw: value })
    else if (singular.has(name)) defects.add(`more than one ${name}: the first is taken`)
  }
  for (const name of expected) if (!first.get(name)?.raw) defects.add(`no ${name}`)

  const text = (name: string) => first.get(name)?.text ?? ''
  const addresses = (name: string) => parseAddresses(first.get(name)?.raw ?? '', name, defects)
  const from = addresses('from')
  const replyTo = addresses('reply-to')
  const to = addresses('to')
  const cc = addresses('cc')
  const date = isoDate(text('date'), defects)
  for (const defect of body.defects) defects.add(defect)
  return {
    headers,
    messageId: messageIds(text('message-id'))[0] ?? '',
    inReplyTo: messageIds(text('in-reply-to'))[0] ?? '',
    references: messageIds(text('references')).slice(-mostReferences),
    subject: text('subject'),
    from,
    replyTo,
    to,
    cc,
    date,
    text: body.text === '' && body.html !== '' ? htmlToText(body.html.slice(0, longestHtml)) : body.text,
    html: body.html,
    attachments: body.attachments,
    automatic: automaticReason({ sender, from, headers, first: text }),
    defects: [...defects],
  }
}

/** What is asked of a message before anything else, as `parseMessage` would answer. */
export interface Sight {
  readonly messageId: string
  /** How many servers say that they had it. */
  readonly hops: number
  readonly head: Head
}

export function sightMessage(raw: Uint8Array): Sight {
  const head = splitHead(raw)
  const [messageId = ''] = messageIds(decodeValue(head.value('message-id')).text)
  return { messageId, hops: head.count('received'), head }
}

/** A field's value, decoded and as it came. */
interface Value {
  readonly text: string
  readonly raw: string
}

/** Groups are flattened; what has no address in it is left out. */
function parseAddresses(value: string, name: string, defects: Set<string>): EmailAddress[] {
  if (value === '') return []
  const one = value.length < 500 ? oneAddress.exec(value) : null
  if (one) return [{ address: one[2] ?? value, name: one[1] ?? '' }]
  if (value.length > longestAddresses) defects.add(`${name}: longer than 64 KiB: cut`)
  // Names are decoded after the cut into addresses: no encoded word can smuggle a comma or an address in (RFC 2047 5).
  const parsed = addressparser(plainBytes(value.slice(0, longestAddresses)), { flatten: true })
  const found = parsed.map((entry) => ({
    address: entry.address.replaceAll(/[\p{Cc}\s]/gu, ''),
    name: decodeValue(entry.name).text,
  }))
  if (!found.some(({ address }) => address.includes('@'))) defects.add(`${name}: no address in it`)
  return found.filter(({ address }) => address !== '')
}

/** What stands in angle brackets; broken ones without brackets get them. */
function messageIds(value: string): string[] {
  if (value === '') return []
  if (/^<[^<>\s]{1,900}>$/.test(value)) return [value]
  const bracketed = [...value.matchAll(/<([^<>]{1,900})>/g)].map(([, id = '']) => `<${id.replaceAll(/\s/g, '')}>`)
  if (bracketed.length > 0) return bracketed
  const bare = value.split(/\s+/)[0]?.replaceAll(/[<>]/g, '').slice(0, 900)
  return bare ? [`<${bare}>`] : []
}

function isoDate(value: string, defects: Set<string>): string {
  if (value === '') return ''
  const time = Date.parse(value)
  if (!Number.isNaN(time)) return new Date(time).toISOString()
  defects.add('date: unreadable')
  return ''
}

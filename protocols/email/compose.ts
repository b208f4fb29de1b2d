/** Outgoing mail, written out by nodemailer from an event whose every part was looked at. */
import { SignalboxError } from '../../src/runtime/errors.ts'
import { asciiDomainForm, foldAddress } from './address.ts'
import type { EmailMessage, EmailReply, EmailScope, EmailSend } from './scope.ts'

/** A message that is ready to go. */
export interface OutgoingMail {
  readonly envelope: { readonly from: string; readonly to: readonly string[] }
  readonly messageId: string
  readonly raw: Buffer
}

interface Address {
  readonly name: string
  readonly address: string
}

/** What the gateway writes itself, and an application's `headers` may not. */
const ownHeaders =
  /^(?:from|sender|to|cc|bcc|subject|date|message-id|return-path|received|mime-version|content-.*|resent-.*|dkim-signature|authentication-results)$/
const replyHeaders = /^(?:in-reply-to|references|auto-submitted)$/
const mostReferences = 20
const longestSubject = 900

/** RFC 3834 3: threaded, marked as automatic, and with a null return path, so that its own bounce has nowhere to go. */
export async function composeReply(
  event: EmailReply,
  { recipient, sender }: EmailScope,
  message: EmailMessage,
): Promise<OutgoingMail> {
  const isSender = ({ address }: Address) => foldAddress(address)?.address === foldAddress(sender)?.address
  const thread = [...message.references, message.messageId].filter((id) => isMessageId(id)).slice(-mostReferences)
  const headers = {
    ...checkedHeaders(event, (name) => replyHeaders.test(name)),
    'Auto-Submitted': 'auto-replied',
    // Microsoft Exchange looks at this one.
    'X-Auto-Response-Suppress': 'All',
  }
  return write(event, {
    from: recipient,
    to: [{ name: message.from.find(isSender)?.name ?? '', address: sender }],
    returnPath: '',
    subject: event.subject ?? `Re: ${message.subject.replace(/^(?:re:\s*)+/i, '')}`,
    thread,
    headers,
  })
}

export async function composeSend(event: EmailSend, { recipient }: EmailScope): Promise<OutgoingMail> {
  const to = (typeof event.to === 'string' ? [event.to] : [...event.to]).map((text) => checkedAddress(event.type, text))
  if (to.length === 0) throw bad(event.type, 'to: expected at least one address')
  // RFC 3834 5: no person wrote it; an application that knows better says so itself.
  const headers = { 'Auto-Submitted': 'auto-generated', ...checkedHeaders(event, () => false) }
  return write(event, { from: recipient, to, returnPath: recipient, subject: event.subject, thread: [], headers })
}

interface Parts {
  readonly from: string
  readonly to: readonly Address[]
  readonly returnPath: string
  readonly subject: string
  readonly thread: readonly string[]
  readonly headers: Readonly<Record<string, string>>
}

async function write(event: EmailReply | EmailSend, parts: Parts): Promise<OutgoingMail> {
  const { from, to, returnPath, subject, thread, headers } = parts
  const messageId = event.messageId ?? `<${crypto.randomUUID()}@${asciiDomainForm(from).split('@').at(-1)}>`
  if (!isMessageId(messageId)) throw bad(event.type, `messageId: expected <…@…>, found ${shown(messageId)}`)
  const { text, html } = event
  if (typeof text !== 'string') throw bad(event.type, `text: expected a string, found ${typeof text}`)
  if (html !== undefined && typeof html !== 'string')
    throw bad(event.type, `html: expected a string, found ${typeof html}`)
  const mail = {
    from: { name: '', address: from },
    to: [...to],
    subject: oneLine(String(subject)).slice(0, longestSubject),
    messageId,
    ...(thread.length > 0 && { inReplyTo: thread.at(-1), references: [...thread] }),
    headers,
    text,
    ...(html !== undefined && { html }),
    attachments: (event.attachments ?? []).map((attachment) => checkedAttachment(event.type, attachment)),
    newline: 'win',
    disableFileAccess: true,
    disableUrlAccess: true,
  }
  // Loaded with the first mail that is sent: it is large.
  const { default: MailComposer } = await import('nodemailer/lib/mail-composer')
  const raw = await new MailComposer(mail).compile().build()
  return { envelope: { from: returnPath, to: to.map(({ address }) => address) }, messageId, raw }
}

function checkedAttachment(type: string, attachment: NonNullable<EmailReply['attachments']>[number]) {
  const { filename, contentType, content } = attachment
  if (!ArrayBuffer.isView(content)) throw bad(type, `attachments: expected content as bytes, found ${typeof content}`)
  if (!/^[\w.+-]+\/[\w.+-]+$/.test(contentType)) {
    throw bad(type, `attachments: expected a content type such as text/plain, found ${shown(contentType)}`)
  }
  return {
    filename: oneLine(filename),
    contentType,
    content: Buffer.from(content.buffer, content.byteOffset, content.byteLength),
  }
}

function checkedHeaders(
  { type, headers = {} }: EmailReply | EmailSend,
  isOwn: (name: string) => boolean,
): Record<string, string> {
  const checked: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    // RFC 5322 3.6.8: printable, and no colon.
    if (!/^[!-9;-~]{1,76}$/.test(name)) throw bad(type, `headers: ${shown(name)} is no name of a header`)
    const lower = name.toLowerCase()
    if (ownHeaders.test(lower) || isOwn(lower)) throw bad(type, `headers: ${name} is the gateway's own to write`)
    // As nodemailer writes the names, so that ours are overwritten and not doubled.
    const written = lower.replaceAll(/(?:^|-)[a-z]/g, (letter) => letter.toUpperCase())
    checked[written] = oneLine(String(value))
  }
  return checked
}

/** `ann@example.org` or `Ann <ann@example.org>`: one address, whatever stands in it. */
function checkedAddress(type: string, text: unknown): Address {
  const [, name = '', bracketed] = /^([^<>]*)<([^<>]+)>$/.exec(String(text).trim()) ?? []
  const address = (bracketed ?? String(text)).trim()
  if (!foldAddress(address)) {
    throw new SignalboxError(
      'bad_address',
      `${type}: expected an address such as ann@example.org, found ${shown(text)}`,
    )
  }
  return { name: oneLine(name).replaceAll(/^"|"$/g, '').trim(), address }
}

function isMessageId(text: string): boolean {
  return /^<[!-;=?-~]{1,250}>$/.test(text)
}

/** Nothing that an application passes on can begin a line of its own. */
function oneLine(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .trim()
}

function shown(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 80))
}

function bad(type: string, words: string): SignalboxError {
  return new SignalboxError('unexpected_event', `${type} with ${words}`)
}

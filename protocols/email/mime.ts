/** The body of a message: text, HTML and attachments, by mailparser, with everything bounded that a stranger can blow up. */
import { isUtf8 } from 'node:buffer'
import type { Head } from './headers.ts'
import type { EmailAttachment } from './scope.ts'

export interface Body {
  readonly text: string
  readonly html: string
  readonly attachments: readonly EmailAttachment[]
  readonly defects: readonly string[]
}

/** A parser that does not come to an end is given up after this many milliseconds. */
const longestParse = 20_000

// Conversions between text and HTML, links and inlined pictures are work on a stranger's text that nobody asked for.
const parserOptions = {
  skipHtmlToText: true,
  skipTextToHtml: true,
  skipTextLinks: true,
  skipImageLinks: true,
  keepDeliveryStatus: true,
}

/** The fields of the message itself that say how its body is to be read; the others have been read already. */
const mimeFields = ['mime-version', 'content-type', 'content-transfer-encoding', 'content-disposition', 'content-id']

/** Whether the body is text as it stands, and needs no parser: most short mails, and those of most devices. */
export function isPlain(head: Head, body: Uint8Array): boolean {
  const isText = /^(?:text\/plain(?:\s*;\s*charset\s*=\s*"?(?:utf-8|us-ascii)"?)?)?\s*;?\s*$/i.test(
    head.value('content-type'),
  )
  const isBare =
    /^(?:[78]bit|binary)?$/i.test(head.value('content-transfer-encoding')) && head.value('content-disposition') === ''
  return isText && isBare && isUtf8(body)
}

/** Of a body that is plain. */
export function plainBody(body: Uint8Array): Body {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString().replaceAll(/\r\n/g, '\n')
  return { text: withoutNul(text).trimEnd(), html: '', attachments: [], defects: [] }
}

/** Resolves always; what could be read until a limit or a fault is in the answer. */
export async function parseParts(head: Head, body: Uint8Array): Promise<Body> {
  // Loaded with the first message that needs it: it is large.
  const { MailParser } = await import('mailparser')
  const { promise, resolve } = Promise.withResolvers<Body>()
  const attachments: EmailAttachment[] = []
  const defects: string[] = []
  let text = ''
  let html = ''
  const parser = new MailParser(parserOptions)
  const finish = () => {
    clearTimeout(timer)
    parser.destroy()
    if (text.includes('\ufffd') || html.includes('\ufffd')) defects.push('text: bytes that are not in its charset')
    resolve({ text: withoutNul(text).trimEnd(), html: withoutNul(html), attachments, defects })
  }
  const timer = setTimeout(() => {
    defects.push('the parts took too long to read')
    finish()
  }, longestParse)

  parser.on('data', (part: Part) => {
    if (part.type === 'text') {
      text = part.text ?? ''
      html = part.html || ''
    } else collect(part, attachments)
  })
  parser.on('error', (error: Error & { code?: string }) => {
    defects.push(
      error.code === 'EMAXLEN'
        ? 'more than 1000 parts, or a part with headers over 1 MiB: the text is not read'
        : `parts: ${error.message.slice(0, 100)}`,
    )
    finish()
  })
  parser.on('end', finish)
  parser.write(mimeHead(head))
  parser.end(body)
  return promise
}

interface AttachmentPart {
  readonly type: 'attachment'
  readonly contentType: string
  readonly contentDisposition?: string
  readonly filename?: string | false
  readonly cid?: string
  readonly related?: boolean
  readonly content: NodeJS.ReadableStream
  readonly release: (() => void) | null
}
type Part = AttachmentPart | { readonly type: 'text'; readonly text?: string; readonly html?: string | false }

function collect(part: AttachmentPart, attachments: EmailAttachment[]): void {
  const chunks: Buffer[] = []
  part.content.on('data', (chunk: Buffer) => chunks.push(chunk))
  part.content.on('error', () => part.release?.())
  part.content.on('end', () => {
    attachments.push({
      filename: safeName(part.filename || ''),
      contentType: /^[\w.+-]+\/[\w.+-]+$/.test(part.contentType)
        ? part.contentType.toLowerCase()
        : 'application/octet-stream',
      content: new Uint8Array(Buffer.concat(chunks)),
      contentId: (part.cid ?? '').replaceAll(/[\p{Cc}\s<>]/gu, ''),
      inline: part.contentDisposition === 'inline' || part.related === true,
    })
    part.release?.()
  })
}

/** The first of each: a second one is what a scanner reads and a mail program does not. */
function mimeHead(head: Head): Buffer {
  const raw = mimeFields.map((name) => head.raw(name))
  const lines = raw.map((field) => (field === '' || field.endsWith('\n') ? field : `${field}\r\n`))
  return Buffer.from(`${lines.join('')}\r\n`, 'latin1')
}

/** The last part of any path, without what is invisible or turns the reading direction, and not as a dot file. */
function safeName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? ''
  const visible = last.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '').trim()
  return visible.replace(/^\.+/, '').slice(-255)
}

function withoutNul(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '') : text
}

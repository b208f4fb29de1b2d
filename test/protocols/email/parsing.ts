/** Messages for the tests of the parser, and the parser as they call it. */
import type { EmailMessage } from '../../../protocols/email/scope.ts'
import { parseMessage } from '../../../protocols/email/parse.ts'

/** Text is one letter a byte. */
export function parse(message: string | Uint8Array, sender = 'ann@example.org'): Promise<EmailMessage> {
  return parseMessage(typeof message === 'string' ? Buffer.from(message, 'latin1') : message, { sender })
}

export function part(type: string, body: string, fields = ''): string {
  return `Content-Type: ${type}\r\n${fields}\r\n${body}\r\n`
}

export function multipart(...parts: readonly string[]): string {
  const all = parts.map((text) => `--x\r\n${text}`).join('')
  return `Content-Type: multipart/mixed; boundary=x\r\n\r\n${all}--x--\r\n`
}

/** The field of a part that is encoded so. */
export const base64 = 'Content-Transfer-Encoding: base64\r\n'

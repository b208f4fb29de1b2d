/** A stored message as a person reads it: its headers and its text decoded, its attachments named. */
import type { ReadBody } from '../../src/asgi/definition.ts'
import { parseMessage } from './parse.ts'

/** They say how the message was written, and it is read here. */
const encoding = /^(?:mime-version|content-)/

export const readBody: ReadBody = async (raw) => {
  const { headers, text, attachments, defects } = await parseMessage(raw, { sender: '' })
  const lines = headers.filter(([name]) => !encoding.test(name)).map(([name, value]) => `${titled(name)}: ${value}`)
  const named = attachments.map(
    ({ filename, contentType, content }) =>
      `[attachment ${JSON.stringify(filename)}, ${contentType}, ${content.byteLength} bytes]`,
  )
  const unread = defects.filter((defect) => !defect.startsWith('no ')).map((defect) => `[${defect}]`)
  return [...lines, '', text, ...(named.length + unread.length > 0 ? ['', ...named, ...unread] : [])].join('\n')
}

const titled = (name: string): string => name.replaceAll(/(?<![a-z\d])[a-z]/g, (letter) => letter.toUpperCase())

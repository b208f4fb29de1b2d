/** Bytes to text by the charset that a mail claims, which is often another than the one it is in. */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

const claimsNothing =
  /^(?:|utf-?8|us-ascii|ascii|ansi_x3\.4-1968|[78]bit|unknown-8bit|x-unknown|default|default_charset)$/

/** Never fails: text of an unknown charset is read as UTF-8, or else as windows-1252, in which every byte is a letter. */
export function decodeText(bytes: Uint8Array, claim: string): { readonly text: string; readonly known: boolean } {
  // RFC 2231 5: `utf-8*en` says the language too.
  const charset = claim.replace(/\*.*$/s, '').replaceAll('"', '').trim().toLowerCase()
  const isJapanese = /^(?:iso-2022-jp|csiso2022jp|cp5022\d)/.test(charset)
  if (claimsNothing.test(charset)) return { text: guess(bytes), known: true }
  if (isJapanese) return { text: new TextDecoder('iso-2022-jp').decode(bytes), known: true }
  // Of the decoders at hand only this one knows all of Korean, and the names that Windows has for the others.
  // Loaded with the first such text: it is large.
  const libmime = require('libmime') as typeof import('libmime')
  const text = libmime.decodeWord(charset, 'B', Buffer.from(bytes).toString('base64'))
  const known = isEncoding(charset) || text !== Buffer.from(bytes).toString()
  return known ? { text, known } : { text: guess(bytes), known }
}

function guess(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes)
  }
}

function isEncoding(label: string): boolean {
  try {
    return new TextDecoder(label).encoding !== ''
  } catch {
    return false
  }
}

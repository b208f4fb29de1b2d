/** Mailbox addresses of the envelope, folded to one form, so that equal mailboxes are equal text. */
import { domainToASCII, domainToUnicode } from 'node:url'

export interface FoldedAddress {
  /** `local@domain`, in the folded form. */
  readonly address: string
  readonly local: string
  /** The local part without the plus-tag. */
  readonly base: string
  /** `invoices` of `bob+invoices@…`; empty when there is none. */
  readonly tag: string
  /** In Unicode; an address literal as it is, in its brackets. */
  readonly domain: string
}

/** RFC 5321 4.5.3.1: 64 for the local part, 255 for the domain, and the `@`. Longer ones match no rule. */
export const longestAddress = 320

// RFC 5322 3.2.3, RFC 6531 3.3: atext, and beyond ASCII anything that is no control, space or lone surrogate.
const dotAtom = /^[^\s\p{C}"(),:;<>@[\\\]]+$/u
const addressLiteral = /^\[(?:\d{1,3}(?:\.\d{1,3}){3}|ipv6:[\da-f:.]+)\]$/
const domainText = /^[\p{L}\p{M}\p{N}\u200c\u200d。．｡._-]+$/u

/** The same few addresses come again and again: at RCPT, in each router, at DATA. */
const mostRemembered = 1000
const remembered = new Map<string, FoldedAddress | undefined>()

/**
 * Upper and lower case, quotes that are not needed, the Unicode and the `xn--` form of a domain, and a dot at its end make
 * no other mailbox. Undefined: this is no address.
 */
export function foldAddress(text: string): FoldedAddress | undefined {
  // The mark of bytes that were no UTF-8: two different addresses could look alike.
  if (text.length > longestAddress || text.includes('\ufffd')) return undefined
  if (remembered.has(text)) return remembered.get(text)
  if (remembered.size >= mostRemembered) remembered.clear()
  const folded = fold(text)
  remembered.set(text, folded)
  return folded
}

function fold(text: string): FoldedAddress | undefined {
  const at = text.lastIndexOf('@')
  if (at < 1) return undefined
  const local = foldLocal(text.slice(0, at))
  const domain = foldDomain(text.slice(at + 1))
  if (local === undefined || domain === undefined) return undefined
  const plus = local.startsWith('"') ? -1 : local.indexOf('+')
  const tagged = plus > 0
  return Object.freeze({
    address: `${local}@${domain}`,
    local,
    base: tagged ? local.slice(0, plus) : local,
    tag: tagged ? local.slice(plus + 1) : '',
    domain,
  })
}

/** The same domain in Unicode and lower case; undefined: this is no domain. */
export function foldDomain(text: string): string | undefined {
  const lower = text.toLowerCase()
  if (addressLiteral.test(lower)) return lower
  // What a URL would take for a path, a port or an escape is no part of a mail domain.
  if (!domainText.test(lower)) return undefined
  const ascii = domainToASCII(lower).replace(/\.$/, '')
  const labels = ascii.split('.')
  if (ascii.length > 253 || labels.some((label) => label === '' || label.length > 63)) return undefined
  const unicode = domainToUnicode(ascii)
  // Its mapping may make signs of letters (`⅐` becomes `1⁄7`), and those are no domain.
  return domainText.test(unicode) ? unicode : undefined
}

/** The address with the domain in its `xn--` form. */
export function asciiDomainForm(address: string): string {
  const at = address.lastIndexOf('@') + 1
  const domain = address.slice(at)
  return domain.startsWith('[') ? address : address.slice(0, at) + domainToASCII(domain)
}

// RFC 5321 4.1.2: `"bob"@…` and `bob@…` are the same mailbox; a receiver folds case as it likes (2.4).
function foldLocal(text: string): string | undefined {
  const folded = text.normalize('NFC').toLowerCase()
  const quoted = /^"((?:[^"\\\p{C}]|\\[^\p{C}])*)"$/u.exec(folded)
  const content = quoted?.[1]?.replaceAll(/\\(.)/gu, '$1') ?? folded
  if (dotAtom.test(content) && !/^\.|\.\.|\.$/.test(content)) return content
  return quoted ? `"${content.replaceAll(/["\\]/g, '\\$&')}"` : undefined
}

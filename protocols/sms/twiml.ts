/** The webhook's answer in the provider's words. */
import type { Outgoing } from './outgoing.ts'

/**
 * All replies in one document, in their order; an empty one when there are none. Letter for letter what Twilio's own builder
 * writes, which takes more time for one reply than all the rest of a request.
 */
export function twiml(replies: readonly Pick<Outgoing, 'body' | 'media'>[]): string {
  const inside = replies.map(message).join('')
  return `<?xml version="1.0" encoding="UTF-8"?>${inside === '' ? '<Response/>' : `<Response>${inside}</Response>`}`
}

function message({ body, media }: Pick<Outgoing, 'body' | 'media'>): string {
  if (media.length === 0) return element('Message', escaped(body))
  const parts = media.map((url) => element('Media', escaped(url)))
  if (body !== '') parts.unshift(element('Body', escaped(body)))
  return element('Message', parts.join(''))
}

function element(name: string, inside: string): string {
  return inside === '' ? `<${name}/>` : `<${name}>${inside}</${name}>`
}

const signs: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#xD;' }

/** XML 1.0 2.4, and 2.11: a carriage return as it is would be read as a line feed. */
function escaped(text: string): string {
  return /[&<>\r]/.test(text) ? text.replaceAll(/[&<>\r]/g, (sign) => signs[sign] ?? sign) : text
}

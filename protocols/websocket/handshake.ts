/** What must be right about an opening handshake before an application hears of it (RFC 6455 4.2.1). */
import type { IncomingMessage } from 'node:http'
import { isToken } from '../../src/runtime/http-headers.ts'
import type { WebsocketOptions } from './options.ts'

/** Why a handshake is refused: a status, and headers as name and value in turn. */
export interface Refusal {
  readonly status: number
  readonly headers: readonly string[]
}

/** 16 bytes in base64. */
const key = /^[+/0-9A-Za-z]{22}==$/

const none: readonly string[] = Object.freeze([])

/** The subprotocols that the client offers, or why its handshake is refused. */
export function checkHandshake(request: IncomingMessage): readonly string[] | Refusal {
  const { headers } = request
  // RFC 6455 4.4: say which version would do.
  if (headers['sec-websocket-version'] !== '13')
    return { status: 426, headers: ['sec-websocket-version', '13', 'upgrade', 'websocket'] }
  if (!key.test(headers['sec-websocket-key'] ?? '')) return { status: 400, headers: [] }
  const offered = headers['sec-websocket-protocol']
  if (offered === undefined) return none
  const subprotocols = offered.split(',').map((offer) => offer.trim())
  if (subprotocols.length === 1 && subprotocols[0] === '') return none
  const proper = subprotocols.every(isToken) && new Set(subprotocols).size === subprotocols.length
  return proper ? subprotocols : { status: 400, headers: [] }
}

/**
 * Whether the page that opens this socket may: a browser sends the cookies of our host along with the handshake of any
 * page, and asks nobody (RFC 6455 10.2). A client without an Origin header is no browser.
 */
export function checkOrigin(request: IncomingMessage, origins: WebsocketOptions['origins']): boolean {
  const { origin, host } = request.headers
  if (origin === undefined || origins === '*') return true
  // `null` and whatever else is no URL: a page that hides where it comes from.
  if (!URL.canParse(origin)) return false
  const from = new URL(origin)
  if (typeof origins !== 'string' && origins.some((allowed) => allowed.toLowerCase() === from.origin)) return true
  const same = typeof origins === 'string' ? origins === 'same' : origins.includes('same')
  return same && isHost(from, host ?? '')
}

/** Parsed with the page's scheme, so that a default port counts as left out. The scheme itself may end at a proxy. */
function isHost(page: URL, host: string): boolean {
  const own = `${page.protocol}//${host}`
  return page.host !== '' && URL.canParse(own) && new URL(own).host === page.host
}

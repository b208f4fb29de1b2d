/** Who may use the admin listener: whoever has the token, or, where there is none, the programs of this machine, but no web page. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isLoopback } from '../runtime/options.ts'

export interface Refused {
  readonly status: number
  readonly text: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Undefined when the caller may go on. */
export function refuseCaller({ headers }: IncomingMessage, token: string | undefined): Refused | undefined {
  if (token !== undefined) return bears(headers.authorization, token) ? undefined : unauthorized
  // A browser on this machine reaches loopback too: it names the page that asks (RFC 6454 7.3), and a page that has made its own
  // name point here is known by that name.
  if (headers.origin !== undefined) return { status: 403, text: 'Web pages may not use this without a token' }
  if (isLocal(headers.host)) return undefined
  return { status: 403, text: 'Without a token this is to be had as localhost, 127.0.0.1 or [::1] only' }
}

const unauthorized: Refused = {
  status: 401,
  text: 'Expected the token of the admin listener as Authorization: Bearer TOKEN',
  headers: { 'www-authenticate': 'Bearer' }, // RFC 6750 3
}

/** Takes as long whatever was brought. */
function bears(authorization: string | undefined, token: string): boolean {
  const [, brought = ''] = /^Bearer +(\S+) *$/i.exec(authorization ?? '') ?? []
  return timingSafeEqual(digest(brought), digest(token))
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

function isLocal(host: string | undefined): boolean {
  const [, name] = /^(\[[^\]]+\]|[^:]+)(?::\d+)?$/.exec(host ?? '') ?? []
  return name !== undefined && isLoopback({ host: name.toLowerCase().replace(/^\[|\]$/g, ''), port: 0 })
}

/** Whether a client may come in at all, whoever it is. */
import { returnCodes, type ReturnCode } from './access.ts'
import type { SessionContext } from './session-context.ts'

/** What CONNECT says of a client. */
export interface Applicant {
  /** Empty: it has none, and wants a lasting session. */
  readonly clientId: string
  /** In seconds. */
  readonly keepalive: number
  /** What Aedes knows it by. */
  readonly id: string
}

/** What CONNACK is to say, and why; undefined: it may. */
export function unfit(
  { clientId, keepalive, id }: Applicant,
  { limits, sessions, store, closing }: SessionContext,
): { readonly code: ReturnCode; readonly why: string } | undefined {
  const { maxClients, maxClientIdLength, keepaliveLimit } = limits
  const { unavailable, identifierRejected } = returnCodes
  if (closing) return { code: unavailable, why: 'the gateway is closing' }
  if (!store.ready) return { code: unavailable, why: 'Redis is away, and its session with it' }
  if (clientId === '') return { code: identifierRejected, why: 'no client id for a lasting session' } // [MQTT-3.1.3-8]
  if (Buffer.byteLength(clientId) > maxClientIdLength) {
    return { code: identifierRejected, why: `a client id of more than ${maxClientIdLength} bytes` }
  }
  if (keepaliveLimit !== undefined && (keepalive === 0 || keepalive * 1000 > keepaliveLimit)) {
    return { code: identifierRejected, why: `a keep alive of ${keepalive} seconds is over keepaliveLimit` }
  }
  if (sessions.size >= maxClients && !sessions.has(id)) {
    return { code: unavailable, why: `${maxClients} clients are connected` }
  }
  return undefined
}

/** What went wrong between a command and the gateway that it talks to, in words. */
import { hasCode, reason } from '../runtime/errors.ts'

/** A refused connection has an empty message on machines with two loopback addresses. */
export function explained(error: unknown): string {
  if (hasCode(error, 'ECONNREFUSED')) return `the connection${placeIn(error)} is refused: is the gateway running?`
  const cause: unknown = Error.isError(error) ? error.cause : undefined
  return hasCode(cause, 'ECONNREFUSED') ? explained(cause) : reason(error)
}

/** ` to 127.0.0.1:8000`; of a name with several addresses, the first one that was tried. */
function placeIn(error: unknown): string {
  const { address, port, errors }: SystemError = { ...(error as object) }
  if (typeof address === 'string') return ` to ${address.includes(':') ? `[${address}]` : address}:${String(port)}`
  return Array.isArray(errors) && errors.length > 0 ? placeIn(errors[0]) : ''
}

type SystemError = Readonly<Record<'address' | 'port' | 'errors', unknown>> | Readonly<Record<string, never>>

/** What went wrong between a command and the gateway that it talks to, in words. */
import { hasCode, reason } from '../runtime/errors.ts'

/** A refused connection has an empty message on machines with two loopback addresses. */
export function explained(error: unknown): string {
  if (hasCode(error, 'ECONNREFUSED')) return 'the connection is refused: is the gateway running?'
  const cause: unknown = Error.isError(error) ? error.cause : undefined
  return hasCode(cause, 'ECONNREFUSED') ? explained(cause) : reason(error)
}

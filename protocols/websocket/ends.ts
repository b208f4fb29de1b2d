/** What the end of an application comes to for its peer. */
import type { Outcome } from '../../src/asgi/adapter.ts'
import { hasCode, isTemporary } from '../../src/runtime/errors.ts'

/** The status that a handshake is refused with. */
export function refusalFor(outcome: Outcome): number {
  if (outcome.kind === 'abandoned') return 503
  if (outcome.kind !== 'raised' || hasCode(outcome.error, 'no_route')) return 403
  return isTemporary(outcome.error) ? 503 : 500
}

/** What an open socket is closed with. */
export function closeFor(outcome: Outcome): { readonly code: number; readonly reason: string } {
  if (outcome.kind === 'raised' && hasCode(outcome.error, 'queue_full'))
    return { code: 1013, reason: 'try again later' }
  if (outcome.kind === 'raised' || outcome.kind === 'abandoned') return { code: 1011, reason: 'internal error' }
  return { code: 1000, reason: '' }
}

/** How the events of an instance end: with which error, and who is told; and the error of what is no event. */
import type { Delivery, Handled, Outcome } from '../asgi/adapter.ts'
import type { Protocol } from '../asgi/protocol.ts'
import { SignalboxError } from './errors.ts'

/** Of the last event of a scope that the server has ended itself: it did not come from the peer, and is not counted. */
export const ownEnd: Delivery = { last: true }

/** One for all scopes: an error is dear to make, and every scope ends with this one. */
export const peerGone = new SignalboxError('disconnected', 'the peer is gone')

export function overError(scope: Protocol['scope']): SignalboxError {
  return new SignalboxError('scope_ended', `${scope.type} scope ${scope.id} is over: there is no further event`)
}

/** What the event in hand is settled with: an application that returned has handled it. */
export function failure(outcome: Outcome, abortReason: Error | undefined): unknown {
  if (outcome.kind === 'raised') return outcome.error
  if (outcome.kind === 'abandoned')
    return abortReason ?? new SignalboxError('abandoned', 'the application was abandoned')
  return undefined
}

/** What an adapter raised about what it was to send, in other words where that is no event at all. */
export function ofEvent(given: unknown, { type, id }: Protocol['scope'], error: unknown): unknown {
  if (typeof given === 'object' && given !== null) return error
  return new SignalboxError(
    'unexpected_event',
    `${type} scope ${id}: expected send() to be given an event, an object with a type, found ${String(given)}`,
  )
}

/** Whether somebody is to be told what became of an event. */
export function isAwaited({ delivery }: { readonly delivery: Delivery | undefined }): boolean {
  return delivery?.handled !== undefined
}

/** Two receives that waited at once: both events are handled when the next one is asked for. */
export function both(first: Handled | undefined, second: Handled): Handled {
  if (!first) return second
  return (error) => {
    first(error)
    second(error)
  }
}

/** An application that returned, by what it has said until then. */
export const returned = {
  none: { kind: 'unanswered' },
  started: { kind: 'unfinished' },
  finished: { kind: 'finished' },
} as const

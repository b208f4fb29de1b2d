/** How the events of an instance end: with which error, and who is told; and the error of what is no event. */
import type { Delivery, Handled, Outcome } from '../asgi/adapter.ts'
import type { Context } from '../asgi/context.ts'
import type { Protocol } from '../asgi/protocol.ts'
import { SignalboxError } from './errors.ts'
import type { Mailbox } from './mailbox.ts'

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

export function closeChannel(channel: string, context: Context): void {
  context.layer.closeChannel(channel).catch((error: unknown) => {
    context.log.error({ err: error }, 'the channel of an ended scope could not be closed')
  })
}

/** What an adapter raised about what it was to send, in other words where that is no event at all. */
export function ofEvent(given: unknown, { type, id }: Protocol['scope'], error: unknown): unknown {
  if (typeof given === 'object' && given !== null) return error
  return new SignalboxError(
    'unexpected_event',
    `${type} scope ${id}: expected send() to be given an event, an object with a type, found ${String(given)}`,
  )
}

/** What nobody has taken by then nobody will, and whoever waits for it is told. */
export function closeMailbox<T extends { readonly delivery: Delivery | undefined }, R>(
  mailbox: Mailbox<T, R>,
  scope: Protocol['scope'],
): void {
  const left = mailbox.drain()
  // An error costs as much as all the rest of a small request, and most of these have nobody to tell it to: an application
  // that does not ask for the body of a request leaves it in the mailbox.
  if (mailbox.idle && !left.some(({ delivery }) => delivery?.handled)) return
  const over = overError(scope)
  mailbox.close(over)
  for (const { delivery } of left) delivery?.handled?.(over)
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

/** A scope without what the server added to it: as the adapter made it, and as the journal keeps it. */
import type { UnroutedScope } from '../asgi/delivery.ts'
import type { Protocol } from '../asgi/protocol.ts'

export function unrouted<P extends Protocol>(scope: P['scope'] | UnroutedScope<P>): UnroutedScope<P> {
  const {
    id: _,
    params: __,
    route: ___,
    state: ____,
    attempt: _____,
    redelivered: ______,
    ...rest
  } = scope as P['scope']
  return rest
}

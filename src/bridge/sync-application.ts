/** A sync consumer or handler as an application like any other: a stand-in here, for the one that is on a worker thread. */
import type { Application, Protocol } from '../asgi/protocol.ts'
import type { SyncApplication, SyncConsumerClass } from '../asgi/sync.ts'
import { isSyncConsumer } from '../runtime/blocking.ts'
import { serving, servesOf } from '../runtime/serves.ts'
import { placeOf } from './modules.ts'
import { currentPool, type BridgePool } from './pool.ts'
import { Seat } from './seat.ts'
import { onwards, trail } from './trail.ts'

export interface SyncApplicationOptions {
  /** Default: the gateway's. */
  readonly pool?: BridgePool
}

/**
 * What the YAML makes of a reference to a SyncConsumer or a `syncHandler`; for routers in code and for tests. The worker
 * loads the module itself, and runs the export of that name; a class has a name of its own.
 *
 * @example
 * const tickets = syncApplication(SupportTicketHandler, new URL('./handlers/tickets.ts', import.meta.url))
 */
export function syncApplication<P extends Protocol>(
  handler: SyncConsumerClass<P> | SyncApplication<P>,
  module: string | URL,
  name: string = handler.name,
  { pool }: SyncApplicationOptions = {},
): Application<P> {
  const place = placeOf(module, name)
  const isConsumer = isSyncConsumer(handler)
  const moveBytes = isConsumer && handler.moveBytes
  const application: Application<P> = (scope, receive, send, context) =>
    trail.run(onwards(scope.id), async () => {
      const seat = new Seat({ pool: pool ?? currentPool(), place, moveBytes, scope, receive, send, context })
      try {
        await (isConsumer ? seat.serveEvents() : seat.hold())
      } finally {
        seat.close()
      }
    })
  return serving(application, servesOf(handler))
}

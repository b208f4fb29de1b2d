/** Dead letters of what was never stored. */
import type { Log } from '../asgi/context.ts'
import type { NewRecord } from '../asgi/delivery.ts'
import { reason } from '../runtime/errors.ts'
import { encode, eventOf, type Placing } from './codec.ts'
import type { Journal } from './journal.ts'

/** Keeps a record that nobody will try again. Never throws: whoever failed has an error of its own to tell. */
export function bury(
  { journal, log }: { readonly journal: Journal; readonly log: Log },
  record: NewRecord,
  { placing, error }: { readonly placing: Placing; readonly error: unknown },
): void {
  try {
    const { start, event, ...encoded } = encode(record, placing)
    // In one piece: it may wait long, and what it is a piece of is not to wait with it.
    journal.deadLetter({ ...encoded, event: eventOf({ start, event }) }, reason(error))
  } catch (cause) {
    const { protocol, route } = placing
    log.error({ err: cause, protocol, route, event: record.event.type }, `an event is lost: ${reason(cause)}`)
  }
}

/** The dead letters in a data folder whose gateway has closed. */
import type { Event, Protocol } from '../../src/asgi/protocol.ts'
import { decode } from '../../src/journal/codec.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { silentLog } from '../../src/runtime/log.ts'

export interface Letter {
  readonly scope: Partial<Protocol['scope']>
  readonly event: Event
  readonly error: string
  readonly route: string
  readonly attempts: number
}

/** The oldest first. */
export async function lettersOf(folder: string): Promise<readonly Letter[]> {
  await using journal = await Journal.open({ folder, ...journalOptions.parse({}) }, silentLog)
  return await deadIn(journal)
}

/** The oldest first. */
export async function deadIn(journal: Journal): Promise<readonly Letter[]> {
  const letters: Letter[] = []
  for (const { id } of await journal.list({ state: 'dead' })) {
    // One after the other, to keep their order.
    const shown = await journal.show(id)
    if (!shown) continue
    const { scope, event } = decode(shown)
    letters.unshift({ scope, event, error: shown.error, route: shown.route, attempts: shown.attempts })
  }
  return letters
}

/** What is found when all is over: what the handlers noted, and what the journal keeps and counts. */
import { readFileSync } from 'node:fs'
import { decode } from '../../src/journal/codec.ts'
import { Journal } from '../../src/journal/journal.ts'
import type { RecordState, ShownRecord, Tally } from '../../src/journal/messages.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { senderAt } from './gateway.ts'
import type { Note } from './handlers.ts'

export interface Files {
  readonly yaml: string
  readonly data: string
  readonly notes: string
}

/** Of the events of one sender. */
export interface Evidence {
  /** In the order of time. */
  readonly notes: readonly Note[]
  readonly kept: Readonly<Record<RecordState, ReadonlySet<string>>>
  /** What the journal counts under its rule. */
  readonly counts: Omit<Tally, 'dropped'>
}

const nothing = { accepted: 0, handled: 0, waiting: 0, dead: 0, discarded: 0, expired: 0 }

/** Of a gateway that has ended; by the sender's name. */
export async function evidenceIn({ yaml, data, notes: file }: Files): Promise<(sender: string) => Evidence> {
  const notes = readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => (line === '' ? [] : (JSON.parse(line) as Note)))
  await using journal = await Journal.open({ folder: data, ...journalOptions.parse({}) }, silentLog)
  const kept = { waiting: new Set<string>(), dead: new Set<string>() }
  for (const { id, state } of await journal.list({ limit: 1_000_000 })) {
    const shown = await journal.show(id)
    if (shown) kept[state].add(eventIn(shown))
  }
  const { byProtocolAndRoute: places } = await journal.counts()
  return (sender) => {
    const isOfIt = (event: string) => senderOf(event) === sender
    return {
      notes: notes.filter(({ event }) => isOfIt(event)),
      kept: { waiting: new Set([...kept.waiting].filter(isOfIt)), dead: new Set([...kept.dead].filter(isOfIt)) },
      counts: places.find(({ route }) => senderAt(yaml, route) === sender) ?? nothing,
    }
  }
}

const senderOf = (event: string) => event.replace(/-\d+$/, '')

/** The number that an event was sent with: in a mail's subject, a publish's payload or a text's body. */
function eventIn(record: ShownRecord): string {
  const { event, body } = decode(record)
  const subject = /^Subject: (.*)\r$/m.exec(Buffer.from(body ?? []).toString('latin1'))?.[1]
  const payload: unknown = Reflect.get(event, 'payload')
  if (subject !== undefined) return subject
  return ArrayBuffer.isView(payload)
    ? Buffer.from(payload as Uint8Array).toString()
    : String(Reflect.get(event, 'body'))
}

/** What became of every event that had a positive answer. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { decode } from '../../src/journal/codec.ts'
import { Journal } from '../../src/journal/journal.ts'
import type { Counts } from '../../src/journal/messages.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import type { Note } from './handlers.ts'

export interface Verdict {
  readonly answered: number
  readonly handled: number
  readonly dead: number
  /** Had a positive answer, and was neither handled nor kept. Expected: none. */
  readonly lost: readonly string[]
  /** Were handled more than once, and each further time said that this may be. */
  readonly repeated: number
  /** Were handled more than once without saying so. Expected: none. */
  readonly doubled: readonly string[]
  readonly counts: Counts
  /** accepted = handled + waiting + dead + discarded + expired. */
  readonly addsUp: boolean
}

/** Of a gateway that has ended, with nothing waiting. */
export async function judge(data: string, answered: ReadonlySet<string>): Promise<Verdict> {
  const notes = notesIn(data)
  const seen = Map.groupBy(notes, ({ event }) => event)
  const { letters, counts } = await lettersIn(data)
  const lost = [...answered].filter((event) => !seen.has(event) && !letters.has(event))
  const repeats = [...seen.values()].filter((all) => all.length > 1)
  const { accepted, handled, waiting, dead, discarded, expired } = counts
  return {
    answered: answered.size,
    handled: seen.size,
    dead: letters.size,
    lost,
    repeated: repeats.length,
    doubled: repeats
      .filter(([, ...again]) => again.some(({ redelivered }) => !redelivered))
      .flatMap(([first]) => first?.event ?? []),
    counts,
    addsUp: accepted === handled + waiting + dead + discarded + expired && waiting === 0,
  }
}

function notesIn(data: string): Note[] {
  const lines = readFileSync(path.join(data, 'handled.jsonl'), 'utf8').split('\n')
  // Others were cut off by a full disk.
  return lines.filter((line) => line.endsWith('}')).map((line) => JSON.parse(line) as Note)
}

/** The events that are dead letters: each names itself somewhere. */
async function lettersIn(data: string): Promise<{ readonly letters: ReadonlySet<string>; readonly counts: Counts }> {
  await using journal = await Journal.open({ folder: data, ...journalOptions.parse({}) }, silentLog)
  const letters = new Set<string>()
  const rows = await journal.list({ state: 'dead', limit: 100_000 })
  for (const { id } of rows) {
    const shown = await journal.show(id)
    if (!shown) continue
    const { event, body } = decode(shown)
    const payload: unknown = Reflect.get(event, 'payload')
    const texts = [
      JSON.stringify(event),
      Buffer.from(body ?? []).toString('latin1'),
      ArrayBuffer.isView(payload) ? Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString() : '',
    ]
    for (const text of texts) for (const [name] of text.matchAll(/(?:mqtt-[12]|email|sms)-\d+/g)) letters.add(name)
  }
  return { letters, counts: await journal.counts() }
}

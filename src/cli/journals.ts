/** The journals of all processes of a data folder as the commands have them: by the gateways that run on them, or opened here. */
import { journalFolder, journalNumbers } from '../journal/folders.ts'
import { Journal } from '../journal/journal.ts'
import { journalOptions } from '../journal/options.ts'
import { hasCode } from '../runtime/errors.ts'
import { silentLog } from '../runtime/log.ts'
import { askControl } from '../server/control-socket.ts'
import { JournalDesk } from '../server/journal-desk.ts'
import { Journals, type JournalAccess } from '../server/journals.ts'

const answerTimeout = 60_000

/** Opened here, or reached; to be disposed of with `opened`. */
export interface OpenedJournals {
  readonly journals: Journals
  readonly opened: AsyncDisposableStack
}

/** @throws SignalboxError `journal_locked`, `journal_failed`. */
export async function openJournals(data: string): Promise<OpenedJournals> {
  await using opened = new AsyncDisposableStack()
  const accesses = new Map<number, JournalAccess>()
  for (const number of journalNumbers(data)) {
    // One after the other: they are few.
    accesses.set(number, opened.use(await access(journalFolder(data, number))))
  }
  return { journals: new Journals(accesses), opened: opened.move() }
}

/** @throws SignalboxError `journal_locked`, `journal_failed`. */
async function access(folder: string): Promise<JournalAccess & AsyncDisposable> {
  const ask = <T>(what: string, question: object) =>
    askControl<T>(folder, `/journal/${what}`, { question, signal: AbortSignal.timeout(answerTimeout) })
  try {
    await ask('list', { limit: 1 })
    return {
      list: (question) => ask('list', question),
      show: (question) => ask('show', question),
      retry: (question) => ask('retry', question),
      discard: (question) => ask('discard', question),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ECONNREFUSED')) throw error
  }
  // No gateway runs: what is asked for here is done at its next start.
  const journal = await Journal.open({ folder, ...journalOptions.parse({}) }, silentLog)
  const desk = new JournalDesk(journal)
  return {
    list: (question) => desk.list(question),
    show: (question) => desk.show(question),
    retry: (question) => desk.retry(question),
    discard: (question) => desk.discard(question),
    [Symbol.asyncDispose]: () => journal.close(),
  }
}

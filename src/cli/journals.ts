/** The journals of all processes of a data folder as the commands have them: by the gateways that run on them, or by their files. */
import type { ProtocolDefinition } from '../asgi/definition.ts'
import { journalFolder, journalNumbers } from '../journal/folders.ts'
import type { Limits } from '../journal/messages.ts'
import { StoppedJournal } from '../journal/stopped.ts'
import { hasCode } from '../runtime/errors.ts'
import { askControl } from '../server/control-socket.ts'
import { JournalDesk } from '../server/journal-desk.ts'
import { Journals, type JournalAccess } from '../server/journals.ts'

const answerTimeout = 60_000

interface Known {
  readonly definitions: readonly ProtocolDefinition[]
  /** Those of the YAML. */
  readonly limits: Limits
}

export async function reachJournals(data: string, known: Known): Promise<Journals> {
  const reached = journalNumbers(data).map(
    async (number) => [number, await access(journalFolder(data, number), known)] as const,
  )
  return new Journals(new Map(await Promise.all(reached)))
}

async function access(folder: string, { definitions, limits }: Known): Promise<JournalAccess> {
  const ask = <T>(what: string, question: object) =>
    askControl<T>(folder, `/journal/${what}`, { question, signal: AbortSignal.timeout(answerTimeout) })
  try {
    await ask('list', { limit: 1 })
    return {
      list: (question) => ask('list', question),
      show: (question) => ask('show', question),
      retry: (question) => ask('retry', question),
      discard: (question) => ask('discard', question),
    }
  } catch (error) {
    if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ECONNREFUSED')) throw error
  }
  // No gateway runs: what is asked for here is done at its next start.
  return new JournalDesk(new StoppedJournal(folder, limits), definitions)
}

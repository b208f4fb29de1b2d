/** The journals of all processes of a data folder as the commands have them: by the gateways that run on them, or opened here. */
import { journalFolder, journalNumbers } from '../journal/folders.ts'
import { Journal } from '../journal/journal.ts'
import { journalOptions } from '../journal/options.ts'
import { hasCode } from '../runtime/errors.ts'
import { silentLog } from '../runtime/log.ts'
import { controlPath } from '../server/control-socket.ts'
import {
  JournalDesk,
  type JournalSelection,
  type ListQuestion,
  type RecordLine,
  type RecordPage,
  type ShowQuestion,
  type Touched,
} from '../server/journal-desk.ts'
import { askOwner } from './admin-client.ts'

const answerTimeout = 60_000

/** The journal of one process, by the gateway that runs on it, or opened here. */
interface Access {
  list(question: ListQuestion): Promise<readonly RecordLine[]>
  show(question: ShowQuestion): Promise<RecordPage>
  retry(question: JournalSelection): Promise<Touched>
  discard(question: JournalSelection): Promise<Touched>
}

/** A mistake on the command line, in words. */
export class UsageError extends Error {}

/** Which record of which process's journal. */
export interface RecordPlace {
  readonly process: number
  readonly id: number
}
/** The first process has its records under their numbers, the others as `2-17`. */
export type Named<T> = Omit<T, 'id'> & { readonly id: number | string }

const nameOf = (process: number, id: number): number | string => (process === 1 ? id : `${process}-${id}`)

/** The journals of all processes of a data folder. */
export class Journals implements AsyncDisposable {
  readonly #accesses: ReadonlyMap<number, Access>
  readonly #opened: AsyncDisposableStack

  /** @throws SignalboxError `journal_locked`, `journal_failed`. */
  static async open(data: string): Promise<Journals> {
    await using opened = new AsyncDisposableStack()
    const accesses = new Map<number, Access>()
    for (const number of await journalNumbers(data)) {
      // One after the other: they are few.
      accesses.set(number, opened.use(await access(journalFolder(data, number))))
    }
    return new Journals(accesses, opened.move())
  }

  private constructor(accesses: ReadonlyMap<number, Access>, opened: AsyncDisposableStack) {
    this.#accesses = accesses
    this.#opened = opened
  }

  /** The newest of all first; with `before` those of its process. */
  async list(question: ListQuestion, before: RecordPlace | undefined): Promise<readonly Named<RecordLine>[]> {
    const asked = before ? [[before.process, this.#access(before)] as const] : [...this.#accesses]
    const pages = asked.map(async ([process, journal]) => {
      const rows = await journal.list({ ...question, ...(before && { before: before.id }) })
      return rows.map((row) => ({ ...row, id: nameOf(process, row.id) }))
    })
    const [first = [], ...others] = await Promise.all(pages)
    if (others.length === 0) return first
    return [first, ...others]
      .flat()
      .toSorted((a, b) => b.at.localeCompare(a.at))
      .slice(0, question.limit)
  }

  async show(place: RecordPlace, reveal: boolean): Promise<Named<RecordPage>> {
    const page = await this.#access(place).show({ id: place.id, reveal })
    return { ...page, id: nameOf(place.process, page.id) }
  }

  async touch(act: 'retry' | 'discard', places: readonly RecordPlace[]): Promise<TouchedAll> {
    const byProcess = Map.groupBy(places, ({ process }) => process)
    // Before the first is touched: a name that is wrong is to change nothing.
    for (const place of places) this.#access(place)
    return await this.#each(act, (process) => {
      const ids = byProcess.get(process)?.map(({ id }) => id)
      return ids && { ids }
    })
  }

  /** What a filter takes, in every journal. */
  touchAll(act: 'retry' | 'discard', filter: JournalSelection): Promise<TouchedAll> {
    return this.#each(act, () => filter)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync()
  }

  async #each(
    act: 'retry' | 'discard',
    selection: (process: number) => JournalSelection | undefined,
  ): Promise<TouchedAll> {
    const touched = [...this.#accesses].map(async ([process, journal]) => {
      const selected = selection(process)
      if (!selected) return []
      const { ids } = await journal[act](selected)
      return ids.map((id) => nameOf(process, id))
    })
    return { ids: (await Promise.all(touched)).flat() }
  }

  #access({ process }: RecordPlace): Access {
    const found = this.#accesses.get(process)
    if (found) return found
    throw new UsageError(`found no journal of process ${process}, there is ${[...this.#accesses.keys()].join(', ')}`)
  }
}

export interface TouchedAll {
  readonly ids: readonly (number | string)[]
}

/** @throws SignalboxError `journal_locked`, `journal_failed`. */
async function access(folder: string): Promise<Access & AsyncDisposable> {
  const socket = controlPath(folder)
  const ask = <T>(what: string, question: object) =>
    askOwner<T>(socket, `/journal/${what}`, question, AbortSignal.timeout(answerTimeout))
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

/** The journals of all processes of a data folder as one: the first process has its records under their numbers, the others as `2-17`. */
import { SignalboxError } from '../runtime/errors.ts'
import type { JournalSelection, ListQuestion, RecordLine, RecordPage, ShowQuestion, Touched } from './journal-desk.ts'

/** The journal of one process, however it is reached. */
export interface JournalAccess {
  list(question: ListQuestion): Promise<readonly RecordLine[]>
  show(question: ShowQuestion): Promise<RecordPage>
  retry(question: JournalSelection): Promise<Touched>
  discard(question: JournalSelection): Promise<Touched>
}

/** Which record of which process's journal. */
export interface RecordPlace {
  readonly process: number
  readonly id: number
}
export type Named<T> = Omit<T, 'id'> & { readonly id: number | string }

export interface TouchedAll {
  readonly ids: readonly (number | string)[]
}

const nameOf = (process: number, id: number): number | string => (process === 1 ? id : `${process}-${id}`)

/** The place of `17` or `2-17`; undefined when it is neither. */
export function placeOf(name: string): RecordPlace | undefined {
  const [, process = '1', id = ''] = /^(?:([1-9]\d{0,3})-)?([1-9]\d{0,14})$/.exec(name) ?? []
  return id === '' ? undefined : { process: Number(process), id: Number(id) }
}

export class Journals {
  readonly #accesses: ReadonlyMap<number, JournalAccess>

  constructor(accesses: ReadonlyMap<number, JournalAccess>) {
    this.#accesses = accesses
  }

  /** The numbers of the processes that have one. */
  get processes(): readonly number[] {
    return [...this.#accesses.keys()]
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

  #access({ process }: RecordPlace): JournalAccess {
    const found = this.#accesses.get(process)
    if (found) return found
    throw new SignalboxError('bad_message', noJournal(process, this.processes))
  }
}

export function noJournal(process: number, there: readonly number[]): string {
  return `found no journal of process ${process}, there is ${there.join(', ')}`
}

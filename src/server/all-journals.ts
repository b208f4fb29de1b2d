/** The journals of all processes of a gateway, for people: each is asked by the control socket beside it. */
import { z } from 'zod'
import { journalFolder, journalNumbers } from '../journal/folders.ts'
import type { Tally } from '../journal/messages.ts'
import { SignalboxError, hasCode } from '../runtime/errors.ts'
import { askControl } from './control-socket.ts'
import type { Family } from './figures.ts'
import { parsed, type Desk, type JournalDesk } from './journal-desk.ts'
import { Journals, placeOf, type JournalAccess, type RecordPlace } from './journals.ts'

const patience = 60_000
const expected = 'expected a number such as 17, or 2-17 for process 2'

const place = z.union([z.int().positive(), z.string()]).transform((name, context): RecordPlace => {
  const found = placeOf(String(name))
  if (found) return found
  context.addIssue({ code: 'custom', message: expected })
  return z.NEVER
})
/** What else is asked is for each journal's own desk to judge. */
const listQuestion = z.looseObject({ before: place.optional(), limit: z.int().min(1).max(1000).default(100) })
const showQuestion = z.strictObject({ id: place, reveal: z.boolean().default(false) })
const selection = z.looseObject({ ids: z.array(place).min(1).max(10_000).optional() })

export class AllJournalsDesk implements Desk {
  readonly #own: JournalDesk
  readonly #family: Family

  constructor(own: JournalDesk, family: Family) {
    this.#own = own
    this.#family = family
  }

  /** Sums. */
  async counts(): Promise<object> {
    const signal = AbortSignal.timeout(patience)
    const all = this.#numbers().map(async (number) => {
      if (number === this.#family.number) return await this.#own.counts()
      return await this.#heard(number, () =>
        askControl<Tally & { readonly bytes: number }>(this.#folder(number), '/journal', { signal }),
      )
    })
    const sum: Record<string, number> = {}
    for (const counts of await Promise.all(all)) {
      for (const [name, count] of Object.entries(counts ?? {})) {
        if (typeof count === 'number') sum[name] = (sum[name] ?? 0) + count
      }
    }
    return sum
  }

  async list(question: unknown): Promise<object> {
    const { before, ...rest } = parsed(listQuestion, question)
    return await this.#journals().list(rest, before)
  }

  async show(question: unknown): Promise<object> {
    const { id, reveal } = parsed(showQuestion, question)
    return await this.#journals().show(id, reveal)
  }

  retry(question: unknown): Promise<object> {
    return this.#touch('retry', question)
  }

  discard(question: unknown): Promise<object> {
    return this.#touch('discard', question)
  }

  async #touch(act: 'retry' | 'discard', question: unknown): Promise<object> {
    const { ids, ...filter } = parsed(selection, question)
    const journals = this.#journals()
    return await (ids ? journals.touch(act, ids) : journals.touchAll(act, filter))
  }

  /** Of the processes that there are, and of those that left one. */
  #numbers(): readonly number[] {
    const { data, count } = this.#family
    const there = Array.from({ length: count }, (_, index) => index + 1)
    const left = journalNumbers(data).filter((number) => number > count)
    return [...there, ...left]
  }

  #journals(): Journals {
    const accesses = this.#numbers().map((number) => [number, this.#access(number)] as const)
    return new Journals(new Map(accesses))
  }

  #access(number: number): JournalAccess {
    if (number === this.#family.number) return this.#own
    const ask = <T>(what: string, question: object) => {
      const signal = AbortSignal.timeout(patience)
      return this.#heard(number, () => askControl<T>(this.#folder(number), `/journal/${what}`, { question, signal }))
    }
    return {
      list: async (question) => (await ask('list', question)) ?? [],
      show: async (question) => (await ask('show', question)) ?? missing(number),
      retry: async (question) => (await ask('retry', question)) ?? { ids: [] },
      discard: async (question) => (await ask('discard', question)) ?? { ids: [] },
    }
  }

  /** Undefined: nobody has a journal that was left, because nothing is in it. */
  async #heard<T>(number: number, ask: () => Promise<T>): Promise<T | undefined> {
    try {
      return await ask()
    } catch (error) {
      if (!hasCode(error, 'ENOENT') && !hasCode(error, 'ECONNREFUSED')) throw error
      if (number > this.#family.count) return undefined
      throw new SignalboxError('send_failed', `process ${number} does not answer: it may be starting`, { cause: error })
    }
  }

  #folder(number: number): string {
    return journalFolder(this.#family.data, number)
  }
}

function missing(process: number): never {
  throw new SignalboxError('bad_message', `found no such record in the journal of process ${process}`)
}

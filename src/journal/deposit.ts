/** Those who wait for records to be on disk: each is told, and what is new becomes an entry of the dispatcher. */
import type { Accepted, Depositor } from '../asgi/delivery.ts'
import { elsewhere } from './elsewhere.ts'
import type { Entry } from './entry.ts'
import { acceptedOf, type Caller } from './outbox.ts'

/** What is on disk now and was not before. */
export type Take = (entry: Entry, id: number) => void

/** One record, and whoever is told what became of it. */
export class Deposit implements Caller {
  readonly count = 1
  readonly #entry: Entry
  readonly #depositor: Depositor
  readonly #take: Take

  constructor(entry: Entry, depositor: Depositor, take: Take) {
    this.#entry = entry
    this.#depositor = depositor
    this.#take = take
  }

  stored(ids: readonly number[], at: number): void {
    const id = ids[at] ?? 0
    if (id > 0) this.#take(this.#entry, id)
    this.#depositor.stored(id === -elsewhere ? 0 : Math.abs(id), id < 0)
  }

  refused(error: unknown): void {
    this.#depositor.refused(error)
  }
}

/** Records of one call, as a promise. */
export class Deposits implements Caller {
  readonly accepted: Promise<readonly Accepted[]>
  readonly count: number
  readonly #entries: readonly Entry[]
  readonly #take: Take
  readonly #waiter = Promise.withResolvers<readonly Accepted[]>()

  constructor(entries: readonly Entry[], take: Take) {
    this.accepted = this.#waiter.promise
    this.count = entries.length
    this.#entries = entries
    this.#take = take
  }

  stored(ids: readonly number[], at: number): void {
    const accepted = this.#entries.map((entry, index) => {
      const id = ids[at + index] ?? 0
      if (id > 0) this.#take(entry, id)
      return acceptedOf(id)
    })
    this.#waiter.resolve(accepted)
  }

  refused(error: unknown): void {
    this.#waiter.reject(error)
  }
}

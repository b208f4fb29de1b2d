/** A bounded memory of what was seen lately: the window in which a repeated delivery is recognised. */
import { Chain, type Linked } from '../../src/runtime/chain.ts'

export interface DuplicatesOptions {
  /** Milliseconds. */
  readonly window: number
  /** The oldest entries go first when there are more. */
  readonly capacity: number
  /** For tests; milliseconds. */
  readonly now?: () => number
}

interface Entry<T> extends Linked<Entry<T>> {
  readonly key: string
  readonly value: T
  readonly until: number
  before: Entry<T> | undefined
  after: Entry<T> | undefined
}

export class Duplicates<T> {
  readonly #options: DuplicatesOptions
  readonly #now: () => number
  readonly #entries = new Map<string, Entry<T>>()
  /** In the order of their time, as every entry lives equally long. The Map comes to its first one only past all that were deleted. */
  readonly #order = new Chain<Entry<T>>()

  constructor(options: DuplicatesOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): T | undefined {
    const entry = this.#entries.get(key)
    if (!entry) return undefined
    if (entry.until > this.#now()) return entry.value
    this.#drop(entry)
    return undefined
  }

  /** Remembers a value for a whole window from now; it replaces an older one. */
  set(key: string, value: T): void {
    this.delete(key)
    this.add(key, value)
  }

  /** The same for a key that `get` has just found nothing of. */
  add(key: string, value: T): void {
    // Whole milliseconds: a fraction would be an object of its own, for as long as the entry is kept.
    const now = Math.ceil(this.#now())
    const entry: Entry<T> = { key, value, until: now + this.#options.window, before: undefined, after: undefined }
    this.#entries.set(key, entry)
    this.#order.add(entry)
    for (let { first } = this.#order; first && this.#isTooMuch(first, now); first = this.#order.first) this.#drop(first)
  }

  delete(key: string): void {
    const entry = this.#entries.get(key)
    if (entry) this.#drop(entry)
  }

  #isTooMuch({ until }: Entry<T>, now: number): boolean {
    return until <= now || this.#entries.size > this.#options.capacity
  }

  #drop(entry: Entry<T>): void {
    this.#entries.delete(entry.key)
    this.#order.delete(entry)
  }
}

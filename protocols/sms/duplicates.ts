/** A bounded memory of what was seen lately: the window in which a repeated delivery is recognised. */

export interface DuplicatesOptions {
  /** Milliseconds. */
  readonly window: number
  /** The oldest entries go first when there are more. */
  readonly capacity: number
  /** For tests; milliseconds. */
  readonly now?: () => number
}

interface Entry<T> {
  readonly key: string
  readonly value: T
  readonly until: number
}

export class Duplicates<T> {
  readonly #options: DuplicatesOptions
  readonly #now: () => number
  readonly #entries = new Map<string, Entry<T>>()
  /** In the order of their time, as every entry lives equally long; some are replaced or deleted by now. The first is at `#oldest`. */
  #order: (Entry<T> | undefined)[] = []
  #oldest = 0

  constructor(options: DuplicatesOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): T | undefined {
    const entry = this.#entries.get(key)
    return entry && entry.until > this.#now() ? entry.value : undefined
  }

  /** Remembers a value for a whole window from now; it replaces an older one. */
  set(key: string, value: T): void {
    const now = this.#now()
    const entry = { key, value, until: now + this.#options.window }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    this.#order.push(entry)
    this.#trim(now)
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  #trim(now: number): void {
    // The Map has them in order too, but comes to its first one only past all that were deleted before it.
    for (let entry = this.#order[this.#oldest]; entry; entry = this.#order[this.#oldest]) {
      const current = this.#entries.get(entry.key) === entry
      if (current && entry.until > now && this.#entries.size <= this.#options.capacity) break
      if (current) this.#entries.delete(entry.key)
      this.#order[this.#oldest] = undefined
      this.#oldest++
    }
    if (this.#order.length <= 2 * this.#entries.size + 64) return
    this.#order = [...this.#entries.values()]
    this.#oldest = 0
  }
}

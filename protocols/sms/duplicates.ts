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
  readonly value: T
  readonly until: number
}

export class Duplicates<T> {
  readonly #options: DuplicatesOptions
  readonly #now: () => number
  /** In the order of their time: a Map keeps the order of insertion, and every entry lives equally long. */
  readonly #entries = new Map<string, Entry<T>>()

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
    this.#entries.delete(key)
    this.#entries.set(key, { value, until: this.#now() + this.#options.window })
    this.#trim()
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  #trim(): void {
    const now = this.#now()
    for (const [key, { until }] of this.#entries) {
      if (until > now && this.#entries.size <= this.#options.capacity) return
      this.#entries.delete(key)
    }
  }
}

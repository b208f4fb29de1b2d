/** The waiting messages of one channel: first in, first out, each to one taker, gone when they are too old. */

/** Something that waits, and until when. */
export interface Waiting {
  readonly deadline: number
}

interface Taker<T> {
  readonly resolve: (item: T) => void
  readonly reject: (error: unknown) => void
}

/** Unbounded by itself: whoever puts looks at `length` first. */
export class MessageQueue<T extends Waiting> {
  #items: T[] = []
  #head = 0
  readonly #takers = new Set<Taker<T>>()

  get length(): number {
    return this.#items.length - this.#head
  }

  /** Whether nothing waits in it, and nobody for it. */
  get idle(): boolean {
    return this.length === 0 && this.#takers.size === 0
  }

  /** Gives the item to the taker that has waited longest, or keeps it. Answers whether it was kept. */
  put(item: T): boolean {
    const [taker] = this.#takers
    if (!taker) return this.#items.push(item) > 0
    this.#takers.delete(taker)
    taker.resolve(item)
    return false
  }

  /** The next item, at once or when it comes; `length` says which. An aborted wait rejects and loses nothing. */
  take(signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.length > 0) return Promise.resolve(this.#shift())
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const cancel = () => {
      this.#takers.delete(taker)
      reject(signal?.reason)
    }
    const settle =
      <Value>(how: (value: Value) => void) =>
      (value: Value) => {
        signal?.removeEventListener('abort', cancel)
        how(value)
      }
    const taker = { resolve: settle(resolve), reject: settle(reject) }
    this.#takers.add(taker)
    signal?.addEventListener('abort', cancel, { once: true })
    return promise
  }

  /** Removes what is too old, and answers it. Those at the front are the oldest. */
  expire(now: number): readonly T[] {
    let old: T[] | undefined
    while (this.length > 0 && (this.#items[this.#head] as T).deadline <= now) (old ??= []).push(this.#shift())
    return old ?? []
  }

  /** Whoever waits is told `error`. Answers how many messages are lost. */
  close(error: unknown): number {
    const lost = this.length
    this.#items = []
    this.#head = 0
    for (const taker of this.#takers) taker.reject(error)
    this.#takers.clear()
    return lost
  }

  #shift(): T {
    const item = this.#items[this.#head] as T // the callers have looked at `length`
    this.#items[this.#head] = undefined as unknown as T // let go of it before the array is cut
    this.#head++
    if (this.#head === this.#items.length) {
      this.#items.length = 0
      this.#head = 0
    } else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}

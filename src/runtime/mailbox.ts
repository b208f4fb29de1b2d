/** A queue that can be awaited: first in, first out, each item to exactly one taker, takers served in their order. */

interface Taker<T> {
  readonly resolve: (item: T) => void
  readonly reject: (error: unknown) => void
}

/** Unbounded by itself: whoever puts looks at `length` first, because what to do when it is full is the putter's to know. */
export class Mailbox<T> {
  #items: T[] = []
  #head = 0
  #takers: Taker<T>[] = []
  #closed: { readonly error: unknown } | undefined

  get length(): number {
    return this.#items.length - this.#head
  }

  /** Nothing is kept and nobody waits. */
  get idle(): boolean {
    return this.length === 0 && this.#takers.length === 0
  }

  get closed(): boolean {
    return this.#closed !== undefined
  }

  /** Gives the item to the taker that has waited longest, or keeps it. A closed mailbox drops it. */
  put(item: T): void {
    if (this.#closed) return
    const taker = this.#takers.shift()
    if (taker) taker.resolve(item)
    else this.#items.push(item)
  }

  /** The next item, at once or when it comes. An aborted wait rejects with the signal's reason and loses nothing. */
  take(signal?: AbortSignal): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.length > 0) return Promise.resolve(this.#shift())
    if (this.#closed) return Promise.reject(this.#closed.error)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const taker = { resolve, reject }
    this.#takers.push(taker)
    if (signal) this.#cancelOn(signal, taker, promise)
    return promise
  }

  /** Takes all that is kept, in order. */
  drain(): T[] {
    const left = this.#items.slice(this.#head)
    this.#items = []
    this.#head = 0
    return left
  }

  /** Whoever waits is told `error`, and so is every later taker. Answers what was never taken, in order. */
  close(error: unknown): T[] {
    if (this.#closed) return []
    this.#closed = { error }
    for (const taker of this.#takers.splice(0)) taker.reject(error)
    return this.drain()
  }

  #shift(): T {
    const item = this.#items[this.#head] as T // the callers have looked at `length`
    this.#items[this.#head] = undefined as T // let go of it before the array is cut
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

  #cancelOn(signal: AbortSignal, taker: Taker<T>, promise: Promise<T>): void {
    const cancel = () => {
      this.#takers = this.#takers.filter((other) => other !== taker)
      taker.reject(signal.reason)
    }
    signal.addEventListener('abort', cancel, { once: true })
    const settled = () => signal.removeEventListener('abort', cancel)
    promise.then(settled, settled)
  }
}

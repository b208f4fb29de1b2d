/** A queue that can be awaited: first in, first out, each item to exactly one taker, takers served in their order. */

/** Who waits for an item, and who waits behind. */
interface Taker<R> {
  readonly resolve: (item: R | Promise<never>) => void
  next: Taker<R> | undefined
}

/** Told of each item at the moment when it is given to its taker, in order; says what the taker gets. */
export interface Giver<T, R> {
  give(item: T): R
}

/**
 * Unbounded by itself: whoever puts looks at `length` first, because what to do when it is full is the putter's to know. What
 * nobody has put or taken yet costs no memory: there is a mailbox for each connection, and most of them are empty.
 */
export class Mailbox<T, R = T> {
  readonly #giver: Giver<T, R>
  #items: T[] | undefined
  #head = 0
  #first: Taker<R> | undefined
  #last: Taker<R> | undefined
  #closed: { readonly error: unknown } | undefined

  constructor(giver: Giver<T, R> = same) {
    this.#giver = giver
  }

  get length(): number {
    return this.#items ? this.#items.length - this.#head : 0
  }

  /** Nothing is kept and nobody waits. */
  get idle(): boolean {
    return this.#items === undefined && this.#first === undefined
  }

  /** Somebody waits for an item. */
  get awaited(): boolean {
    return this.#first !== undefined
  }

  get closed(): boolean {
    return this.#closed !== undefined
  }

  /** Gives the item to the taker that has waited longest, or keeps it. A closed mailbox drops it. */
  put(item: T): void {
    if (this.#closed) return
    const taker = this.#first
    if (!taker) {
      // Of one item: a list that something is pushed to has room for many at once, and most mailboxes never hold two.
      if (this.#items) this.#items.push(item)
      else this.#items = [item]
      return
    }
    this.#first = taker.next
    if (!this.#first) this.#last = undefined
    taker.resolve(this.#giver.give(item))
  }

  /** The next item, at once or when it comes. An aborted wait rejects with the signal's reason and loses nothing. */
  take(signal?: AbortSignal): Promise<R> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#items) return Promise.resolve(this.#giver.give(this.#shift(this.#items)))
    if (this.#closed) return Promise.reject(this.#closed.error)
    return new Promise((resolve) => this.#wait(signal ? this.#untilAborted(signal, resolve) : resolve))
  }

  /** What is kept and was put first. */
  get first(): T | undefined {
    return this.#items?.[this.#head]
  }

  /** Takes what is `first`, which nobody is given. */
  shift(): T | undefined {
    return this.#items && this.#shift(this.#items)
  }

  /**
   * The next item; undefined: there is none now.
   * @throws what it was closed with.
   */
  poll(): R | undefined {
    if (this.#items) return this.#giver.give(this.#shift(this.#items))
    if (this.#closed) throw this.#closed.error
    return undefined
  }

  /** Takes all that is kept, in order. */
  drain(): T[] {
    const items = this.#items ?? []
    const left = this.#head === 0 ? items : items.slice(this.#head)
    this.#items = undefined
    this.#head = 0
    return left
  }

  /** Whoever waits is told `error`, and so is every later taker. Answers what was never taken, in order. */
  close(error: unknown): T[] {
    if (this.#closed) return []
    this.#closed = { error }
    for (let taker = this.#first; taker; taker = taker.next) taker.resolve(Promise.reject(error))
    this.#first = undefined
    this.#last = undefined
    return this.drain()
  }

  #wait(resolve: Taker<R>['resolve']): void {
    const taker: Taker<R> = { resolve, next: undefined }
    if (this.#last) this.#last.next = taker
    else this.#first = taker
    this.#last = taker
  }

  #untilAborted(signal: AbortSignal, resolve: Taker<R>['resolve']): Taker<R>['resolve'] {
    const cancel = () => {
      this.#leave(settle)
      resolve(Promise.reject(signal.reason))
    }
    const settle: Taker<R>['resolve'] = (item) => {
      signal.removeEventListener('abort', cancel)
      resolve(item)
    }
    signal.addEventListener('abort', cancel, { once: true })
    return settle
  }

  /** Whoever is told through this waits no more. */
  #leave(resolve: Taker<R>['resolve']): void {
    let before: Taker<R> | undefined
    let taker = this.#first
    while (taker && taker.resolve !== resolve) {
      before = taker
      taker = taker.next
    }
    if (!taker) return
    if (before) before.next = taker.next
    else this.#first = taker.next
    if (this.#last === taker) this.#last = before
  }

  #shift(items: T[]): T {
    const item = items[this.#head] as T // a list that is kept is not empty
    items[this.#head] = undefined as T // let go of it before the array is cut
    this.#head++
    if (this.#head === items.length) {
      this.#items = undefined
      this.#head = 0
    } else if (this.#head > 1024 && this.#head * 2 > items.length) {
      this.#items = items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}

/** What was put is what is given, where nobody says otherwise. */
const same = {
  give: <T, R>(item: T): R => item as unknown as R,
}

/** A set of objects that come and go all the time, in the order of their coming: each knows its neighbours. */

/** What can stand in a chain, in one at a time. */
export interface Linked<T> {
  before?: T | undefined
  after?: T | undefined
}

/**
 * A Set would leave a table behind whenever it has filled one, and the tables keep each other, and all that was ever in them,
 * until the next collection of everything.
 */
export class Chain<T extends Linked<T>> implements Iterable<T> {
  size = 0
  #first: T | undefined
  #last: T | undefined

  get first(): T | undefined {
    return this.#first
  }

  /** To be called for what stands in none. */
  add(item: T): void {
    this.size++
    item.before = this.#last
    if (this.#last) this.#last.after = item
    else this.#first = item
    this.#last = item
  }

  /** False: it was not here. */
  delete(item: T): boolean {
    const { before, after } = item
    if (!before && this.#first !== item) return false
    if (before) before.after = after
    else this.#first = after
    if (after) after.before = before
    else this.#last = before
    item.before = item.after = undefined
    this.size--
    return true
  }

  /** Those that are here now. */
  *[Symbol.iterator](): Generator<T> {
    const items: T[] = []
    for (let item = this.#first; item; item = item.after) items.push(item)
    yield* items
  }
}

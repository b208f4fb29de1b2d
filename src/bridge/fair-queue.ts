/** A queue that serves keys in turn: who puts in a thousand things gets one of them before everybody else has had one. */

export class FairQueue<T> {
  /** In the order of their turns. */
  readonly #byKey = new Map<string, T[]>()
  #length = 0

  get length(): number {
    return this.#length
  }

  push(key: string, item: T): void {
    const items = this.#byKey.get(key)
    if (items) items.push(item)
    else this.#byKey.set(key, [item])
    this.#length++
  }

  /** The first item of the key whose turn it is. */
  shift(): T | undefined {
    const [first] = this.#byKey
    if (!first) return undefined
    const [key, items] = first
    const item = items.shift()
    this.#byKey.delete(key)
    if (items.length > 0) this.#byKey.set(key, items)
    this.#length--
    return item
  }

  remove(key: string, item: T): void {
    const items = this.#byKey.get(key) ?? []
    const index = items.indexOf(item)
    if (index < 0) return
    items.splice(index, 1)
    this.#length--
    if (items.length === 0) this.#byKey.delete(key)
  }

  *[Symbol.iterator](): Generator<T> {
    for (const items of this.#byKey.values()) yield* items
  }

  /** Takes everything out, in the order of the keys. */
  clear(): readonly T[] {
    const all = [...this]
    this.#byKey.clear()
    this.#length = 0
    return all
  }
}

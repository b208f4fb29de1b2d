/** A queue whose items hold each other, so that taking from a long one costs no more than from a short one. */

export interface Linked<T> {
  /** The one behind it, in the line that it stands in. */
  next: T | undefined
}

/** First in, first out. An item stands in one line at a time. */
export class Line<T extends Linked<T>> {
  #head: T | undefined
  #tail: T | undefined

  push(item: T): void {
    if (this.#tail) this.#tail.next = item
    else this.#head = item
    this.#tail = item
  }

  shift(): T | undefined {
    const head = this.#head
    if (!head) return undefined
    this.#head = head.next
    if (!this.#head) this.#tail = undefined
    head.next = undefined
    return head
  }
}

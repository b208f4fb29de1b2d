/** Deadlines that are all equally far away when they begin: one timer for all of them. */
import { Chain, type Linked } from './chain.ts'

/** Node's longest timer, in milliseconds: a longer deadline takes several. */
const longest = 2 ** 31 - 1

/** A timer is not to be later than it has to be by more than this, in milliseconds. */
const shortest = 1

export class Deadline implements Linked<Deadline> {
  before: Deadline | undefined
  after: Deadline | undefined
  /** When it is over; set when it begins. */
  due = 0
  readonly late: () => void

  /** `late` is called when it is over and was not ended. */
  constructor(late: () => void) {
    this.late = late
  }
}

export class Deadlines {
  readonly #length: number
  /** In the order of their beginning, which is that of their end. */
  readonly #begun = new Chain<Deadline>()
  #timer: NodeJS.Timeout | undefined

  /** In milliseconds. */
  constructor(length: number) {
    this.#length = length
  }

  /** How many have begun and are not over. */
  get size(): number {
    return this.#begun.size
  }

  /** To be called for what has not begun. */
  begin(deadline: Deadline): void {
    deadline.due = performance.now() + this.#length
    this.#begun.add(deadline)
    if (!this.#timer) this.#timer = this.#wait(this.#length)
    else if (this.size === 1) this.#timer.ref()
  }

  /** Also of what has not begun, or is over. */
  end(deadline: Deadline): void {
    // The timer stays, and keeps no process alive.
    if (this.#begun.delete(deadline) && this.size === 0) this.#timer?.unref()
  }

  #wait(milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => this.#look(), Math.min(longest, Math.max(shortest, Math.ceil(milliseconds))))
  }

  /** The timer is over, and keeps its place until all that is late is told: what begins meanwhile is due after the rest. */
  #look(): void {
    const now = performance.now()
    try {
      for (let next = this.#begun.first; next && next.due <= now; next = this.#begun.first) {
        this.#begun.delete(next)
        next.late()
      }
    } finally {
      const { first } = this.#begun
      this.#timer = first && this.#wait(first.due - now)
    }
  }
}

/** Notices a server that takes commands and does not answer: a connection alone does not say that somebody is there. */

export class Answers {
  readonly #timeout: number
  readonly #onSilence: (error: Error) => void
  #outstanding = 0
  #last = 0
  #timer: NodeJS.Timeout | undefined
  #idle: PromiseWithResolvers<void> | undefined

  /** `onSilence` is called when commands wait and nothing was answered for `timeout` milliseconds. */
  constructor(timeout: number, onSilence: (error: Error) => void) {
    this.#timeout = timeout
    this.#onSilence = onSilence
  }

  async of<T>(answer: Promise<T>): Promise<T> {
    if (this.#outstanding++ === 0) this.#last = performance.now()
    this.#timer ??= this.#checkAfter(this.#timeout)
    try {
      return await answer
    } finally {
      this.#outstanding--
      this.#last = performance.now()
      if (this.#outstanding === 0) this.#idle?.resolve()
    }
  }

  /** Resolves when nothing waits for its answer. */
  async settled(): Promise<void> {
    while (this.#outstanding > 0) {
      this.#idle = Promise.withResolvers()
      await this.#idle.promise
    }
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#outstanding = Number.NEGATIVE_INFINITY
    this.#idle?.resolve()
  }

  /** One timer at a time, whatever the number of commands. */
  #checkAfter(delay: number): NodeJS.Timeout {
    // A turn later: what came while this process stood still is heard first.
    return setTimeout(() => setImmediate(() => this.#check()), delay).unref()
  }

  #check(): void {
    this.#timer = undefined
    if (this.#outstanding <= 0) return
    const left = this.#last + this.#timeout - performance.now()
    if (left > 0) this.#timer = this.#checkAfter(left)
    else this.#onSilence(silence(this.#timeout))
  }
}

export function silence(timeout: number): Error {
  return new Error(`Redis has not answered for ${timeout} ms`)
}

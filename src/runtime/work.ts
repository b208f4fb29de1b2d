/** What is under way, so that closing can wait for it. */

export class Work {
  readonly #running = new Set<Promise<unknown>>()

  /** How much it is. */
  get size(): number {
    return this.#running.size
  }

  /** Remembers it until it settles, and answers it. */
  add<T>(promise: Promise<T>): Promise<T> {
    const settled = () => void this.#running.delete(promise)
    this.#running.add(promise)
    promise.then(settled, settled)
    return promise
  }

  /** Resolves when all of it has settled, or when the signal aborts. */
  async over(signal: AbortSignal): Promise<void> {
    if (this.#running.size === 0 || signal.aborted) return
    const cut = Promise.withResolvers<void>()
    const abort = () => cut.resolve()
    signal.addEventListener('abort', abort, { once: true })
    await Promise.race([Promise.allSettled(this.#running), cut.promise])
    signal.removeEventListener('abort', abort)
  }
}

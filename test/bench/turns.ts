/** Two sides that are measured beside each other: only one of them is at work at any moment. */

export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  /** Does it when all that came before is done, so that two who come again and again alternate. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    // Who fails has had its turn too.
    this.#last = done.catch(() => undefined)
    return done
  }
}

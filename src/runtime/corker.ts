/** Lets what is said in one turn of the event loop leave when the turn is over: one callback a turn, however many have something to say. */

export interface Corked {
  /** The turn is over. */
  flush(): void
}

export class Corker {
  #corked: Corked[] = []

  /**
   * Calls `flush` when every socket that had something to read was read and what came of it was done. Measured on echo:
   * a fifth less work a message than with `process.nextTick`, which comes between the sockets of one turn.
   */
  add(corked: Corked): void {
    if (this.#corked.push(corked) === 1) setImmediate(flushAll, this)
  }

  flush(): void {
    const corked = this.#corked
    this.#corked = []
    for (const each of corked) each.flush()
  }
}

function flushAll(corker: Corker): void {
  corker.flush()
}

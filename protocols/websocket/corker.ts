/** Lets everything that is written in one turn of the event loop leave in one write a socket. */

export interface Corked {
  /** The turn is over. */
  uncork(): void
}

/** A queue for all sockets of a listener: one callback a turn, however many sockets wrote. */
export class Corker {
  #corked: Corked[] = []

  /**
   * Calls `uncork` when every socket that had something to read was read and what came of it was done. Measured on echo:
   * a fifth less work a message than with `process.nextTick`, which comes between the sockets of one turn.
   */
  add(corked: Corked): void {
    if (this.#corked.push(corked) === 1) setImmediate(uncorkAll, this)
  }

  flush(): void {
    const corked = this.#corked
    this.#corked = []
    for (const each of corked) each.uncork()
  }
}

function uncorkAll(corker: Corker): void {
  corker.flush()
}

/** Lets what is said in one turn of the event loop leave when the turn is over: one callback a turn, however many have something to say. */

export interface Corked {
  /** The turn is over, or its lot is full. */
  flush(): void
}

export class Corker {
  /**
   * How many have something to say before those leave without the others, while these are still worked on: what was looked at
   * of them is in the processor's cache then, and their peers have something to read.
   */
  protected lot: number
  #corked: Corked[] = []

  /** `lot`: at least 1. Default: all of a turn leave together. */
  constructor(lot = Infinity) {
    this.lot = lot
  }

  /**
   * Calls `flush` when every socket that had something to read was read and what came of it was done. Measured on echo:
   * a fifth less work a message than with `process.nextTick`, which comes between the sockets of one turn.
   */
  add(corked: Corked): void {
    if (this.#corked.length >= this.lot) this.#flushLot()
    if (this.#corked.push(corked) === 1) setImmediate(flushAll, this)
  }

  flush(): void {
    this.#flushLot()
  }

  #flushLot(): void {
    const corked = this.#corked
    this.#corked = []
    for (const each of corked) each.flush()
  }
}

function flushAll(corker: Corker): void {
  corker.flush()
}

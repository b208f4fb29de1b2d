/** Lets everything that is said in one turn of the event loop leave in one write a socket. */
import { Batch } from './batch.ts'

export interface Corked {
  /** The turn is over. */
  flush(): void
}

/** A queue for all sockets of a listener: one callback a turn, however many sockets have something to write. */
export class Corker {
  /** What every socket's batch of this turn begins with. */
  start = Batch.empty()
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
    // Nothing that was said is kept.
    this.start = Batch.empty()
  }
}

function flushAll(corker: Corker): void {
  corker.flush()
}

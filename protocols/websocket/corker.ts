/** Lets everything that is said in one turn of the event loop leave in one write a socket. */
import { Corker, type Corked } from '../../src/runtime/corker.ts'
import { Batch } from './batch.ts'

/**
 * So many sockets that hardly say more than one thing a turn are not kept waiting for all others: what was looked at of them
 * is still in the processor's cache, and their peers read while the others are worked on. Measured with a message to a
 * thousand members: 4 % more deliveries than when all are written at the end of the turn.
 */
const lot = 64

/** A queue for all sockets of a listener. */
export class BatchCorker extends Corker {
  /** What every socket's batch of this turn begins with. */
  start = Batch.empty()
  /** Which turn it is, of those in which something was said. */
  turn = 0
  /** What was said in this turn. */
  messages = 0
  /** How many sockets said it, and how many of them said it since the last lot was written. */
  #sockets = 0
  #held = 0
  /** In the turn before there was hardly more to write to a socket than one message: nothing is won by waiting for another one. */
  #single = false

  /** A socket has something to say that leaves at the end of the turn, or with its lot. `spoke`: the last turn in which it had. */
  hold(socket: Corked, spoke: number): void {
    if (this.#single && this.#held >= lot) this.#write()
    this.add(socket)
    this.#held++
    if (spoke !== this.turn) this.#sockets++
    // Its lot is written, and it says more: the others wait.
    else this.#single = false
  }

  override flush(): void {
    this.#write()
    if (this.#sockets === 0) return
    // Nothing that was said is kept.
    this.start = Batch.empty()
    this.#single = this.messages < this.#sockets * 1.25
    this.messages = 0
    this.#sockets = 0
    this.turn++
  }

  #write(): void {
    this.#held = 0
    super.flush()
  }
}

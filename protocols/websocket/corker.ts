/** Lets everything that is said in one turn of the event loop leave in one write a socket. */
import { Corker, type Corked } from '../../src/runtime/corker.ts'
import { Batch } from './batch.ts'

/** Measured with a message to a thousand members: 4 % more deliveries than when all are written at the end of the turn. */
const lot = 64

/** Both numbers are the corker's. */
export interface Speaker extends Corked {
  /** The last turn in which it had something to say; at first -1. */
  spoke: number
  /** Where the corker keeps what it has said and not written; -1: there is nothing. */
  place: number
}

/** A queue for all sockets of a listener. */
export class BatchCorker extends Corker {
  /** What every socket's batch of this turn begins with. */
  #start = Batch.empty()
  /** What was said and is not written. Not kept in the socket: a new batch in an old socket costs V8 a note of its own. */
  #batches: (Batch | undefined)[] = []
  #unwritten = 0
  /** What was said in this turn, and by how many sockets. */
  #messages = 0
  #sockets = 0
  /** Which turn it is, of those in which something was said. */
  #turn = 0

  /** It is written with the turn, or with the socket's lot: `flush` is called, which takes it. */
  say(socket: Speaker, data: string | Uint8Array): void {
    if (socket.place < 0) this.#hold(socket)
    const before = this.#batches[socket.place] ?? this.#start
    this.#batches[socket.place] = typeof data === 'string' ? before.withText(data) : before.withBytes(data)
    this.#messages++
  }

  /** What a socket has said and not written, in bytes. */
  unwritten({ place }: Speaker): number {
    return this.#batches[place]?.length ?? 0
  }

  /** The same, for whoever writes it. */
  take(socket: Speaker): Batch | undefined {
    const { place } = socket
    if (place < 0) return undefined
    const batch = this.#batches[place]
    this.#batches[place] = undefined
    socket.place = -1
    if (--this.#unwritten === 0) this.#batches = []
    return batch
  }

  override flush(): void {
    super.flush()
    if (this.#sockets === 0) return
    // Nothing that was said is kept.
    this.#start = Batch.empty()
    // Where sockets say hardly more than one thing a turn, nothing is won by waiting for another one.
    this.lot = this.#messages < this.#sockets * 1.25 ? lot : Infinity
    this.#messages = 0
    this.#sockets = 0
    this.#turn++
  }

  #hold(socket: Speaker): void {
    this.add(socket)
    this.#unwritten++
    socket.place = this.#batches.push(undefined) - 1
    // Its lot is written, and it says more: the others wait.
    if (socket.spoke === this.#turn) this.lot = Infinity
    else this.#sockets++
    socket.spoke = this.#turn
  }
}

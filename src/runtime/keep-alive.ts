/** TCP keep-alive: how it is noticed that a peer vanished without a word. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** Milliseconds between two looks at who is there. */
const interval = 30_000
/** Milliseconds without a byte before a peer's system is asked. */
const idleTime = 60_000

/** For connections that last: those that are over in a moment are spared the system calls that it takes. */
export class KeepAlive {
  readonly #sockets: () => Iterable<Duplex>
  readonly #asked = new WeakSet<Duplex>()
  readonly #timer: NodeJS.Timeout

  /** `sockets` answers those that are open. */
  constructor(sockets: () => Iterable<Duplex>) {
    this.#sockets = sockets
    this.#timer = setInterval(() => this.#look(), interval).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const socket of this.#sockets()) {
      if (this.#asked.has(socket) || !(socket instanceof Socket)) continue
      this.#asked.add(socket)
      socket.setKeepAlive(true, idleTime)
    }
  }
}

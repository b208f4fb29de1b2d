/** A handshake that waits for its answer, and is over when its peer leaves or the application takes too long. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Endpoints } from '../../src/asgi/adapter.ts'
import type { Corked } from '../../src/runtime/corker.ts'
import type { BatchCorker } from './corker.ts'

/** An upgrade as `node:http` hands it over. */
export interface Handshake {
  readonly request: IncomingMessage
  readonly socket: Socket
  readonly head: Buffer
  readonly endpoints: Endpoints
}

/** Why a handshake was not answered. */
export interface OpeningEvents {
  /** The peer did not wait for the answer. */
  left(): void
  /** The application took too long. */
  late(): void
}

/** What a listener says about all its handshakes. */
export interface OpeningLimits {
  readonly corker: BatchCorker
  /** In milliseconds; 0: none. */
  readonly handshakeTimeout: number
}

export class Opening implements Corked {
  readonly handshake: Handshake
  readonly #limits: OpeningLimits
  readonly #events: OpeningEvents
  #settled = false
  #leave: (() => void) | undefined
  #deadline: NodeJS.Timeout | undefined

  constructor(handshake: Handshake, limits: OpeningLimits, events: OpeningEvents) {
    this.handshake = handshake
    this.#limits = limits
    this.#events = events
    limits.corker.add(this)
  }

  /** The turn in which it came is over. Most are answered by then, and have nothing to wait for. */
  flush(): void {
    if (this.#settled) return
    const { socket } = this.handshake
    if (socket.destroyed || socket.readableEnded) return this.#left()
    const leave = () => this.#left()
    // Assigned where it is written, V8 would make it old, with all that it knows.
    this.#leave = leave
    socket.on('close', leave)
    socket.on('end', leave)
    const { handshakeTimeout } = this.#limits
    if (handshakeTimeout > 0) this.#deadline = setTimeout(expire, handshakeTimeout, this.#events)
  }

  /** It is answered. */
  settle(): void {
    this.#settled = true
    if (!this.#leave) return
    clearTimeout(this.#deadline)
    const { socket } = this.handshake
    socket.off('close', this.#leave)
    socket.off('end', this.#leave)
  }

  #left(): void {
    this.settle()
    this.handshake.socket.destroy()
    this.#events.left()
  }
}

/** One function for all deadlines: no closure a handshake. */
function expire(events: OpeningEvents): void {
  events.late()
}

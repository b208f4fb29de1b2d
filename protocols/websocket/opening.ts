/** A handshake that waits for its answer, and is over when its peer leaves or the application takes too long. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'

/** An upgrade as `node:http` hands it over. */
export interface Handshake {
  readonly request: IncomingMessage
  readonly socket: Socket
  readonly head: Buffer
}

/** Why a handshake was not answered. */
export interface OpeningEvents {
  /** The peer did not wait for the answer. */
  left(): void
  /** The application took too long. */
  late(): void
}

export class Opening {
  readonly handshake: Handshake
  readonly #events: OpeningEvents
  #deadline: NodeJS.Timeout | undefined

  /** `timeout` in milliseconds; 0: none. */
  constructor(handshake: Handshake, timeout: number, events: OpeningEvents) {
    this.handshake = handshake
    this.#events = events
    const { socket } = handshake
    socket.on('close', this.#leave)
    socket.on('end', this.#leave)
    if (timeout > 0) this.#deadline = setTimeout(expire, timeout, events)
  }

  /** It is answered. */
  settle(): void {
    clearTimeout(this.#deadline)
    const { socket } = this.handshake
    socket.off('close', this.#leave)
    socket.off('end', this.#leave)
  }

  readonly #leave = (): void => {
    this.settle()
    this.handshake.socket.destroy()
    this.#events.left()
  }
}

/** One function for all deadlines: no closure a handshake. */
function expire(events: OpeningEvents): void {
  events.late()
}

/** Closes connections on which nothing has come for too long since the last answer: one look at all of them, not a timer for each answer. */
import { Socket } from 'node:net'
import type { Peer } from './peer.ts'

/** A peer that has asked again just before it would be closed need not find its connection closed, in milliseconds. */
const grace = 1000

export class IdleConnections {
  readonly #connections: () => Iterable<Peer>
  readonly #timer: NodeJS.Timeout
  /** After how many looks that saw nothing of it a connection is closed. */
  readonly #looks: number

  /**
   * `connections` answers those that are open; what has not asked yet is not looked at. `keepAliveTimeout` in milliseconds: none is closed before that and the grace are over, and each soon after.
   */
  constructor(connections: () => Iterable<Peer>, keepAliveTimeout: number) {
    this.#connections = connections
    const interval = Math.max(25, Math.min(2000, keepAliveTimeout / 8))
    this.#looks = Math.ceil((keepAliveTimeout + grace) / interval)
    this.#timer = setInterval(() => this.#look(), interval).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const peer of this.#connections()) {
      const { socket } = peer
      if (!peer.endpoints || peer.upgraded || !(socket instanceof Socket)) continue
      // Also the head of a request that comes slowly is something, and what the peer takes of its answers.
      const moved = socket.bytesRead - socket.writableLength
      if (isAnswering(peer) || peer.moved !== moved) {
        peer.moved = moved
        peer.idleLooks = 0
      } else if (++peer.idleLooks >= this.#looks) socket.destroy()
    }
  }
}

function isAnswering({ newest, socket: { _httpMessage: answer } }: Peer): boolean {
  if (newest === undefined || newest.writableFinished) return false
  // The one whose turn it is waits for its peer alone when all of it is said. Whoever watches it cuts a peer that takes none of it.
  return !answer?.writableEnded || answer.watcher !== undefined
}

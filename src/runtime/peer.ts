/** A connection as an HTTP host keeps it, and the responses that go out on it. */
import type { IncomingMessage } from 'node:http'
import type { Endpoints } from '../asgi/adapter.ts'
import { ServerResponse } from './node-http.ts'

export class Peer {
  readonly endpoints: Endpoints
  /** The newest response; undefined when it is over, and its request too. */
  newest: PeerResponse | undefined

  constructor(endpoints: Endpoints) {
    this.endpoints = endpoints
  }
}

/** Says what a host wants to know of each response: two listeners for each would cost more. */
export class PeerResponse<Request extends IncomingMessage = IncomingMessage> extends ServerResponse<Request> {
  peer: Peer | undefined

  override emit(event: string | symbol, ...details: unknown[]): boolean {
    // Kept until the next request comes, it would grow old in memory with all that it holds.
    if (event === 'close' && this.peer?.newest === this && this.req.complete) this.peer.newest = undefined
    // With nobody to hear it an error would end the process; who answers the request is told that it is closed.
    if (event === 'error' && this.listenerCount('error') === 0) return false
    return super.emit(event as string, ...details)
  }
}

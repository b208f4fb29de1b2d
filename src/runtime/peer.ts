/** A connection as an HTTP host keeps it, and the responses that go out on it. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Endpoints, HttpResponse, ResponseWatcher } from '../asgi/adapter.ts'
import type { Linked } from './chain.ts'
import { ServerResponse } from './node-http.ts'

/** Where a socket has its peer. A table of all sockets would leave old tables behind, whose sockets grow old with them: see Chain. */
export const peerOf = Symbol('peer')

export interface PeerSocket extends Duplex {
  [peerOf]?: Peer
  /** Node's: the response whose turn it is. */
  readonly _httpMessage?: PeerResponse | null
}

export class Peer implements Linked<Peer> {
  before: Peer | undefined = undefined
  after: Peer | undefined = undefined
  readonly socket: PeerSocket
  /** Undefined until its first request comes. */
  endpoints: Endpoints | undefined = undefined
  /** A protocol has taken it over: how it is closed is its to say. */
  upgraded = false
  /** After the answer to the request that comes now the connection is to be closed. */
  last = false
  /** Something came that is no request, and its answer waits for others. */
  broken = false
  /** The newest response; undefined when it is over, and its request too. */
  newest: PeerResponse | undefined = undefined
  /** Bytes that had come, less those that waited for it, when it was last looked at, and how many looks since then saw the same. */
  moved = 0
  idleLooks = 0

  constructor(socket: PeerSocket) {
    this.socket = socket
    socket[peerOf] = this
  }
}

/** Listens to a socket that was upgraded, until whoever has it does: its end says enough. */
export function ignoreError(): void {}

/** Says what a host wants to know of each response: two listeners for each would cost more. */
export class PeerResponse<Request extends IncomingMessage = IncomingMessage>
  extends ServerResponse<Request>
  implements HttpResponse
{
  peer: Peer | undefined
  watcher: ResponseWatcher | undefined
  /** The one that goes out after it, where that was asked for before this one was over. */
  next: PeerResponse | undefined
  /**
   * What Node says in the `Keep-Alive` header, in milliseconds. It copies it from its server, where it would start two timers for
   * each request too. Were it called otherwise one day, only the header would be missing.
   */
  declare _keepAliveTimeout: number

  override emit(event: string | symbol, ...details: unknown[]): boolean {
    if (event === 'close') {
      // Kept until the next request comes, it would grow old in memory with all that it holds.
      if (this.peer?.newest === this && this.req.complete) this.peer.newest = undefined
      // Those that wait would do so for ever: Node closes them, but not where it has let go of the socket.
      if (this.next && this.req.socket.destroyed) this.next.destroy()
      this.watcher?.closed()
    }
    // With nobody to hear it an error would end the process; who answers the request is told that it is closed.
    if (event === 'error' && this.listenerCount('error') === 0) return false
    return super.emit(event as string, ...details)
  }
}

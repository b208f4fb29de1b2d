/** One `node:http` or `node:https` server for an address, shared by every protocol that speaks HTTP there. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Endpoints, HttpHost, ListenAddress, RequestHandler, UpgradeHandler } from '../asgi/adapter.ts'
import type { Log } from '../asgi/context.ts'
import { Chain } from './chain.ts'
import { endNow } from './end-together.ts'
import { SignalboxError } from './errors.ts'
import { answer, answerBrokenRequest, cutResponse, endUpgrade } from './http-answer.ts'
import { endpointsOf } from './http-message.ts'
import { createHttpServer, listenProblem, type HttpHostOptions, type HttpServer } from './http-server.ts'
import { IdleConnections } from './idle-connections.ts'
import { KeepAlive } from './keep-alive.ts'
import { addressText } from './options.ts'
import { Peer, ignoreError, peerOf, type PeerResponse, type PeerSocket } from './peer.ts'

/** The host as its owner sees it. */
export interface ListeningHttpHost extends HttpHost {
  /** @throws SignalboxError `listen_failed` when the address cannot be had. */
  listen(): Promise<void>
  /**
   * Takes no new connection, lets the requests that are under way be answered, and closes what is idle; when `signal`
   * aborts, cuts what is left. Resolves when every socket is closed.
   */
  close(signal: AbortSignal): Promise<void>
}

/**
 * Paths of certificate files are relative to `base`.
 * @throws SignalboxError `listen_failed` when one of them cannot be used.
 */
export function createHttpHost(options: HttpHostOptions, base = '', log?: Log): ListeningHttpHost {
  return new NodeHttpHost(options, base, log)
}

class NodeHttpHost implements ListeningHttpHost {
  readonly secure: boolean
  readonly server: HttpServer
  readonly #address: ListenAddress
  readonly #exclusive: boolean
  readonly #log: Log | undefined
  /** The connections that requests come on. */
  readonly #peers = new Chain<Peer>()
  /** The ones below them, where there is TLS: also those whose handshake is not done. */
  readonly #raw = new Chain<Peer>()
  readonly #requests = new Map<string, RequestHandler>()
  readonly #upgrades = new Map<string, UpgradeHandler>()
  #otherRequests: RequestHandler | undefined
  #otherUpgrades: UpgradeHandler | undefined
  #port: number
  /** What connections came to; undefined: each may have come to another address, and is asked. */
  #reached: Endpoints['server'] | undefined
  readonly #keepAliveTimeout: number
  #keepAlive: KeepAlive | undefined
  #idle: IdleConnections | undefined
  #closed: Promise<void> | undefined

  constructor(options: HttpHostOptions, base: string, log: Log | undefined) {
    this.#address = options.address
    this.#exclusive = options.exclusive === true
    this.#port = options.address.port
    this.#keepAliveTimeout = options.keepAliveTimeout ?? 15_000
    this.#log = log
    this.secure = options.tls !== undefined
    this.server = createHttpServer(options, base, (request) => this.#isUpgrade(request))
    this.#listenTo(this.server)
  }

  get url(): string {
    return `${this.secure ? 'https' : 'http'}://${addressText({ host: this.#address.host, port: this.#port })}`
  }

  onRequest(path: string | undefined, handler: RequestHandler): void {
    if (path !== undefined) take(this.#requests, path, handler)
    else if (this.#otherRequests) throw taken('the requests of every other path')
    else this.#otherRequests = handler
  }

  onUpgrade(path: string | undefined, handler: UpgradeHandler): void {
    if (path !== undefined) take(this.#upgrades, path, handler)
    else if (this.#otherUpgrades) throw taken('the upgrades of every other path')
    else this.#otherUpgrades = handler
  }

  async listen(): Promise<void> {
    const { host, port } = this.#address
    try {
      this.server.listen({ host, port, exclusive: this.#exclusive })
      await once(this.server, 'listening')
    } catch (error) {
      throw new SignalboxError('listen_failed', `cannot listen on ${this.url}: ${listenProblem(error)}`, {
        cause: error,
      })
    }
    const bound = this.server.address() as AddressInfo // a TCP server has an address object once it listens
    this.#port = bound.port
    // Where it is one address, that is what every connection comes to.
    if (!unspecified.test(bound.address)) this.#reached = [bound.address, bound.port]
    this.#keepAlive = new KeepAlive(() => socketsOf(this.#peers))
    if (this.#keepAliveTimeout > 0) this.#idle = new IdleConnections(() => this.#peers, this.#keepAliveTimeout)
  }

  close(signal: AbortSignal): Promise<void> {
    this.#closed ??= this.#close(signal)
    return this.#closed
  }

  async #close(signal: AbortSignal): Promise<void> {
    this.#keepAlive?.stop()
    this.#idle?.stop()
    // What is answered from now on leaves an idle connection behind that nobody else would close.
    this.server.keepAliveTimeout = 1
    this.server.keepAliveTimeoutBuffer = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    this.server.close(() => resolve())
    // Node takes a connection that never asked for anything for a busy one.
    for (const peer of this.#peers) {
      if (!peer.upgraded && !isServed(peer)) peer.socket.destroy()
    }
    const cut = () => {
      endNow()
      for (const { socket } of [...this.#peers, ...this.#raw]) socket.destroy()
    }
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    await promise
    signal.removeEventListener('abort', cut)
  }

  #listenTo(server: HttpServer): void {
    server.on(this.secure ? 'secureConnection' : 'connection', tracker(this.#peers))
    if (this.secure) server.on('connection', tracker(this.#raw))
    server.on('request', (request, response) => this.#request(request, response))
    server.on('checkContinue', (request, response) => {
      this.#request(request, response)
      // RFC 9110 10.1.1: who is refused must not send the body first.
      if (!response.headersSent && !response.destroyed) response.writeContinue()
    })
    // Node would answer it by itself, and nobody would know of it.
    server.on('checkExpectation', (request, response) => this.#request(request, response, refuseExpectation))
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    server.on('connect', (_request, socket) => refuseConnect(socket))
    server.on('clientError', (error, socket) => this.#brokenRequest(error, socket))
    server.on('error', (error) => {
      // What keeps it from listening is said by whoever listens.
      if (server.listening) this.#log?.error({ err: error }, `${this.url} reports an error`)
    })
  }

  #request(request: IncomingMessage, response: PeerResponse, own?: RequestHandler): void {
    const peer = known(request.socket)
    const endpoints = (peer.endpoints ??= this.#firstAsked(request.socket))
    if (peer.newest) {
      // RFC 9112 9.6: the connection is to be closed after that one, and this one with it.
      if (!peer.newest.shouldKeepAlive) return
      peer.newest.next = response
    }
    peer.newest = response
    response.peer = peer
    response._keepAliveTimeout = this.#keepAliveTimeout
    if (this.#closed || peer.last || isFaulty(request)) response.shouldKeepAlive = false
    const early = peer.last && this.#upgradeHandler(request) ? refuseUpgrade : undefined
    const handler = own ?? early ?? this.#handler(this.#requests, request) ?? this.#otherRequests
    if (!handler) return answer(response, 404)
    try {
      handler(request, response, endpoints)
    } catch (error) {
      this.#log?.error({ err: error }, 'a protocol failed on a request')
      if (response.headersSent) cutResponse(response)
      else answer(response, 500)
    }
  }

  #firstAsked(socket: Socket): Endpoints {
    // Node closes its half too then, at once: what it was answered until now has to be out.
    socket.prependListener('end', endNow)
    return endpointsOf(socket, this.#reached)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Node has taken its own listener away: without another one a reset would end the process.
    socket.on('error', ignoreError)
    known(socket).upgraded = true
    const handler = this.#upgradeHandler(request)
    if (!handler || this.#closed) return endUpgrade(socket, 503)
    try {
      handler(request, socket, head, endpointsOf(request.socket, this.#reached))
    } catch (error) {
      this.#log?.error({ err: error }, 'a protocol failed on an upgrade')
      endUpgrade(socket, 500)
    }
  }

  /** What was asked for before is answered before: where it is not yet, this one is a request like others (RFC 9110 7.8). */
  #isUpgrade(request: IncomingMessage): boolean {
    const peer = known(request.socket)
    // Node drops what came in one piece with an upgrade that it does not make: who sends without waiting is not to wait for that.
    if (!isSaid(peer)) peer.last = true
    return !peer.last && this.#upgradeHandler(request) !== undefined
  }

  /** Only a proper WebSocket handshake is one; whatever else asks for an upgrade is served as a plain request (RFC 9110 7.8). */
  #upgradeHandler(request: IncomingMessage): UpgradeHandler | undefined {
    const { method, headers } = request
    if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket') return undefined
    // Bytes that one side takes for a body and the other for frames are how requests are smuggled.
    if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) return undefined
    return this.#handler(this.#upgrades, request) ?? this.#otherUpgrades
  }

  #handler<H>(handlers: ReadonlyMap<string, H>, { url = '/' }: IncomingMessage): H | undefined {
    if (handlers.size === 0) return undefined
    const query = url.indexOf('?')
    return handlers.get(query === -1 ? url : url.slice(0, query))
  }

  /** What came is no request, or came too slowly. Its answer goes out behind those to the requests before it. */
  #brokenRequest(error: unknown, socket: PeerSocket): void {
    endNow()
    const peer = socket[peerOf]
    const newest = peer?.newest
    const refuse = () => answerBrokenRequest(error, socket)
    if (!newest || newest.writableFinished) return refuse()
    // The parser reports every further chunk.
    if (peer.broken) return
    peer.broken = true
    if (newest.req.complete || newest.writableEnded) newest.once('close', refuse)
    // It is the body of that one: in the middle of its answer another one would be taken for a part of it.
    else if (newest.headersSent) cutResponse(newest)
    else if (newest.socket) refuse()
    else newest.once('socket', refuse)
  }
}

/** All addresses of the machine; and what is told apart by its interface. */
const unspecified = /^(?:0\.0\.0\.0|::)$|%/

/** One listener for all sockets: a closure of its own would cost each of them a fifth of what an idle one holds in memory. */
function tracker(peers: Chain<Peer>): (socket: PeerSocket) => void {
  function forget(this: PeerSocket): void {
    peers.delete(known(this))
  }
  return (socket) => {
    peers.add(new Peer(socket))
    socket.on('close', forget)
  }
}

/** Of a socket that the server has told of: every one that it gives away later. */
function known({ [peerOf]: peer }: PeerSocket): Peer {
  return peer as Peer
}

/** RFC 9110 9.3.6: this is no proxy. */
function refuseConnect(socket: PeerSocket): void {
  socket.on('error', ignoreError) // as for an upgrade
  const { newest } = known(socket)
  if (!newest || isSaid(known(socket))) return endUpgrade(socket, 405)
  newest.once('close', () => socket.writable && endUpgrade(socket, 405))
  // Node has let go of the socket, and looks after the answers before this one no more.
  socket.on('drain', () => socket._httpMessage?.emit('drain'))
  socket.on('timeout', () => socket.destroy())
  socket.on('end', () => socket.destroy())
  socket.resume()
}

/** RFC 9110 15.5.22: whoever shakes hands has no use for the answer to a plain request. */
const refuseUpgrade: RequestHandler = (_request, response) => {
  response.setHeader('upgrade', 'websocket')
  answer(response, 426, 'What was asked for before has no answer yet: upgrade on a connection of its own')
}

/** RFC 9110 10.1.1. */
const refuseExpectation: RequestHandler = (_request, response) => answer(response, 417)

/** RFC 9112 6.1: in HTTP/1.0 nobody can be sure where such a body ends. */
function isFaulty({ httpVersionMinor, headers }: IncomingMessage): boolean {
  return httpVersionMinor === 0 && headers['transfer-encoding'] !== undefined
}

/** All that was asked for is answered, as far as the server can say it: what is written now goes out behind it. */
function isSaid({ newest }: Peer): boolean {
  if (!newest) return true
  endNow()
  return newest.writableFinished || (newest.writableEnded && newest.socket !== null)
}

/** A request is under way: one that was answered, and whose body does not come to its end, is not. */
function isServed({ endpoints, newest }: Peer): boolean {
  return endpoints !== undefined && (!newest?.writableFinished || newest.req.complete)
}

function socketsOf(peers: Chain<Peer>): Duplex[] {
  return Array.from(peers, ({ socket }) => socket)
}

function take<H>(handlers: Map<string, H>, path: string, handler: H): void {
  if (handlers.has(path)) throw taken(path)
  handlers.set(path, handler)
}

function taken(what: string): SignalboxError {
  return new SignalboxError('listen_failed', `two protocols want ${what} on one address: give one of them another`)
}

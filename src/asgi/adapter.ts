/** The seam between a protocol's sockets and the server: what an adapter gives, and what it is given. */
import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Log } from './context.ts'
import type { AttemptSettled, DeliveryJournal, DeliveryOptions, StoredRecord } from './delivery.ts'
import type { Event, Protocol, Resolution } from './protocol.ts'

/** How far the application's answer to its peer has gone. */
export type Progress = 'none' | 'started' | 'finished'

/**
 * How an application ended; the adapter says it on its wire.
 * - `finished`: it returned after a complete answer.
 * - `unanswered`: it returned and had not started to answer.
 * - `unfinished`: it returned in the middle of its answer.
 * - `raised`: it threw; `progress` says how far the answer had gone.
 * - `abandoned`: it was still running `closeTimeout` after its scope had ended.
 */
export type Outcome =
  | { readonly kind: 'finished' | 'unanswered' | 'unfinished' | 'abandoned' }
  | { readonly kind: 'raised'; readonly error: unknown; readonly progress: Progress }

/** The adapter's side of one scope: where the application's events go. */
export interface Transport<P extends Protocol = Protocol> {
  /** See {@link Outcome}; read when the application ends. */
  readonly progress: Progress
  /** Whether an application that returns before `progress` is `finished` has failed: its peer waits for an answer. */
  readonly owesAnswer?: boolean
  /**
   * Writes the event. A promise means: wait before sending more (back-pressure).
   * @throws SignalboxError `unexpected_event` when the scope's state does not allow this event now.
   */
  send(event: P['send']): void | Promise<void>
  /**
   * Reads of all of them what `send` will read, changes nothing, and answers a number that means nothing: for transports of which
   * there are thousands, so that what has left the processor's cache is there again when it is needed. Itself is one of them.
   */
  touch?(all: readonly Transport[]): number
  /** The application has ended. Called exactly once a scope, also after a disconnect. */
  end(outcome: Outcome): void
  /**
   * Whether what the application raised was handed on to `Services.failed` or to the journal, which log it: then its scope does
   * not. Read after `end`.
   */
  readonly isReported?: boolean
  /** The mailbox has room again after `deliver` said false. */
  resume?(): void
}

/** Called once, when the application asked for the next event or returned; with an error when it failed on this one. */
export type Handled = (error?: unknown) => void

export interface Delivery {
  /** How many bytes this event holds in memory; the mailbox is bounded by bytes as well as by events. Default 0. */
  readonly bytes?: number
  readonly handled?: Handled
  /**
   * No event follows: a later `receive()` throws `scope_ended`. `of the peer`: it has said all that it will say, but it is still
   * there, and an application with a channel still gets the messages of its groups.
   */
  readonly last?: boolean | 'of the peer'
}

/** The server's side of one scope: where the adapter puts what came from the wire. */
export interface Connection<P extends Protocol = Protocol> {
  readonly scope: P['scope']
  /** True once the application has ended or was abandoned; what is delivered then is settled as failed. */
  readonly ended: boolean
  /** Puts an event into the mailbox. False: it is full; stop reading from the peer until `Transport.resume`. */
  deliver(event: P['receive'], delivery?: Delivery): boolean
  /** The peer is gone: delivers the last event, aborts the scope's signal, and gives the application `closeTimeout` to end. */
  disconnect(event?: P['receive']): void
  /** Aborts the scope's signal with this reason and gives the application `closeTimeout` to end. */
  abort(reason: Error): void
  /** Resolves when the application has ended or was abandoned. Never rejects. */
  readonly completed: Promise<void>
}

type Endpoint = readonly [host: string, port: number]

/** The two ends of a connection, as scopes say them. */
export interface Endpoints {
  readonly client: Endpoint | null
  readonly server: Endpoint | null
}

/** Who answers a request, told what becomes of the answer. */
export interface ResponseWatcher {
  /** It is over: sent, or its peer is gone. */
  closed(): void
}

/** A response as a host makes it. */
export interface HttpResponse extends ServerResponse {
  /** Instead of a listener to `close`, at less cost. */
  watcher: ResponseWatcher | undefined
}

/** `endpoints` are those of the connection that the request came on: the same object for all of its requests. */
export type RequestHandler = (request: IncomingMessage, response: HttpResponse, endpoints: Endpoints) => void

/** `head`: what came behind the request already. */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer, endpoints: Endpoints) => void

/** Serves plain requests and upgrades on an address that several protocols share. */
export interface HttpHost {
  /** As it was asked for; `url` has the real port once it listens. */
  readonly url: string
  /** The scheme and the port that peers reach: known once it listens. */
  readonly secure: boolean
  readonly server: HttpServer
  /** Takes the requests of one path (exact), or, without `path`, all that nobody else takes. */
  onRequest(path: string | undefined, handler: RequestHandler): void
  /** Takes the upgrades to `websocket` of one path (exact), or, without `path`, all that nobody else takes. */
  onUpgrade(path: string | undefined, handler: UpgradeHandler): void
}

/** Where a listener is bound, as the YAML says it. */
export interface ListenAddress {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
}
/** Paths of PEM files, relative to the YAML. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
}

/** The Redis that the gateways of one system share, for a protocol that keeps something of its own there. */
export interface SharedRedis {
  /** `redis://[[username]:password@]host[:port][/database]`, or `rediss://` for TLS. */
  readonly url: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly database?: number | undefined
  /** True, or PEM texts and the name in the server's certificate. */
  readonly tls?: true | SharedRedisTls | undefined
  /** Every key and every pub/sub name begins with this and a colon. */
  readonly prefix: string
  /** Whether the server is a cluster; undefined: it is asked. */
  readonly cluster?: boolean | undefined
  /** How long the start waits for Redis before it goes on without, in milliseconds. Default 5 s. */
  readonly connectTimeout?: number | undefined
  /** Milliseconds without an answer after which a connected Redis counts as away. Default 10 s. */
  readonly answerTimeout?: number | undefined
  /** Milliseconds after which a process that says nothing counts as gone. Default 15 s. */
  readonly presenceTimeout?: number | undefined
}
export interface SharedRedisTls {
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  readonly servername?: string
}

/** What the server lends to an adapter. */
export interface Services<P extends Protocol = Protocol> {
  /** Opens a scope: starts one instance of the application for it. `id`, `params`, `route` and `state` are filled in here. */
  open(scope: Unrouted<P['scope']>, transport: Transport<P>): Connection<P>
  /** Which rule would take this scope; undefined: none. Runs nothing. */
  resolve(scope: Unrouted<P['scope']>): Resolution | undefined
  /** A peer was turned away with this code of its protocol (503, 1013, 421, CONNACK 3): counted. */
  refused(code: number): void
  /** A message for a peer was not kept, for this reason of its protocol, one of a few fixed words: counted. */
  dropped(why: string): void
  /** An address found no rule: counted and logged. */
  unrouted(scope: Unrouted<P['scope']>, address: string): void
  /**
   * An event that the application failed on, with nobody left to ask the sender again: kept where a person can see it.
   * `event` is what was delivered.
   */
  failed(scope: P['scope'], event: Event, error: unknown): void
  /** Where events are stored before their sender has its answer, and from where they are delivered. */
  readonly journal: DeliveryJournal<P>
  /** The shared HTTP server of this address; without one, that of the `http` listener. */
  httpHost(address?: ListenAddress, tls?: TlsFiles): HttpHost
  /** The Redis that this gateway shares with others; left out: it is alone. */
  readonly redis?: SharedRedis | undefined
  /** The gateway's data folder; it exists. */
  readonly data: string
  /** The folder that relative paths in the YAML start from. */
  readonly base: string
  readonly log: Log
  /** How long an application may go on after its scope ended, in milliseconds. */
  readonly closeTimeout: number
}

/** A scope as an adapter makes it: the server adds the rest. */
export type Unrouted<S> = S extends unknown ? Omit<S, 'id' | 'params' | 'route' | 'state'> : never

/** A command line that sends something to a listener. */
export interface Example {
  /** Where to, when a rule takes that: what the sample has. */
  readonly address: string
  /** `config` is what a command of signalbox is told of the YAML, such as ` -c gateway.yaml`; it may be empty. */
  command(address: string, config: string): string
}

/** A protocol that is being served. */
export interface Listener {
  /** Where it listens, for the greeting, e.g. `mqtt://127.0.0.1:1883`. */
  readonly urls: readonly string[]
  /** A command to try it with, for the greeting. */
  readonly example: Example
  /** How many peers are connected now. */
  readonly connections: number
  /**
   * Makes one attempt at a record that the protocol has stored, and calls `settled` when that is over. An error with code
   * `permanent` is not tried again.
   */
  deliver?(record: StoredRecord, settled: AttemptSettled): void
  /** How often and when outgoing records are tried. */
  readonly outgoing?: DeliveryOptions
  /**
   * Stops listening, tells each peer in its protocol that the gateway goes, waits for their scopes until `signal` aborts,
   * then cuts what is left. Resolves when every socket is closed.
   */
  close(signal: AbortSignal): Promise<void>
}

/** What an adapter module exports as `adapter`: loaded only when the YAML names the protocol. */
export interface Adapter<P extends Protocol = Protocol, Options = unknown> {
  start(options: Options, services: Services<P>): Promise<Listener>
}

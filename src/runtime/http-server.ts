/** A `node:http` or `node:https` server with its limits, made from what an operator may set. */
import { readFileSync } from 'node:fs'
import type { IncomingMessage, Server, ServerOptions } from 'node:http'
import { resolve } from 'node:path'
import type { ListenAddress, TlsFiles } from '../asgi/adapter.ts'
import { SignalboxError, hasCode, reason } from './errors.ts'
import { createServer, https } from './node-http.ts'
import { PeerResponse } from './peer.ts'

/** Where an address is and what it bears. Times in milliseconds, sizes in bytes; what is left out has its default. */
export interface HttpHostOptions {
  readonly address: ListenAddress
  readonly tls?: TlsFiles | undefined
  /** All header lines of a request together; more is answered 431. Default 16 KiB. */
  readonly maxHeaderSize?: number
  /** From connecting, or the end of the previous request, to the end of a request's headers; then 408. Default 15 s. */
  readonly headersTimeout?: number
  /** To the end of the request's body; then 408. Default 120 s. */
  readonly requestTimeout?: number
  /** How long an idle connection stays open for another request. Default 15 s. */
  readonly keepAliveTimeout?: number
  /** More connections than this are closed as soon as they are made. Default 10,000. */
  readonly maxConnections?: number
  /** Not shared with the other processes of a cluster. Default false. */
  readonly exclusive?: boolean
}

export type HttpServer = Server<typeof IncomingMessage, typeof PeerResponse>

/**
 * Paths of certificate files are relative to `base`. `isUpgrade` says which requests for an upgrade are one.
 * @throws SignalboxError `listen_failed` when a certificate file cannot be used.
 */
export function createHttpServer(
  options: HttpHostOptions,
  base: string,
  isUpgrade: NonNullable<ServerOptions['shouldUpgradeCallback']>,
): HttpServer {
  const { tls, maxHeaderSize = 16 * 1024, requestTimeout = 120_000 } = options
  const headersTimeout = Math.min(options.headersTimeout ?? 15_000, requestTimeout)
  const common: Options = {
    ServerResponse: PeerResponse,
    maxHeaderSize,
    headersTimeout,
    requestTimeout,
    keepAliveTimeout: 0, // the host's own: Node would set two timers for each request
    // How often Node looks for connections that are over their time.
    connectionsCheckingInterval: Math.round(Math.max(50, Math.min(5000, headersTimeout / 4))),
    noDelay: true,
    optimizeEmptyRequests: true,
    shouldUpgradeCallback: isUpgrade,
  }
  const server = tls ? secureServer(common, tls, base) : createServer(common)
  server.maxConnections = options.maxConnections ?? 10_000
  // In a cluster a full process would hand a connection on to the next, and that on again.
  Object.assign(server, { dropMaxConnection: true })
  // Their size has a limit, so their number needs none: what is above Node's own one vanishes in silence.
  server.maxHeadersCount = 0
  return server
}

type Options = ServerOptions<typeof IncomingMessage, typeof PeerResponse>

function secureServer(common: Options, tls: TlsFiles, base: string): HttpServer {
  const files = { cert: readPem(tls.cert, base, 'certificate'), key: readPem(tls.key, base, 'key') }
  try {
    return https().createServer({
      ...common,
      ...files,
      minVersion: 'TLSv1.2',
      ...(common.headersTimeout !== undefined && { handshakeTimeout: common.headersTimeout }),
    })
  } catch (error) {
    const message = `the certificate ${tls.cert} and the key ${tls.key} cannot be used: ${reason(error)}`
    throw new SignalboxError('listen_failed', message, { cause: error })
  }
}

function readPem(path: string, base: string, what: string): string {
  try {
    return readFileSync(resolve(base, path), 'utf8')
  } catch (error) {
    throw new SignalboxError('listen_failed', `the ${what} ${path} cannot be read: ${reason(error)}`, { cause: error })
  }
}

/** Why an address could not be listened on, for the person who wrote it. */
export function listenProblem(error: unknown): string {
  if (hasCode(error, 'EADDRINUSE')) return 'another program listens there'
  if (hasCode(error, 'EACCES')) return 'this user may not use that port'
  if (hasCode(error, 'EADDRNOTAVAIL')) return 'this machine does not have that address'
  return reason(error)
}

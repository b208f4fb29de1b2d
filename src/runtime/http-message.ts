/** Requests as the scopes of http and websocket say them. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Endpoints } from '../asgi/adapter.ts'
import { lowerCase } from './http-headers.ts'

/** Header names lower-case; order and repeats as on the wire. */
export type HeaderList = readonly (readonly [name: string, value: string])[]

export interface RequestTarget {
  /** Percent-decoded, with the root path. */
  readonly path: string
  readonly rawPath: string
  readonly queryString: string
}

/** The parts of a request that every scope made from it has. */
export interface RequestParts extends RequestTarget, Endpoints {
  readonly httpVersion: string
  readonly rootPath: string
  readonly headers: HeaderList
}

/**
 * Undefined when the request is one to answer 400: a bad escape in the path, two hosts, or HTTP before 1.0. `endpoints` are
 * those of its connection, for who has asked for them before; `before` the headers of a request that this one may share headers
 * with, for who keeps them for long.
 */
export function requestParts(
  request: IncomingMessage,
  rootPath: string,
  endpoints: Endpoints = endpointsOf(request.socket),
  before?: HeaderList,
): RequestParts | undefined {
  if (request.httpVersionMajor !== 1) return undefined
  const target = requestTarget(request.url ?? '/', rootPath)
  const headers = target && headerList(request.rawHeaders, before)
  if (!headers) return undefined
  return {
    httpVersion: request.httpVersion,
    path: target.path,
    rawPath: target.rawPath,
    queryString: target.queryString,
    rootPath,
    headers,
    client: endpoints.client,
    server: endpoints.server,
  }
}

/** `server`, where it is known already: asking a socket for an address is a system call. */
export function endpointsOf(socket: Socket, server: Endpoints['server'] = localEnd(socket)): Endpoints {
  const { remoteAddress, remotePort } = socket
  return { client: remoteAddress === undefined ? null : [remoteAddress, remotePort ?? 0], server }
}

function localEnd({ localAddress, localPort }: Socket): Endpoints['server'] {
  return localAddress === undefined ? null : [localAddress, localPort ?? 0]
}

/** Undefined for a path with a malformed percent-encoding, or one that is not UTF-8. */
export function requestTarget(url: string, rootPath: string): RequestTarget | undefined {
  const origin = url.startsWith('/') ? url : originForm(url)
  const query = origin.indexOf('?')
  const rawPath = query === -1 ? origin : origin.slice(0, query)
  const path = decodePath(rawPath)
  if (path === undefined) return undefined
  return {
    path: withRoot(path, rootPath),
    rawPath,
    queryString: query === -1 ? '' : origin.slice(query + 1),
  }
}

/** RFC 9112 3.2.2: a server must take `http://host/path` too. `*` (3.2.4) stays as it is. */
function originForm(url: string): string {
  const rest = /^https?:\/\/[^/?#]*(.*)$/is.exec(url)?.[1]
  if (rest === undefined) return url
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** The bytes of a request's body, known before it comes: undefined for a chunked one (RFC 9112 6.3). */
export function bodyLength({ headers }: IncomingMessage): number | undefined {
  return headers['transfer-encoding'] === undefined ? Number(headers['content-length'] ?? 0) : undefined
}

function decodePath(rawPath: string): string | undefined {
  if (!rawPath.includes('%')) return rawPath
  try {
    return decodeURIComponent(rawPath)
  } catch {
    return undefined
  }
}

/** Whether or not the proxy has taken its prefix off, the scope's path has it. */
function withRoot(path: string, rootPath: string): string {
  if (rootPath === '' || path === rootPath || path.startsWith(`${rootPath}/`)) return path
  return rootPath + path
}

/** Undefined when there are two `Host` lines (RFC 9112 3.2). */
function headerList(raw: readonly string[], before: HeaderList | undefined): HeaderList | undefined {
  const headers: (readonly [name: string, value: string])[] = []
  let hosts = 0
  for (let index = 0; index < raw.length; index += 2) {
    const name = lowerCase(raw[index] as string) // names and values come in pairs
    if (name === 'host' && ++hosts > 1) return undefined
    const header = [name, raw[index + 1] as string] as const
    headers.push(before ? shared(header, before[index / 2]) : header)
  }
  // What was pushed to has room to spare; a copy has none, for as long as the scope lives.
  return headers.slice()
}

/** Frozen: whoever changed it would change it for others. */
function shared(header: HeaderList[number], before: HeaderList[number] | undefined): HeaderList[number] {
  return before?.[1] === header[1] && before[0] === header[0] ? before : Object.freeze(header)
}

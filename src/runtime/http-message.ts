/** Requests as scopes say them, and headers as the wire allows them: what http and websocket have in common. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Endpoints } from '../asgi/adapter.ts'
import { SignalboxError } from './errors.ts'

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
 * those of its connection, for who has asked for them before.
 */
export function requestParts(
  request: IncomingMessage,
  rootPath: string,
  endpoints: Endpoints = endpointsOf(request.socket),
): RequestParts | undefined {
  if (request.httpVersionMajor !== 1) return undefined
  const target = requestTarget(request.url ?? '/', rootPath)
  const headers = target && headerList(request.rawHeaders)
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
function headerList(raw: readonly string[]): HeaderList | undefined {
  const headers: [name: string, value: string][] = []
  let hosts = 0
  for (let index = 0; index < raw.length; index += 2) {
    const name = lowerCase(raw[index] as string) // names and values come in pairs
    if (name === 'host' && ++hosts > 1) return undefined
    headers.push([name, raw[index + 1] as string])
  }
  // What was pushed to has room to spare; a copy has none, for as long as the scope lives.
  return headers.slice()
}

/** As they are usually written. Every request would make and keep copies of its own of these. */
const usualNames: ReadonlyMap<string, string> = new Map(
  [
    'Accept',
    'Accept-Encoding',
    'Accept-Language',
    'Authorization',
    'Cache-Control',
    'Connection',
    'Content-Length',
    'Content-Type',
    'Cookie',
    'Host',
    'Origin',
    'Pragma',
    'Referer',
    'Sec-WebSocket-Extensions',
    'Sec-WebSocket-Key',
    'Sec-WebSocket-Protocol',
    'Sec-WebSocket-Version',
    'Upgrade',
    'User-Agent',
    'X-Forwarded-For',
    'X-Forwarded-Proto',
  ].flatMap((name) => {
    const lower = name.toLowerCase()
    return [
      [name, lower],
      [lower, lower],
    ] as const
  }),
)

function lowerCase(name: string): string {
  return usualNames.get(name) ?? name.toLowerCase()
}

/** RFC 9110 5.6.2. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// RFC 9110 5.5: no control character but the tab. A line break here would let a value write headers of its own.
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/

export function isToken(text: string): boolean {
  return usualNames.has(text) || token.test(text)
}

/** Whose header it is, for the error. */
export interface HeaderOwner {
  readonly type: string
  readonly id: string
}

/**
 * What an application wants to send as headers, name and value in turn.
 * @throws SignalboxError `unexpected_event` for a name or a value that a header cannot have.
 */
export function flatHeaders(headers: unknown, owner: HeaderOwner): string[] {
  const flat: string[] = []
  for (const header of listOfHeaders(headers, owner)) {
    checkHeader(header, owner)
    flat.push(header[0], header[1])
  }
  return flat
}

export function listOfHeaders(headers: unknown, owner: HeaderOwner): readonly unknown[] {
  if (!Array.isArray(headers)) throw badHeader(owner, 'expected a list of [name, value] pairs as headers', headers)
  return headers
}

/** @throws SignalboxError `unexpected_event`. */
export function checkHeader(
  header: unknown,
  owner: HeaderOwner,
): asserts header is readonly [name: string, value: string] {
  if (!Array.isArray(header) || header.length !== 2)
    throw badHeader(owner, 'expected a header as a [name, value] pair', header)
  const [name, value] = header as readonly unknown[]
  if (typeof name !== 'string' || !isToken(name)) throw badHeader(owner, 'expected a header name', name)
  if (typeof value === 'string' && fieldValue.test(value)) return
  throw badHeader(owner, `expected latin-1 text without control characters as the value of the header ${name}`, value)
}

function badHeader(owner: HeaderOwner, expected: string, found: unknown): SignalboxError {
  const shown = JSON.stringify(found) ?? String(found)
  const message = `${owner.type} scope ${owner.id}: ${expected}, found ${shown.slice(0, 200)}`
  return new SignalboxError('unexpected_event', message)
}

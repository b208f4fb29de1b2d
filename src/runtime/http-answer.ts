/** The answers that a gateway gives by itself: short, plain, and written so that the peer gets to read them. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { endTogether } from './end-together.ts'
import { hasCode } from './errors.ts'
import { STATUS_CODES } from './node-http.ts'

/** Header lines, name and value in turn. */
export type FlatHeaders = readonly string[]

/** How long a peer may go on sending after it was refused, so that it gets to read why, in milliseconds. */
const lingerTime = 2000

/** Answers a request with a status and one line of text. Without effect when an answer has begun. */
export function answer(response: ServerResponse, status: number, text: string = STATUS_CODES[status] ?? ''): void {
  if (response.headersSent) return
  const body = `${text}\n`
  response.writeHead(status, plainHeaders(status, body))
  endTogether(response, body, 'utf8')
}

/**
 * Answers a request and closes its connection: for a body that is still coming and will not be read. Not before the peer has
 * stopped sending or `lingerTime` has passed: closed at once, its kernel would throw the answer away (RFC 9112 9.6).
 */
export function answerAndClose(request: IncomingMessage, response: ServerResponse, status: number): void {
  if (response.headersSent) return cutResponse(response)
  const body = `${STATUS_CODES[status]}\n`
  response.writeHead(status, [...plainHeaders(status, body), 'connection', 'close'])
  if (request.readableEnded) return endTogether(response, body)
  response.write(body)
  // Behind the answer to another request it cannot be read yet.
  if (response.socket) linger(response)
  else response.once('socket', () => linger(response))
  request.once('end', () => response.end())
  request.resume()
}

function linger(response: ServerResponse): void {
  const timer = setTimeout(() => response.destroy(), lingerTime)
  response.once('close', () => clearTimeout(timer))
}

/** Ends a response in the middle, and its connection: where others go out before it, when they are out. */
export function cutResponse(response: ServerResponse): void {
  if (!response.socket) response.once('socket', (turn) => turn.destroy())
  response.destroy()
}

/** Answers bytes that are no request, or that come too slowly, where Node has given up on the connection. */
export function answerBrokenRequest(error: unknown, socket: Duplex): void {
  // The parser reports every further chunk of a connection that is being closed.
  if (socket.writableEnded) return
  const status = brokenRequestStatus(error)
  if (status === undefined || !socket.writable) socket.destroy()
  else endSocket(socket, head(status, ['content-length', '0', 'connection', 'close']))
}

function brokenRequestStatus(error: unknown): number | undefined {
  if (hasCode(error, 'ERR_HTTP_REQUEST_TIMEOUT')) return 408
  if (hasCode(error, 'HPE_HEADER_OVERFLOW')) return 431
  if (hasCode(error, 'HPE_CHUNK_EXTENSIONS_OVERFLOW')) return 413
  // The parser's own codes; what else is reported here is a connection that broke.
  return Error.isError(error) && 'code' in error && String(error.code).startsWith('HPE_') ? 400 : undefined
}

/** Answers an upgrade with a response instead, and closes. `headers` were checked by the caller. */
export function endUpgrade(
  socket: Duplex,
  status: number,
  headers: FlatHeaders = [],
  body?: string | Uint8Array,
): void {
  const content = body ?? `${STATUS_CODES[status]}\n`
  const fields =
    body === undefined ? plainHeaders(status, content) : ['content-length', String(Buffer.byteLength(content))]
  const bytes = Buffer.concat([head(status, [...headers, ...fields, 'connection', 'close']), Buffer.from(content)])
  endSocket(socket, bytes)
}

/** The head of a response as bytes: for sockets that `node:http` has let go of. */
export function head(status: number, headers: FlatHeaders): Buffer {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  for (let index = 0; index < headers.length; index += 2) text += `${headers[index]}: ${headers[index + 1]}\r\n`
  return Buffer.from(`${text}date: ${new Date().toUTCString()}\r\n\r\n`, 'latin1')
}

/** Writes the last bytes and closes, reading on for a while so that the peer gets to read them. */
export function endSocket(socket: Duplex, bytes?: Buffer): void {
  const timer = setTimeout(() => socket.destroy(), lingerTime)
  socket.once('close', () => clearTimeout(timer))
  socket.end(bytes)
  socket.resume()
}

function plainHeaders(status: number, body: string | Uint8Array): string[] {
  // RFC 9110 10.2.3: in seconds.
  const later = status === 503 ? ['retry-after', '1'] : []
  return ['content-type', 'text/plain; charset=utf-8', 'content-length', String(Buffer.byteLength(body)), ...later]
}

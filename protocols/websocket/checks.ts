/** What an application may say on a WebSocket, checked before any of it is on the wire. */
import { isUint8Array } from 'node:util/types'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { flatHeaders } from '../../src/runtime/http-message.ts'
import type { WebsocketAccept, WebsocketClose, WebsocketScope, WebsocketSend } from './scope.ts'

/** What the handshake itself says; an application's word on them would contradict it. */
const handshakeHeader = /^(?:sec-websocket-.*|connection|upgrade|content-length|transfer-encoding)$/i

/**
 * The headers to accept with, name and value in turn.
 * @throws SignalboxError `unexpected_event` for a subprotocol that was not offered, or a header that cannot be sent.
 */
export function acceptHeaders({ subprotocol, headers = [] }: WebsocketAccept, scope: WebsocketScope): string[] {
  if (subprotocol !== undefined && !scope.subprotocols.includes(subprotocol)) {
    const offered = scope.subprotocols.length === 0 ? 'no subprotocol' : `one of ${scope.subprotocols.join(', ')}`
    throw unexpected(scope, `expected ${offered}, as the client offers, found ${JSON.stringify(subprotocol)}`)
  }
  const flat = flatHeaders(headers, scope)
  for (const [index, text] of flat.entries()) {
    if (index % 2 === 0 && handshakeHeader.test(text)) throw unexpected(scope, `the header ${text} is the handshake's own`)
    // The package writes its head as UTF-8.
    if (!/^[\t\x20-\x7e]*$/.test(text)) throw unexpected(scope, `expected ASCII in a header, found ${JSON.stringify(text)}`)
  }
  return flat
}

/** @throws SignalboxError `unexpected_event` unless there is exactly one of text and bytes. */
export function messageData({ text, bytes }: WebsocketSend, scope: WebsocketScope): string | Uint8Array {
  if (typeof text === 'string' && bytes === undefined) return text
  if (text === undefined && isUint8Array(bytes)) return bytes
  throw unexpected(scope, 'expected exactly one of text (a string) and bytes (a Uint8Array) in websocket.send')
}

/** @throws SignalboxError `unexpected_event` for a code or a reason that no close frame may have (RFC 6455 7.4). */
export function checkClose({ code = 1000, reason = '' }: WebsocketClose, scope: WebsocketScope): [code: number, reason: string] {
  const registered = code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006
  if (!Number.isInteger(code) || !(registered || (code >= 3000 && code <= 4999))) {
    throw unexpected(scope, `expected a close code of 1000 to 1014 (not 1004, 1005, 1006) or 3000 to 4999, found ${String(code)}`)
  }
  // RFC 6455 5.5: a control frame holds 125 bytes, and two of them are the code.
  if (typeof reason !== 'string' || Buffer.byteLength(reason) > 123) {
    throw unexpected(scope, 'expected a close reason of at most 123 bytes')
  }
  return [code, reason]
}

export function unexpected(scope: WebsocketScope, message: string): SignalboxError {
  return new SignalboxError('unexpected_event', `websocket scope ${scope.id}: ${message}`)
}

/** What an application may say next on a WebSocket, and in which words, checked before any of it is on the wire. */
import { isUint8Array } from 'node:util/types'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { flatHeaders } from '../../src/runtime/http-headers.ts'
import type {
  WebsocketAccept,
  WebsocketClose,
  WebsocketHttpResponseBody,
  WebsocketHttpResponseStart,
  WebsocketScope,
  WebsocketSend,
} from './scope.ts'

/** `connecting`: it has not answered the handshake. `refusing`: it answers with a response. `closed`: it has said the last thing. */
export type State = 'connecting' | 'refusing' | 'open' | 'closed'

const expected: Readonly<Record<State, string>> = {
  connecting: 'websocket.accept, websocket.close or websocket.http.response.start',
  refusing: 'websocket.http.response.body',
  open: 'websocket.send or websocket.close',
  closed: 'nothing more: it has closed',
}

/** What the handshake itself says; an application's word on them would contradict it. */
const handshakeHeader = /^(?:sec-websocket-.*|connection|upgrade|content-length|transfer-encoding)$/i
/** How a response is framed is the server's to say. */
const framingHeader = /^(?:content-length|transfer-encoding|connection)$/i
const ascii = /^[\t\x20-\x7e]*$/

/** What is known of an application that speaks: the rules look at its state, and change it. */
export interface Speaking {
  state: State
  readonly scope: WebsocketScope
}

/** The headers to accept with, name and value in turn. */
export function accept(speaking: Speaking, event: WebsocketAccept): string[] {
  expect('connecting', speaking, event)
  const { subprotocol, headers = [] } = event
  const { scope } = speaking
  const { subprotocols } = scope
  if (subprotocol !== undefined && !subprotocols.includes(subprotocol)) {
    const offered = subprotocols.length === 0 ? 'no subprotocol' : `one of ${subprotocols.join(', ')}`
    throw wrong(scope, `expected ${offered}, as the client offers, found ${JSON.stringify(subprotocol)}`)
  }
  const flat = flatHeaders(headers, scope)
  for (const [index, text] of flat.entries()) {
    if (index % 2 === 0 && handshakeHeader.test(text)) throw wrong(scope, `the header ${text} is the handshake's own`)
    // The package writes its head as UTF-8.
    if (!ascii.test(text)) throw wrong(scope, `expected ASCII in a header, found ${JSON.stringify(text)}`)
  }
  speaking.state = 'open'
  return flat
}

export function message(speaking: Speaking, event: WebsocketSend): string | Uint8Array {
  expect('open', speaking, event)
  const { text, bytes } = event
  if (typeof text === 'string' && bytes === undefined) return text
  if (text === undefined && isUint8Array(bytes)) return bytes
  throw wrong(speaking.scope, 'expected exactly one of text (a string) and bytes (a Uint8Array) in websocket.send')
}

/** RFC 6455 7.4: which codes a close frame may have. */
export function close(speaking: Speaking, event: WebsocketClose): readonly [code: number, reason: string] {
  if (speaking.state !== 'connecting') expect('open', speaking, event)
  const { scope } = speaking
  const { code = 1000, reason = '' } = event
  const registered = code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006
  if (!Number.isInteger(code) || !(registered || (code >= 3000 && code <= 4999))) {
    throw wrong(
      scope,
      `expected a close code of 1000 to 1014 (not 1004, 1005, 1006) or 3000 to 4999, found ${String(code)}`,
    )
  }
  // RFC 6455 5.5: a control frame holds 125 bytes, and two of them are the code.
  if (typeof reason !== 'string' || Buffer.byteLength(reason) > 123) {
    throw wrong(scope, 'expected a close reason of at most 123 bytes')
  }
  speaking.state = 'closed'
  return [code, reason]
}

/** The headers to refuse with, name and value in turn. */
export function refuse(speaking: Speaking, event: WebsocketHttpResponseStart): string[] {
  expect('connecting', speaking, event)
  const { scope } = speaking
  const { status, headers = [] } = event
  if (!Number.isInteger(status) || status < 300 || status > 599) {
    throw wrong(scope, `expected a status from 300 to 599 to refuse with, found ${String(status)}`)
  }
  const flat = withoutFraming(flatHeaders(headers, scope))
  speaking.state = 'refusing'
  return flat
}

export function refusalPart(speaking: Speaking, event: WebsocketHttpResponseBody): string | Uint8Array {
  expect('refusing', speaking, event)
  const { body = '', moreBody = false } = event
  if (typeof body !== 'string' && !isUint8Array(body))
    throw wrong(speaking.scope, `expected a body of bytes or text, found ${typeof body}`)
  if (!moreBody) speaking.state = 'closed'
  return body
}

export function unexpected({ state, scope }: Speaking, event: { readonly type: unknown }): SignalboxError {
  return wrong(scope, `expected ${expected[state]}, found ${String(event.type)}`)
}

function expect(state: State, speaking: Speaking, event: { readonly type: unknown }): void {
  if (speaking.state !== state) throw unexpected(speaking, event)
}

function wrong(scope: WebsocketScope, message: string): SignalboxError {
  return new SignalboxError('unexpected_event', `websocket scope ${scope.id}: ${message}`)
}

function withoutFraming(flat: readonly string[]): string[] {
  const kept: string[] = []
  for (let index = 0; index < flat.length; index += 2) {
    const name = flat[index] as string // names and values come in pairs
    if (!framingHeader.test(name)) kept.push(name, flat[index + 1] as string)
  }
  return kept
}

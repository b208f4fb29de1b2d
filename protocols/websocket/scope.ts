/** WebSocket as scope and events: the ASGI 3 WebSocket protocol, field for field, in camelCase. */
import type { BaseScope, Protocol } from '../../src/asgi/protocol.ts'

/** Header names lower-case; order and repeats as on the wire. */
type Headers = readonly (readonly [name: string, value: string])[]

/** One socket, from its handshake to its close. */
export interface WebsocketScope extends BaseScope {
  readonly type: 'websocket'
  readonly httpVersion: string
  readonly scheme: 'ws' | 'wss'
  /** Percent-decoded, UTF-8, without the query; with `rootPath`. */
  readonly path: string
  /** As on the wire, without the query. */
  readonly rawPath: string
  /** As on the wire, without the `?`. */
  readonly queryString: string
  /** The prefix under which a proxy mounts the gateway, from the YAML; the outermost router strips it. */
  readonly rootPath: string
  /** What the routers on the way have left of the path; undefined before the first. */
  readonly pathRemaining?: string
  readonly headers: Headers
  /** What the client offers in Sec-WebSocket-Protocol, in its order. */
  readonly subprotocols: readonly string[]
}

/** The handshake waits for the application's answer: accept, close (403) or a response of its own. */
export interface WebsocketConnect {
  readonly type: 'websocket.connect'
}
/** One message: exactly one of `text` and `bytes`. */
export interface WebsocketReceive {
  readonly type: 'websocket.receive'
  readonly text?: string
  readonly bytes?: Uint8Array
}
/** The socket is closed. 1005: no code came; 1006: it broke (RFC 6455 7.1.5). */
export interface WebsocketDisconnect {
  readonly type: 'websocket.disconnect'
  readonly code: number
  readonly reason: string
}
export interface WebsocketAccept {
  readonly type: 'websocket.accept'
  /** One of `scope.subprotocols`. */
  readonly subprotocol?: string
  readonly headers?: Headers
}
/** One message: exactly one of `text` and `bytes`. */
export interface WebsocketSend {
  readonly type: 'websocket.send'
  readonly text?: string
  readonly bytes?: Uint8Array
}
/** Before accept: refuses the handshake with 403. After: closes with this code (1000 if left out). */
export interface WebsocketClose {
  readonly type: 'websocket.close'
  readonly code?: number
  readonly reason?: string
}
/** Before accept only: refuses the handshake with a response of the application's own. */
export interface WebsocketHttpResponseStart {
  readonly type: 'websocket.http.response.start'
  readonly status: number
  readonly headers?: Headers
}
export interface WebsocketHttpResponseBody {
  readonly type: 'websocket.http.response.body'
  readonly body?: Uint8Array | string
  readonly moreBody?: boolean
}

export interface WebsocketProtocol extends Protocol {
  readonly scope: WebsocketScope
  readonly receive: WebsocketConnect | WebsocketReceive | WebsocketDisconnect
  readonly send:
    | WebsocketAccept
    | WebsocketSend
    | WebsocketClose
    | WebsocketHttpResponseStart
    | WebsocketHttpResponseBody
}

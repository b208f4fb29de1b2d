/** MQTT over WebSocket, section 6: the handshake on the shared HTTP listener, and then a stream like any other. */
import { createWebSocketStream, WebSocketServer } from 'ws'
import type { Duplex } from 'node:stream'
import type { IncomingMessage } from 'node:http'
import type { HttpHost } from '../../src/asgi/adapter.ts'
import { endUpgrade } from '../../src/runtime/http-answer.ts'
import type { Peers } from './session.ts'

export interface WebsocketOptions {
  readonly path: string
  /** Web pages of these origins may connect, beside those that the listener itself serves. */
  readonly origins: readonly string[]
  readonly maxPacketSize: number
}

/** The names of MQTT 3.1.1 and 3.1 as subprotocols [MQTT-6.0.0-4]. */
const subprotocols = ['mqtt', 'mqttv3.1']

/** Hands each connection to `accept`; `isOpen` says whether the broker still takes any. */
export function listenForWebsockets(
  host: HttpHost,
  { path, origins, maxPacketSize }: WebsocketOptions,
  broker: { isOpen(): boolean; accept(source: Duplex, peers: Peers): void },
): void {
  const allowed = new Set(origins.map((origin) => new URL(origin).origin))
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    // A packet may come in several messages, and a message may have several packets [MQTT-6.0.0-2].
    maxPayload: Math.max(2 * maxPacketSize, 64 * 1024),
    handleProtocols: (offered) => subprotocols.find((name) => offered.has(name)) ?? false,
  })
  server.on('wsClientError', (_error, socket) => endUpgrade(socket, 400))
  host.onUpgrade(path, (request, socket, head) => {
    const refused = refusal(request, allowed, broker.isOpen())
    if (refused) return endUpgrade(socket, refused)
    server.handleUpgrade(request, socket, head, (websocket) => {
      // [MQTT-6.0.0-1]
      websocket.on('message', (_data, isBinary) => {
        if (!isBinary) websocket.close(1003)
      })
      broker.accept(createWebSocketStream(websocket), peersOf(request))
    })
  })
}

/** The status to refuse the handshake with; undefined: it may go on. */
function refusal(request: IncomingMessage, allowed: ReadonlySet<string>, open: boolean): number | undefined {
  if (!open) return 503
  const { origin, host } = request.headers
  // A page of any site can make a browser connect here; it cannot hide whose page it is.
  if (origin !== undefined && !allowed.has(origin) && !isSame(origin, host)) return 403
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  return offered.some((name) => subprotocols.includes(name)) ? undefined : 400 // [MQTT-6.0.0-3]
}

function isSame(origin: string, host: string | undefined): boolean {
  return host !== undefined && URL.canParse(origin) && new URL(origin).host === host
}

function peersOf({ socket }: IncomingMessage): Peers {
  const { remoteAddress, remotePort, localAddress, localPort } = socket
  return { client: [remoteAddress ?? '', remotePort ?? 0], server: [localAddress ?? '', localPort ?? 0] }
}

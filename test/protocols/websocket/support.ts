/** A WebSocket listener on a free port around one application, and a client that collects what comes. */
import { once } from 'node:events'
import { WebSocket, type ClientOptions } from 'ws'
import type { Listener } from '../../../src/asgi/adapter.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { Mailbox } from '../../../src/runtime/mailbox.ts'
import { adapter } from '../../../protocols/websocket/adapter.ts'
import { websocketOptions } from '../../../protocols/websocket/options.ts'
import type { WebsocketProtocol } from '../../../protocols/websocket/scope.ts'
import { createServices, type ServicesOptions, type TestServices } from '../../support/services.ts'

export type WebsocketApplication = Application<WebsocketProtocol>

export interface WebsocketServerUnderTest extends AsyncDisposable {
  readonly url: string
  readonly listener: Listener
  readonly test: TestServices<WebsocketProtocol>
}

export async function serveWebsocket(
  application: WebsocketApplication,
  options: Readonly<Record<string, unknown>> = {},
  services: ServicesOptions = {},
): Promise<WebsocketServerUnderTest> {
  const test = createServices(application, services)
  const listener = await adapter.start(websocketOptions.parse(options), test.services)
  await test.listen()
  return { url: listener.urls[0] ?? '', listener, test, [Symbol.asyncDispose]: () => test.close(listener) }
}

/** Accepts, and sends every message back until the peer leaves. */
export const echo: WebsocketApplication = async (_scope, receive, send) => {
  for (;;) {
    const event = await receive()
    if (event.type === 'websocket.disconnect') return
    if (event.type === 'websocket.connect') await send({ type: 'websocket.accept' })
    else await send({ ...event, type: 'websocket.send' })
  }
}

/** Accepts, and tells of its end. */
export function observed() {
  const ended = Promise.withResolvers<unknown>()
  const application: WebsocketApplication = async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    for (;;) {
      const event = await receive()
      if (event.type === 'websocket.disconnect') return ended.resolve(event)
    }
  }
  return { application, ended: ended.promise }
}

/** Opens a socket, for a client that says each byte itself. */
export const handshake = [
  'GET / HTTP/1.1',
  'Host: example.org',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n')

/** What the application hears at the end. */
export const disconnect = (code: number, text = '') => ({ type: 'websocket.disconnect', code, reason: text })

export interface Close {
  readonly code: number
  readonly reason: string
}

/** A client of the `ws` package whose messages can be awaited one by one. */
export class Client {
  readonly ws: WebSocket
  /** How it was closed. */
  readonly closed: Promise<Close>
  readonly #messages = new Mailbox<string | Buffer>()

  static async connect(url: string, options: ClientOptions & { readonly protocols?: string[] } = {}): Promise<Client> {
    const client = new Client(new WebSocket(url, options.protocols ?? [], options))
    await once(client.ws, 'open')
    return client
  }

  constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', (data, isBinary) => this.#messages.put(isBinary ? (data as Buffer) : String(data)))
    ws.on('error', () => undefined)
    this.closed = new Promise((resolve) =>
      ws.once('close', (code, reason) => resolve({ code, reason: String(reason) })),
    )
  }

  next(): Promise<string | Buffer> {
    return this.#messages.take()
  }
}

/** What a handshake that is not accepted is answered with. */
export async function refused(url: string, options: ClientOptions & { readonly protocols?: string[] } = {}) {
  const ws = new WebSocket(url, options.protocols ?? [], options)
  ws.on('error', () => undefined)
  const [, response] = await once(ws, 'unexpected-response')
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part)
  ws.terminate()
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() }
}

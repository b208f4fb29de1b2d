/** Refuses an HTTP request or a WebSocket handshake before the application sees it. */
import type { Event, Protocol, Receive, Send } from '../asgi/protocol.ts'

/** HTTP: this status with the sentence as plain text. WebSocket: the handshake is refused with 403. */
export async function refuse(
  type: string,
  status: number,
  why: string,
  wire: { receive: Receive<Protocol>; send: Send<Protocol> },
): Promise<void> {
  if (type === 'websocket') {
    await wire.receive()
    return wire.send({ type: 'websocket.close' })
  }
  const body = `${why}\n`
  const headers = [
    ['content-type', 'text/plain; charset=utf-8'],
    ['content-length', String(Buffer.byteLength(body))],
  ]
  const start: Event & { status: number; headers: string[][] } = { type: 'http.response.start', status, headers }
  await wire.send(start)
  const end: Event & { body: string } = { type: 'http.response.body', body }
  await wire.send(end)
}

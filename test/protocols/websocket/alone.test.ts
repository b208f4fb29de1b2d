/** A conversation over a real socket: the application hears, and the peer is answered, as by the `ws` package alone. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { WebSocketServer } from 'ws'
import { RawClient } from '../../support/raw-client.ts'
import { bytesOf, cut, frames } from './frames.ts'
import { handshake, serveWebsocket, type WebsocketApplication } from './support.ts'

const maxPayload = 3000
const deflating = handshake.replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n')

interface Heard {
  /** Messages, in order. */
  readonly events: readonly string[]
  /** The code that the application is told at the end. */
  readonly code: number
}

/** Where those who hear put what they have heard. */
class Ear {
  #events: string[] = []
  #heard = Promise.withResolvers<Heard>()

  message(data: string | Uint8Array): void {
    this.#events.push(typeof data === 'string' ? `text ${data}` : `bytes ${Buffer.from(data).toString('latin1')}`)
  }

  closed(code: number): void {
    this.#heard.resolve({ events: this.#events, code })
    this.#events = []
    this.#heard = Promise.withResolvers()
  }

  get heard(): Promise<Heard> {
    return this.#heard.promise
  }
}

/** The package alone, with the options of the listener. */
async function servePackage(ear: Ear): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer()
  const sockets = new WebSocketServer({ server, maxPayload, perMessageDeflate: true })
  sockets.on('connection', (socket) => {
    socket.on('message', (data: Buffer, isBinary) => ear.message(isBinary ? data : data.toString()))
    socket.on('error', () => undefined)
    socket.on('close', (code) => ear.closed(code))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

interface Said {
  readonly hello: string
  readonly chunks: readonly Buffer[]
}

/** What the server answers behind the handshake, until it has closed the connection. */
async function talk(url: string, { hello, chunks }: Said): Promise<string> {
  const client = await RawClient.connect(url)
  client.socket.setNoDelay()
  client.send(hello)
  const head = await client.until(/\r\n\r\n/)
  for (const chunk of chunks) {
    client.send(chunk)
    // So that most of them are read one by one.
    await new Promise(setImmediate)
  }
  return (await client.closed).slice(head.length)
}

/** The package tells the application 1006 of what it has closed itself. */
function codeOf(answer: string, code: number): number {
  if (code !== 1006) return code
  const at = answer.lastIndexOf('\x88\x02')
  return at === -1 ? code : Buffer.from(answer.slice(at + 2), 'latin1').readUInt16BE()
}

const bye = bytesOf({ first: 0x88, payload: Uint8Array.of(0x0f, 0xa1, 0x6f), mask: Uint8Array.of(1, 2, 3, 4), wide: 0 })

test('whatever a peer sends, in whatever pieces, is heard and answered as by the package alone', async () => {
  const [ours, alone] = [new Ear(), new Ear()]
  const application: WebsocketApplication = async (_scope, receive, send) => {
    for (;;) {
      const event = await receive()
      if (event.type === 'websocket.connect') await send({ type: 'websocket.accept' })
      else if (event.type === 'websocket.disconnect') return ours.closed(event.code)
      else ours.message(event.text ?? event.bytes ?? '')
    }
  }
  await using server = await serveWebsocket(application, { maxMessageSize: `${maxPayload}B`, compression: true })
  const bare = await servePackage(alone)
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(handshake, deflating),
        frames,
        fc.array(fc.nat(), { maxLength: 6 }),
        async (hello, sent, cuts) => {
          const said = { hello, chunks: cut(Buffer.concat([...sent.map(bytesOf), bye]), cuts) }
          const [own, other] = [ours.heard, alone.heard]
          const answers = await Promise.all([talk(server.url, said), talk(bare.url, said)])
          expect(answers[0]).toBe(answers[1])
          const { events, code } = await other
          expect(await own).toEqual({ events, code: codeOf(answers[1], code) })
        },
      ),
      { numRuns: 300 },
    )
  } finally {
    bare.server.close()
  }
})

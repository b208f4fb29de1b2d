/** What leaves at the end of a turn of the event loop: answers to handshakes and to closes, and what is said in between. */
import { once, type EventEmitter } from 'node:events'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { expect, test } from '@jest/globals'
import { RawClient } from '../../support/raw-client.ts'
import { disconnect, echo, handshake, observed, serveWebsocket } from './support.ts'

/** A client's frame, with a mask of zeros. */
function frame(opcode: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}

/** How often the streams of a server's sockets hand on what was written to them. */
function countWrites(server: EventEmitter): { readonly count: number } {
  const writes = { count: 0 }
  server.on('connection', (socket: Duplex) => {
    for (const name of ['_write', '_writev'] as const) {
      const write = Reflect.get(socket, name) as (...given: unknown[]) => void // a socket has both
      Reflect.set(socket, name, (...given: unknown[]) => {
        writes.count++
        return Reflect.apply(write, socket, given)
      })
    }
  })
  return writes
}

const bye = frame(8, Buffer.from([0x0f, 0xa1, ...Buffer.from('bye')])) // 4001
const byeAnswered = Buffer.from([0x88, 5, 0x0f, 0xa1, ...Buffer.from('bye')]).toString('latin1')

test('the answer to a handshake and what is said right behind it leave in one piece', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await send({ type: 'websocket.send', text: 'welcome' })
    await receive()
  })
  const writes = countWrites(server.test.services.httpHost().server)
  const client = await RawClient.connect(server.url)
  client.send(handshake)
  expect(await client.until(/welcome$/)).toMatch(/^HTTP\/1\.1 101 /)
  expect(writes.count).toBe(1)
  client.end()
})

test('a first message over sendBuffer, said in the turn of the accept, is not taken for one too many', async () => {
  const text = `${'x'.repeat(300_000)}!`
  await using server = await serveWebsocket(
    async (_scope, receive, send) => {
      await receive()
      await send({ type: 'websocket.accept' })
      await send({ type: 'websocket.send', text })
      await receive()
    },
    { sendBuffer: '64KiB' },
  )
  const client = await RawClient.connect(server.url)
  client.send(handshake)
  expect((await client.until(/!$/)).endsWith(text)).toBe(true)
  client.end()
})

test('a close is answered with the same code and reason, behind what was said before it, and the connection is closed', async () => {
  const { application, ended } = observed()
  await using server = await serveWebsocket(application)
  const { hostname, port } = new URL(server.url)
  // It does not end its side by itself: the gateway waits for nothing more.
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true }).setEncoding('latin1')
  let text = ''
  socket.on('data', (chunk: string) => (text += chunk))
  socket.write(handshake)
  await once(socket, 'data')
  socket.write(bye)
  await once(socket, 'end')
  expect(text.endsWith(`\r\n\r\n${byeAnswered}`)).toBe(true)
  expect(await ended).toEqual(disconnect(4001, 'bye'))
  expect(server.listener.connections).toBe(0)
  expect(socket.writableEnded).toBe(false)
  socket.destroy()
})

test('a peer that says everything in one go, to its close and its end, gets every answer', async () => {
  await using server = await serveWebsocket(echo)
  const client = await RawClient.connect(server.url)
  client.socket.end(Buffer.concat([Buffer.from(handshake), frame(1, Buffer.from('hello')), bye]))
  const text = await client.closed
  expect(text).toMatch(/^HTTP\/1\.1 101 /)
  expect(text.endsWith(byeAnswered)).toBe(true)
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

test('a client that asks and leaves at once is noticed, though nobody answers it', async () => {
  const left = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(async (_scope, receive) => {
    await receive()
    left.resolve(await receive())
  })
  const client = await RawClient.connect(server.url)
  client.socket.end(handshake)
  expect(await left.promise).toEqual(disconnect(1006))
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

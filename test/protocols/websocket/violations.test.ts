/** What an application or a peer may not do: closed with the code that says so, and both are told. */
import { expect, test } from '@jest/globals'
import type { WebsocketProtocol } from '../../../protocols/websocket/scope.ts'
import { hasCode, reason } from '../../../src/runtime/errors.ts'
import { Client, disconnect, observed, serveWebsocket } from './support.ts'

const wrong = (event: object) => event as WebsocketProtocol['send']
test.each<readonly [string, readonly object[], RegExp]>([
  [
    'a second accept',
    [{ type: 'websocket.accept' }],
    /expected websocket\.send or websocket\.close, found websocket\.accept/,
  ],
  ['a refusal', [{ type: 'websocket.http.response.start', status: 403 }], /found websocket\.http\.response\.start/],
  ['neither text nor bytes', [{ type: 'websocket.send' }], /exactly one of text .* and bytes/],
  ['text and bytes', [{ type: 'websocket.send', text: 'x', bytes: new Uint8Array(1) }], /exactly one of text/],
  ['text that is none', [{ type: 'websocket.send', text: 7 }], /exactly one of text/],
  ['a code that may not be sent', [{ type: 'websocket.close', code: 1005 }], /expected a close code .* found 1005/],
  ['a code out of range', [{ type: 'websocket.close', code: 2000 }], /found 2000/],
  ['a code that is no integer', [{ type: 'websocket.close', code: 1000.5 }], /found 1000\.5/],
  ['a reason that is too long', [{ type: 'websocket.close', reason: 'é'.repeat(62) }], /at most 123 bytes/],
  [
    'a message after its own close',
    [
      { type: 'websocket.close', code: 1011 },
      { type: 'websocket.send', text: 'x' },
    ],
    /expected nothing more: it has closed, found websocket\.send/,
  ],
])('%s is an error to the application, and closes with 1011', async (_name, events, expected) => {
  let thrown: unknown
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    try {
      for (const event of events) await send(wrong(event))
    } catch (error) {
      thrown = error
      throw error
    }
  })
  const client = await Client.connect(server.url)
  expect((await client.closed).code).toBe(1011)
  expect(reason(thrown)).toMatch(expected)
  expect(hasCode(thrown, 'unexpected_event')).toBe(true)
})

test('a message over maxMessageSize: close 1009', async () => {
  const { application, ended } = observed()
  await using server = await serveWebsocket(application, { maxMessageSize: '1KiB' })
  const client = await Client.connect(server.url)
  client.ws.send('x'.repeat(1025))
  expect((await client.closed).code).toBe(1009)
  expect(await ended).toMatchObject({ code: 1009, reason: 'Max payload size exceeded' })
})

test('a fragmented message over maxMessageSize: close 1009', async () => {
  const { application, ended } = observed()
  await using server = await serveWebsocket(application, { maxMessageSize: '1KiB' })
  const client = await Client.connect(server.url)
  for (let part = 0; part < 20; part++) client.ws.send('x'.repeat(100), { fin: false })
  expect((await client.closed).code).toBe(1009)
  expect(await ended).toMatchObject({ code: 1009 })
})

test.each([
  ['text that is no UTF-8', [0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], 1007],
  ['a frame without a mask', [0x81, 0x01, 0x61], 1002],
  ['a reserved bit', [0xf1, 0x81, 0, 0, 0, 0, 0x61], 1002],
  ['an opcode that does not exist', [0x83, 0x81, 0, 0, 0, 0, 0x61], 1002],
  ['a continuation of nothing', [0x80, 0x81, 0, 0, 0, 0, 0x61], 1002],
  ['a fragmented ping', [0x09, 0x80, 0, 0, 0, 0], 1002],
  ['a ping that is too long', [0x89, 0xfe, 0x01, 0x00, 0, 0, 0, 0], 1002],
  ['a close code that may not be sent', [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed], 1002],
])('%s: closed with the code that says so, and the application is told', async (_name, frame, code) => {
  const { application, ended } = observed()
  await using server = await serveWebsocket(application)
  const client = await Client.connect(server.url)
  ;(client.ws as unknown as { readonly _socket: import('node:net').Socket })._socket.write(Uint8Array.from(frame))
  expect((await client.closed).code).toBe(code)
  expect(await ended).toMatchObject({ type: 'websocket.disconnect', code })
  await server.test.idle()
})

test('compressed bytes that are none: close 1007, and the application is told', async () => {
  const { application, ended } = observed()
  await using server = await serveWebsocket(application, { compression: true })
  const client = await Client.connect(server.url)
  const bytes = Uint8Array.of(0xc1, 0x82, 0, 0, 0, 0, 0xff, 0xff)
  ;(client.ws as unknown as { readonly _socket: import('node:net').Socket })._socket.write(bytes)
  expect((await client.closed).code).toBe(1007)
  expect(await ended).toEqual(disconnect(1007, 'invalid block type'))
})

test('a peer that does not read: 1013 when more than sendBuffer waits for it', async () => {
  const ended = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(
    async (_scope, receive, send) => {
      await receive()
      await send({ type: 'websocket.accept' })
      // As a group does that everybody talks in: nobody waits for this one.
      for (let number = 0; number < 100; number++)
        void send({ type: 'websocket.send', bytes: new Uint8Array(1024 * 1024) })
      ended.resolve(await receive())
    },
    { sendBuffer: '2MiB' },
  )
  const client = await Client.connect(server.url)
  client.ws.pause()
  while (server.listener.connections > 0 && client.ws.readyState === client.ws.OPEN) {
    client.ws.resume()
    await new Promise(setImmediate)
  }
  expect((await client.closed).code).toBe(1013)
  expect(await ended.promise).toMatchObject(disconnect(1013, 'the peer does not read'))
})

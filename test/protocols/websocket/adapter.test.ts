/** WebSocket from the wire to the application and back. */
import type { Socket } from 'node:net'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { WebSocket } from 'ws'
import type { WebsocketScope } from '../../../protocols/websocket/scope.ts'
import { RawClient } from '../../support/raw-client.ts'
import { Client, echo, serveWebsocket } from './support.ts'

test('text and bytes go to the application and come back', async () => {
  await using server = await serveWebsocket(echo)
  const client = await Client.connect(server.url)
  client.ws.send('héllo')
  expect(await client.next()).toBe('héllo')
  client.ws.send(new Uint8Array([0, 255, 7]))
  expect(await client.next()).toEqual(Buffer.from([0, 255, 7]))
  client.ws.close(4001, 'bye')
  expect(await client.closed).toEqual({ code: 4001, reason: 'bye' })
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

test('an upgrade becomes a scope of plain data with everything that its request says', async () => {
  const scopes: WebsocketScope[] = []
  await using server = await serveWebsocket(
    async (scope, receive, send, context) => {
      scopes.push(scope)
      await echo(scope, receive, send, context)
    },
    { rootPath: '/gateway' },
  )
  const client = await Client.connect(`${server.url}/chat/caf%C3%A9?name=ann`, {
    protocols: ['v2.chat', 'v1.chat'],
    headers: { 'X-Two': ['1', '2'] } as never, // the package's types know one value a name
  }).catch(() => undefined)
  expect(client).toBeUndefined()
  const [scope] = scopes
  expect(structuredClone(scope)).toEqual(scope)
  expect(scope).toMatchObject({
    type: 'websocket',
    httpVersion: '1.1',
    scheme: 'ws',
    path: '/gateway/chat/café',
    rawPath: '/chat/caf%C3%A9',
    queryString: 'name=ann',
    rootPath: '/gateway',
    subprotocols: ['v2.chat', 'v1.chat'],
    client: ['127.0.0.1', expect.any(Number)],
    server: ['127.0.0.1', Number(new URL(server.url).port)],
  })
  expect(scope?.headers.filter(([name]) => name === 'x-two')).toEqual([
    ['x-two', '1'],
    ['x-two', '2'],
  ])
})

test('what a handshake says as the one before did is kept once, and no application can change it for another', async () => {
  const scopes: WebsocketScope[] = []
  await using server = await serveWebsocket(async (scope, receive, send, context) => {
    scopes.push(scope)
    await echo(scope, receive, send, context)
  })
  for (const two of ['first', 'second']) {
    // The second is to find the headers of the first.
    await Client.connect(server.url, { headers: { 'X-One': 'alike', 'X-Two': two } })
  }
  const header = (index: number, wanted: string) => scopes[index]?.headers.find(([name]) => name === wanted)
  expect(header(1, 'x-one')).toEqual(['x-one', 'alike'])
  expect(header(1, 'x-one')).toBe(header(0, 'x-one'))
  expect([header(0, 'x-two'), header(1, 'x-two')]).toEqual([
    ['x-two', 'first'],
    ['x-two', 'second'],
  ])
  expect(() => Reflect.apply(Array.prototype.fill, header(1, 'x-one'), ['changed'])).toThrow(TypeError)
  expect(() => Reflect.apply(Array.prototype.fill, header(1, 'x-two'), ['changed'])).toThrow(TypeError)
})

test('the application accepts with a subprotocol and headers of its own', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({
      type: 'websocket.accept',
      subprotocol: 'v1.chat',
      headers: [
        ['x-room', 'kitchen'],
        ['set-cookie', 'a=1'],
      ],
    })
    await receive()
  })
  const client = new Client(new WebSocket(server.url, ['v2.chat', 'v1.chat']))
  const headers = await new Promise<Record<string, unknown>>((resolve) =>
    client.ws.once('upgrade', (response) => resolve(response.headers)),
  )
  expect(headers).toMatchObject({ 'x-room': 'kitchen', 'set-cookie': ['a=1'], 'sec-websocket-protocol': 'v1.chat' })
  expect(client.ws.protocol).toBe('v1.chat')
  client.ws.terminate()
})

test('messages keep their order and their boundaries, whatever the chunks and the fragments they came in', async () => {
  await using server = await serveWebsocket(echo)
  const message = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.constantFrom(125, 126, 65_535, 65_536).map((size) => new Uint8Array(size).fill(7)),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { minLength: 1, maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 4 }),
      async (messages, cuts, fragments) => {
        const client = await Client.connect(server.url)
        const bytes = Buffer.concat(messages.flatMap((data) => frames(data, fragments)))
        const raw = rawSocket(client)
        const scale = Math.ceil(bytes.length / 5000)
        for (let at = 0, index = 0; at < bytes.length; index++) {
          const size = (cuts[index % cuts.length] ?? 1) * scale
          raw.write(bytes.subarray(at, at + size))
          at += size
          if (index % 7 === 0) await new Promise(setImmediate)
        }
        for (const data of messages) {
          const got = await client.next()
          expect(typeof got).toBe(typeof data === 'string' ? 'string' : 'object')
          expect(Buffer.from(data).equals(Buffer.from(got))).toBe(true)
        }
        client.ws.terminate()
      },
    ),
    { numRuns: 30 },
  )
})

/** Where the test's own client reads and writes: frames as they are. */
function rawSocket(client: Client): Socket {
  return (client.ws as unknown as { readonly _socket: Socket })._socket
}

/** The frames of a client, masked with zeros, so that the payload is readable as it is. */
function frames(data: string | Uint8Array, fragments: number): Buffer[] {
  const payload = Buffer.from(data)
  const step = Math.max(1, Math.ceil(payload.length / fragments))
  const parts: Buffer[] = []
  for (let at = 0; at === 0 || at < payload.length; at += step) {
    const part = payload.subarray(at, at + step)
    const opcode = at > 0 ? 0 : typeof data === 'string' ? 1 : 2
    const final = at + step >= payload.length ? 0x80 : 0
    const length =
      part.length < 126 ? [part.length] : part.length < 65_536 ? [126, part.length >> 8, part.length & 255] : undefined
    const size = length ?? [127, 0, 0, 0, 0, 0, part.length >> 16, (part.length >> 8) & 255, part.length & 255]
    const [first = 0, ...more] = size
    parts.push(Buffer.from([opcode | final, first | 0x80, ...more, 0, 0, 0, 0]), part)
  }
  return parts
}

test('several sends of one turn leave in one write', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await receive()
    for (let number = 0; number < 50; number++) await send({ type: 'websocket.send', text: `message ${number}` })
    await receive()
  })
  const client = await Client.connect(server.url)
  const chunks: number[] = []
  const raw = rawSocket(client)
  raw.prependListener('data', (chunk: Buffer) => chunks.push(chunk.length))
  client.ws.send('go')
  for (let number = 0; number < 50; number++) expect(await client.next()).toBe(`message ${number}`)
  expect(chunks).toHaveLength(1)
  client.ws.terminate()
})

test('send waits while the peer does not read', async () => {
  let sent = 0
  const part = new Uint8Array(64 * 1024)
  await using server = await serveWebsocket(async (_scope, receive, send, { signal }) => {
    await receive()
    await send({ type: 'websocket.accept' })
    for (; !signal.aborted && sent < 2000; sent++) await send({ type: 'websocket.send', bytes: part })
  })
  const client = await Client.connect(server.url)
  client.ws.pause()
  let before = -1
  while (sent !== before) {
    before = sent
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  expect(sent).toBeLessThan(500)
  client.ws.terminate()
  await server.test.idle()
})

test('a peer that sends more than the application reads is not read from, and loses nothing', async () => {
  const go = Promise.withResolvers<void>()
  await using server = await serveWebsocket(async (scope, receive, send, context) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await go.promise
    await echo(scope, receive, send, context)
  })
  const client = await Client.connect(server.url)
  const count = 3000
  for (let number = 0; number < count; number++) client.ws.send(`${number} ${'x'.repeat(10_000)}`)
  let before = -1
  while (client.ws.bufferedAmount !== before) {
    before = client.ws.bufferedAmount
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  expect(before).toBeGreaterThan(0)
  go.resolve()
  for (let number = 0; number < count; number++) expect(String(await client.next()).split(' ')[0]).toBe(String(number))
  client.ws.close()
  await client.closed
})

test('a small binary message does not keep the chunk in memory that it came in', async () => {
  const held = Promise.withResolvers<Uint8Array>()
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    const event = await receive()
    if (event.type === 'websocket.receive' && event.bytes) held.resolve(event.bytes)
    await receive()
  })
  const client = await Client.connect(server.url)
  client.ws.send(new Uint8Array([1, 2, 3]))
  const bytes = await held.promise
  expect([...bytes]).toEqual([1, 2, 3])
  expect(bytes.buffer.byteLength).toBe(3)
  client.ws.terminate()
})

test('compression is off unless the options ask for it', async () => {
  await using plain = await serveWebsocket(echo)
  await using compressed = await serveWebsocket(echo, { compression: true })
  const first = await Client.connect(plain.url, { perMessageDeflate: true })
  expect(first.ws.extensions).toBe('')
  const second = await Client.connect(compressed.url, { perMessageDeflate: true })
  expect(second.ws.extensions).toBe('permessage-deflate')
  const text = 'again and '.repeat(1000)
  second.ws.send(text)
  expect(await second.next()).toBe(text)
  first.ws.terminate()
  second.ws.terminate()
})

test('frames that come right behind the handshake are not lost', async () => {
  await using server = await serveWebsocket(echo)
  const client = await RawClient.connect(server.url.replace('ws:', 'http:'))
  const key = 'dGhlIHNhbXBsZSBub25jZQ=='
  const handshake = `GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`
  client.send(Buffer.concat([Buffer.from(handshake), ...frames('early', 1)]))
  const answer = await client.until(/early$/)
  expect(answer).toContain('HTTP/1.1 101')
  expect(answer).toContain('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  client.end()
})

/** Every way in which a handshake can end without a WebSocket. */
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { expect, test } from '@jest/globals'
import { WebSocket } from 'ws'
import { Refusal } from '../../../protocols/websocket/refusal.ts'
import type { WebsocketProtocol } from '../../../protocols/websocket/scope.ts'
import { SignalboxError, hasCode, reason } from '../../../src/runtime/errors.ts'
import { RawClient } from '../../support/raw-client.ts'
import { Client, echo, refused, serveWebsocket, type WebsocketApplication } from './support.ts'

type Sent = WebsocketProtocol['send']

function says(...events: readonly Sent[]): WebsocketApplication {
  return async (_scope, receive, send) => {
    await receive()
    for (const event of events) await send(event)
    await receive()
  }
}

test('an application that closes before it accepts: 403, and it hears websocket.disconnect', async () => {
  const next = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.close', code: 4000 })
    next.resolve(await receive())
  })
  expect(await refused(server.url)).toMatchObject({ status: 403, body: 'Forbidden\n' })
  expect(await next.promise).toEqual({ type: 'websocket.disconnect', code: 1006, reason: '' })
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

test('an application that refuses with a response of its own: that response', async () => {
  await using server = await serveWebsocket(
    says(
      {
        type: 'websocket.http.response.start',
        status: 401,
        headers: [
          ['www-authenticate', 'Bearer'],
          ['content-length', '999'],
        ],
      },
      { type: 'websocket.http.response.body', body: 'who are you?' },
    ),
  )
  const answer = await refused(server.url)
  expect(answer).toMatchObject({ status: 401, body: 'who are you?' })
  expect(answer.headers).toMatchObject({ 'www-authenticate': 'Bearer', 'content-length': '12' })
})

test('a refusal may come in parts', async () => {
  await using server = await serveWebsocket(
    says(
      { type: 'websocket.http.response.start', status: 503, headers: [['retry-after', '5']] },
      { type: 'websocket.http.response.body', body: 'not ', moreBody: true },
      { type: 'websocket.http.response.body', body: new Uint8Array([110, 111, 119]) },
    ),
  )
  const answer = await refused(server.url)
  expect(answer).toMatchObject({ status: 503, body: 'not now' })
  expect(answer.headers).toMatchObject({ 'retry-after': '5', connection: 'close' })
})

test('a refusal of many parts that wait for the peer leaves no listener of theirs behind, and is over when the peer leaves', async () => {
  let isStuck = false
  const write = (_bytes: unknown, _encoding: unknown, done: () => void) => void (isStuck || setImmediate(done))
  const socket = new Duplex({ write, read: () => undefined, writableHighWaterMark: 1 })
  const listeners = () => ['drain', 'close'].map((name) => socket.listenerCount(name))
  const before = listeners()
  const refusal = new Refusal(socket, 401, [])
  for (let part = 0; part < 20; part++) {
    const written = Promise.all([refusal.write('part', true), refusal.write('of it', true)])
    expect(listeners()).toEqual(before.map((count) => count + 1))
    await written
  }
  expect(listeners()).toEqual(before)
  isStuck = true
  const written = refusal.write('unread', true)
  socket.destroy()
  await written
})

test('an application that raises before it accepts: 500 without details', async () => {
  await using server = await serveWebsocket(async () => {
    throw new Error('the password is hunter2')
  })
  expect(await refused(server.url)).toMatchObject({ status: 500, body: 'Internal Server Error\n' })
})

test('an application that has no room for it now: 503, and when to come again', async () => {
  await using server = await serveWebsocket(() => Promise.reject(new SignalboxError('queue_full', 'a secret')))
  const answer = await refused(server.url)
  expect(answer).toMatchObject({ status: 503, body: 'Service Unavailable\n' })
  expect(answer.headers).toMatchObject({ 'retry-after': '1' })
})

test('an application that raises in the middle of its refusal: the connection is cut', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.http.response.start', status: 400 })
    await send({ type: 'websocket.http.response.body', body: 'half', moreBody: true })
    throw new Error('in the middle')
  })
  const client = await RawClient.connect(server.url)
  client.send(handshake())
  expect(await client.closed).toMatch(/^HTTP\/1\.1 400[^]*half$/)
  await server.test.idle()
})

test('an application that returns before it accepts: 403', async () => {
  await using server = await serveWebsocket(async () => undefined)
  expect(await refused(server.url)).toMatchObject({ status: 403 })
})

test('no rule: 403 before the upgrade, counted with its address, and no instance', async () => {
  const application: WebsocketApplication = Object.assign(echo.bind(undefined), { resolve: () => undefined })
  await using server = await serveWebsocket(application)
  expect(await refused(`${server.url}/nowhere?x`)).toMatchObject({ status: 403 })
  expect(server.test.unrouted).toEqual(['/nowhere'])
  expect(server.test.outcomes).toEqual([])
})

test('an application that throws no_route, as a router does: 403, counted', async () => {
  await using server = await serveWebsocket(async () => {
    throw new SignalboxError('no_route', 'URLRouter: no rule takes "x"')
  })
  expect(await refused(`${server.url}/x`)).toMatchObject({ status: 403 })
  expect(server.test.unrouted).toEqual(['/x'])
})

test('an application that does not answer the handshake in time: 503, and its signal aborts', async () => {
  const aborted = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(
    async (_scope, receive, send, { signal }) => {
      signal.addEventListener('abort', () => aborted.resolve(signal.reason))
      await receive()
      await aborted.promise
      await send({ type: 'websocket.accept' })
    },
    { handshakeTimeout: '50ms' },
  )
  expect(await refused(server.url)).toMatchObject({ status: 503 })
  expect(hasCode(await aborted.promise, 'timed_out')).toBe(true)
  await server.test.idle()
})

test.each(['end', 'reset'] as const)('a client that leaves before the answer (%s) is noticed', async (how) => {
  const taken = Promise.withResolvers<void>()
  const next = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    taken.resolve()
    next.resolve(await receive())
    await send({ type: 'websocket.accept' })
  })
  const client = await RawClient.connect(server.url)
  client.send(handshake())
  await taken.promise
  client[how]()
  expect(await next.promise).toEqual({ type: 'websocket.disconnect', code: 1006, reason: '' })
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

function handshake(...changes: readonly (readonly [from: string, to: string])[]): string {
  const request = [
    'GET /chat/ HTTP/1.1',
    'Host: example.org',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ].join('\r\n')
  return `${changes.reduce((text, [from, to]) => text.replace(from, to), request)}\r\n\r\n`
}

test.each<readonly [string, string, RegExp, (readonly [string, string])[]]>([
  ['no key', '400', /400/, [['Sec-WebSocket-Key: ', 'X-Key: ']]],
  ['a key that is none', '400', /400/, [['dGhlIHNhbXBsZSBub25jZQ==', 'short']]],
  ['an old version', '426', /426 Upgrade Required[^]*sec-websocket-version: 13/i, [['Version: 13', 'Version: 8']]],
  ['no version', '426', /426/, [['Sec-WebSocket-Version', 'X-Version']]],
  ['a subprotocol twice', '400', /400/, [['Host', 'Sec-WebSocket-Protocol: a, a\r\nHost']]],
  ['a subprotocol that is no token', '400', /400/, [['Host', 'Sec-WebSocket-Protocol: a b\r\nHost']]],
  ['an empty subprotocol', '400', /400/, [['Host', 'Sec-WebSocket-Protocol: a,,b\r\nHost']]],
  ['a bad escape in the path', '400', /400/, [['/chat/', '/%zz']]],
  ['two hosts', '400', /400/, [['Host', 'Host: a\r\nHost']]],
  ['a control character', '400', /400/, [['Host', 'X-Bad: a\x01\r\nHost']]],
])('%s: %s, and the application hears nothing of it', async (_name, _status, expected, changes) => {
  await using server = await serveWebsocket(echo)
  const client = await RawClient.connect(server.url)
  client.send(handshake(...changes))
  expect(await client.until(/\r\n\r\n/)).toMatch(expected)
  client.end()
  await client.closed
  expect(server.test.outcomes).toEqual([])
})

test('a handshake that never ends is answered 408', async () => {
  await using server = await serveWebsocket(echo, {}, { http: { headersTimeout: 200 } })
  const client = await RawClient.connect(server.url)
  client.send(handshake().slice(0, -2))
  expect(await client.closed).toMatch(/^HTTP\/1\.1 408/)
})

const same = { origins: 'same' } as const
const listed = { origins: ['https://app.example.org', 'http://localhost:3000'] } as const
test.each<readonly [string, Readonly<Record<string, unknown>>, string | undefined, string, boolean]>([
  ['a page of the same host', same, 'http://example.org', 'example.org', true],
  ['a page of the same host and port', same, 'http://example.org:8000', 'example.org:8000', true],
  ['a page of the same host behind a proxy that speaks TLS', same, 'https://example.org', 'example.org', true],
  ['a default port that is left out', same, 'https://example.org', 'example.org:443', true],
  ['other letters of the same host', same, 'http://example.org', 'EXAMPLE.org', true],
  ['a page of another host', same, 'http://evil.example', 'example.org', false],
  ['a page of another port', same, 'http://example.org:81', 'example.org', false],
  ['a page of a host that only begins the same', same, 'http://example.org.evil.example', 'example.org', false],
  ['a page that hides its origin', same, 'null', 'example.org', false],
  ['an origin that is no URL', same, 'http://[', 'example.org', false],
  ['an origin without a host', same, 'file:///index.html', 'example.org', false],
  ['an origin without a host, to no host', same, 'file:///index.html', '', false],
  ['a program', same, undefined, 'example.org', true],
  ['a listed page', listed, 'https://app.example.org', 'api.example.org', true],
  ['a listed page with its default port', listed, 'https://app.example.org:443', 'api.example.org', true],
  ['a page that is not listed', listed, 'https://api.example.org', 'api.example.org', false],
  ['a listed page with another scheme', listed, 'http://app.example.org', 'api.example.org', false],
  ['a program where pages are listed', listed, undefined, 'api.example.org', true],
  [
    'the same host beside a list',
    { origins: ['same', 'https://b.example'] },
    'http://example.org',
    'example.org',
    true,
  ],
  ['any page where all may', { origins: '*' }, 'null', 'example.org', true],
])('%s may connect or not (%#)', async (_name, options, origin, host, allowed) => {
  await using server = await serveWebsocket(echo, options)
  const client = await RawClient.connect(server.url)
  client.send(handshake(['Host: example.org', `Host: ${host}${origin === undefined ? '' : `\r\nOrigin: ${origin}`}`]))
  expect(await client.until(/\r\n\r\n/)).toMatch(allowed ? /^HTTP\/1\.1 101/ : /^HTTP\/1\.1 403/)
  client.end()
  if (!allowed) expect(server.test.outcomes).toEqual([])
})

const accept: Sent = { type: 'websocket.accept' }
const refuse: Sent = { type: 'websocket.http.response.start', status: 403 }
test.each<readonly [string, readonly unknown[], RegExp]>([
  [
    'a message before accept',
    [{ type: 'websocket.send', text: 'x' }],
    /expected websocket\.accept, .*found websocket\.send/,
  ],
  ['a body without a start', [{ type: 'websocket.http.response.body' }], /found websocket\.http\.response\.body/],
  [
    'accept after it began to refuse',
    [refuse, accept],
    /expected websocket\.http\.response\.body, found websocket\.accept/,
  ],
  ['a close after it began to refuse', [refuse, { type: 'websocket.close' }], /found websocket\.close/],
  ['an event of another protocol', [{ type: 'http.response.start', status: 200 }], /found http\.response\.start/],
  [
    'a subprotocol that was not offered',
    [{ ...accept, subprotocol: 'v9' }],
    /expected one of v1, v2, as the client offers, found "v9"/,
  ],
  ['a line break in a header', [{ ...accept, headers: [['x-a', 'b\r\nset-cookie: c']] }], /without control characters/],
  [
    'a header of the handshake',
    [{ ...accept, headers: [['Sec-WebSocket-Accept', 'x']] }],
    /the header Sec-WebSocket-Accept is the handshake's own/,
  ],
  ['a header that is not ASCII', [{ ...accept, headers: [['x-a', 'é']] }], /ASCII/],
  ['a refusal that is none', [{ ...refuse, status: 200 }], /a status from 300 to 599 to refuse with, found 200/],
  ['a refusal with a line break in a header', [{ ...refuse, headers: [['x', 'a\nb']] }], /without control characters/],
  [
    'a body that is neither bytes nor text',
    [refuse, { type: 'websocket.http.response.body', body: 7 }],
    /bytes or text, found number/,
  ],
])('%s is an error to the application, and the peer gets a 500', async (_name, events, expected) => {
  let thrown: unknown
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    try {
      for (const event of events) await send(event as Sent)
    } catch (error) {
      thrown = error
      throw error
    }
  })
  const answer = await refused(server.url, { protocols: ['v1', 'v2'] })
  expect(reason(thrown)).toMatch(expected)
  expect(hasCode(thrown, 'unexpected_event')).toBe(true)
  expect(answer.status).toBe(500)
  expect(answer.headers).not.toHaveProperty('set-cookie')
})

test('more connections than maxConnections are answered 503', async () => {
  await using server = await serveWebsocket(echo, { maxConnections: 1 })
  const client = await Client.connect(server.url)
  expect(await refused(server.url)).toMatchObject({ status: 503 })
  client.ws.close()
  await client.closed
  await server.test.idle()
  const next = await Client.connect(server.url)
  next.ws.terminate()
})

test('a gateway that is closing refuses a handshake that waits, and every new one, with 503', async () => {
  await using server = await serveWebsocket(async (_scope, receive) => {
    await receive()
    await receive()
  })
  const waiting = refused(server.url)
  while (server.test.open.size === 0) await new Promise(setImmediate)
  const closed = server.listener.close(new AbortController().signal)
  expect(await waiting).toMatchObject({ status: 503 })
  await closed
  expect(await refused(server.url)).toMatchObject({ status: 503 })
})

test('an extension that is malformed is answered 400 at accept, and the application hears that it is over', async () => {
  const next = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(
    async (_scope, receive, send) => {
      await receive()
      await send(accept)
      next.resolve(await receive())
    },
    { compression: true },
  )
  const client = await RawClient.connect(server.url)
  client.send(handshake(['Host', 'Sec-WebSocket-Extensions: permessage-deflate; =\r\nHost']))
  expect(await client.until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 400/)
  expect(await next.promise).toMatchObject({ type: 'websocket.disconnect', code: 1006 })
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

test('the peer of a refused handshake gets its answer also when it has sent on', async () => {
  await using server = await serveWebsocket(async () => undefined)
  const ws = new WebSocket(server.url)
  const [, response] = await once(ws, 'unexpected-response')
  expect(response.statusCode).toBe(403)
  ws.on('error', () => undefined)
  ws.terminate()
  const client = await RawClient.connect(server.url)
  client.send(handshake(), 'x'.repeat(100_000))
  expect(await client.until(/Forbidden\n/)).toMatch(/^HTTP\/1\.1 403/)
  client.end()
})

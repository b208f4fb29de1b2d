/** Every way in which an open WebSocket can end, and what its peer and its application are told. */
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { WebSocket } from 'ws'
import type { WebsocketProtocol } from '../../../protocols/websocket/scope.ts'
import { SignalboxError, hasCode, reason } from '../../../src/runtime/errors.ts'
import { Client, echo, serveWebsocket, type WebsocketApplication } from './support.ts'

/** Accepts, and tells of its end. */
function observed() {
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

const disconnect = (code: number, text = '') => ({ type: 'websocket.disconnect', code, reason: text })

test('an application that raises: close 1011, without details', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await receive()
    throw new Error('the password is hunter2')
  })
  const client = await Client.connect(server.url)
  client.ws.send('go')
  expect(await client.closed).toEqual({ code: 1011, reason: 'internal error' })
})

test('an application that has no room for it now: close 1013', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    throw new SignalboxError('queue_full', 'a secret')
  })
  const client = await Client.connect(server.url)
  expect(await client.closed).toEqual({ code: 1013, reason: 'try again later' })
})

test('an application that returns: close 1000', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await send({ type: 'websocket.send', text: 'that was all' })
  })
  const client = await Client.connect(server.url)
  expect(await client.next()).toBe('that was all')
  expect(await client.closed).toEqual({ code: 1000, reason: '' })
})

test('a peer that closes while much is on its way to it hears it all, and then the close', async () => {
  // More than the kernel holds between the two.
  const text = 'x'.repeat(32 * 2 ** 20)
  const ended = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    void send({ type: 'websocket.send', text })
    ended.resolve(await receive())
  })
  const client = await Client.connect(server.url)
  client.ws.pause()
  client.ws.close(1000, 'enough')
  setImmediate(() => client.ws.resume())
  expect(((await client.next()) as string).length).toBe(text.length)
  expect(await client.closed).toEqual({ code: 1000, reason: 'enough' })
  expect(await ended.promise).toEqual(disconnect(1000, 'enough'))
})

test('an application that closes: its code and reason, and it hears the same', async () => {
  const next = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await send({ type: 'websocket.close', code: 4321, reason: 'enough' })
    next.resolve(await receive())
  })
  const client = await Client.connect(server.url)
  expect(await client.closed).toEqual({ code: 4321, reason: 'enough' })
  expect(await next.promise).toEqual(disconnect(4321, 'enough'))
})

test.each([
  ['a code and a reason', (ws: WebSocket) => ws.close(3000, 'bye'), disconnect(3000, 'bye')],
  ['no code', (ws: WebSocket) => ws.close(), disconnect(1005)],
  ['nothing at all', (ws: WebSocket) => ws.terminate(), disconnect(1006)],
])('a peer that leaves with %s', async (_name, leave, expected) => {
  const { application, ended } = observed()
  await using server = await serveWebsocket(application)
  const client = await Client.connect(server.url)
  leave(client.ws)
  expect(await ended).toEqual(expected)
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

test('what came before the peer left is handled before its disconnect', async () => {
  const events: unknown[] = []
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    for (;;) {
      const event = await receive()
      events.push(event.type === 'websocket.receive' ? event.text : event.type)
      if (event.type === 'websocket.disconnect') return
      await new Promise(setImmediate)
    }
  })
  const client = await Client.connect(server.url)
  for (let number = 0; number < 200; number++) client.ws.send(String(number))
  client.ws.close()
  await client.closed
  await server.test.idle()
  expect(events).toEqual([...Array.from({ length: 200 }, (_, number) => String(number)), 'websocket.disconnect'])
})

test('a peer that leaves aborts the signal also while a slow handler runs and its messages wait', async () => {
  const aborted = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(async (_scope, receive, send, { signal }) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await receive()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    aborted.resolve(signal.reason)
  })
  const client = await Client.connect(server.url)
  for (let number = 0; number < 50; number++) client.ws.send('x'.repeat(1000))
  client.ws.close()
  expect(hasCode(await aborted.promise, 'disconnected')).toBe(true)
  await server.test.idle()
})

test('what is sent after the peer left is dropped without an error', async () => {
  const late = Promise.withResolvers<void>()
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    while ((await receive()).type !== 'websocket.disconnect');
    await send({ type: 'websocket.send', text: 'too late' })
    await send({ type: 'websocket.close' })
    late.resolve()
  })
  const client = await Client.connect(server.url)
  client.ws.terminate()
  await late.promise
})

const accept = { type: 'websocket.accept' } as const
const wrong = (event: object) => event as WebsocketProtocol['send']
test.each<readonly [string, readonly object[], RegExp]>([
  ['a second accept', [accept], /expected websocket\.send or websocket\.close, found websocket\.accept/],
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
    await send(accept)
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

test('a peer that does not read: 1013 when more than sendBuffer waits for it', async () => {
  const ended = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(
    async (_scope, receive, send) => {
      await receive()
      await send(accept)
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

test('a peer that gives no sign of life is cut', async () => {
  const { application, ended } = observed()
  await using server = await serveWebsocket(application, { heartbeat: '20ms', idleTimeout: '60ms' })
  const client = new Client(new WebSocket(server.url, { autoPong: false }))
  expect(await ended).toEqual(disconnect(1006, 'no sign of life'))
  expect((await client.closed).code).toBe(1006)
})

test('a peer that answers pings may be silent for as long as it likes', async () => {
  await using server = await serveWebsocket(echo, { heartbeat: '10ms', idleTimeout: '30ms' })
  const client = await Client.connect(server.url)
  let pings = 0
  await new Promise<void>((resolve) => {
    client.ws.on('ping', () => {
      if (++pings === 15) resolve()
    })
  })
  expect(client.ws.readyState).toBe(WebSocket.OPEN)
  client.ws.terminate()
})

test('over TLS too, what a peer says is a sign of life, and a close is answered with a close', async () => {
  const file = (name: string) => path.join(import.meta.dirname, '..', '..', 'support', 'tls', name)
  await using server = await serveWebsocket(echo, {
    address: '127.0.0.1:0',
    tls: { cert: file('cert.pem'), key: file('key.pem') },
    heartbeat: '10ms',
    idleTimeout: '30ms',
  })
  const client = await Client.connect(server.url, { rejectUnauthorized: false })
  let pings = 0
  await new Promise<void>((resolve) => {
    client.ws.on('ping', () => {
      if (++pings === 10) resolve()
    })
  })
  client.ws.send('hello')
  expect(await client.next()).toBe('hello')
  client.ws.close(4000, 'bye')
  expect(await client.closed).toEqual({ code: 4000, reason: 'bye' })
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

test('a peer that is not read from, because the application is busy, is not taken for dead', async () => {
  const go = Promise.withResolvers<void>()
  await using server = await serveWebsocket(
    async (scope, receive, send, context) => {
      await receive()
      await send(accept)
      await go.promise
      await echo(scope, receive, send, context)
    },
    { heartbeat: '10ms', idleTimeout: '30ms' },
    { limits: { events: 2 } },
  )
  const client = await Client.connect(server.url)
  for (let number = 0; number < 10; number++) client.ws.send(String(number))
  let pings = 0
  await new Promise<void>((resolve) => {
    client.ws.on('ping', () => {
      if (++pings === 10) resolve()
    })
  })
  go.resolve()
  for (let number = 0; number < 10; number++) expect(await client.next()).toBe(String(number))
  client.ws.terminate()
})

test('a peer that sends and does not read is cut, though it is not read from either', async () => {
  await using server = await serveWebsocket(
    echo,
    { heartbeat: '20ms', idleTimeout: '100ms', sendBuffer: '100MiB' },
    { limits: { events: 4 } },
  )
  const client = await Client.connect(server.url)
  client.ws.pause()
  const part = new Uint8Array(500_000)
  for (let number = 0; number < 60; number++) client.ws.send(part)
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
  client.ws.terminate()
})

test('a peer that was not read from is read on after a close, so that its answer is seen', async () => {
  const full = Promise.withResolvers<void>()
  const next = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(
    async (_scope, receive, send, { signal }) => {
      const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
      await receive()
      await send(accept)
      await full.promise
      await send({ type: 'websocket.close', code: 4000 })
      await aborted
      let event = await receive()
      while (event.type !== 'websocket.disconnect') event = await receive()
      next.resolve(event)
    },
    {},
    { limits: { events: 2 } },
  )
  const client = await Client.connect(server.url)
  for (let number = 0; number < 2000; number++) client.ws.send('x'.repeat(10_000))
  let before = -1
  while (client.ws.bufferedAmount !== before) {
    before = client.ws.bufferedAmount
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  expect(before).toBeGreaterThan(0)
  full.resolve()
  expect(await next.promise).toEqual(disconnect(4000))
  await client.closed
})

test('a gateway that closes says 1001 to everybody, and waits for their applications', async () => {
  const { application, ended } = observed()
  await using server = await serveWebsocket(application)
  const client = await Client.connect(server.url)
  await server.listener.close(new AbortController().signal)
  expect(await client.closed).toEqual({ code: 1001, reason: 'the gateway is closing' })
  expect(await ended).toMatchObject({ code: 1001 })
  expect(server.test.open.size).toBe(0)
})

test('a peer that does not answer the close is cut when the time is over', async () => {
  const { application } = observed()
  await using server = await serveWebsocket(application)
  const client = await Client.connect(server.url)
  client.ws.pause()
  const deadline = new AbortController()
  const closed = server.listener.close(deadline.signal)
  deadline.abort()
  await closed
  expect(server.listener.connections).toBe(0)
  client.ws.terminate()
})

test('an application that never ends is abandoned, and its socket is gone', async () => {
  await using server = await serveWebsocket(
    async (_scope, receive, send) => {
      await receive()
      await send(accept)
      await new Promise(() => undefined)
    },
    {},
    { closeTimeout: 20 },
  )
  const client = await Client.connect(server.url)
  client.ws.close()
  await client.closed
  await server.test.idle()
  expect(server.test.outcomes).toEqual([{ kind: 'abandoned' }])
})

test('2,000 sockets that come and go in every phase leave nothing behind', async () => {
  await using server = await serveWebsocket(async (scope, receive, send, context) => {
    if (scope.path === '/refuse') throw new Error('refused')
    await context.layer.groupAdd('everybody', context.channel)
    if (scope.path === '/slow') await new Promise(setImmediate)
    await echo(scope, receive, send, context)
  })
  const paths = ['/', '/slow', '/refuse', '/']
  for (let round = 0; round < 20; round++) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const client = new Client(new WebSocket(server.url + (paths[index % paths.length] ?? '')))
        if (index % 5 === 0) await new Promise(setImmediate)
        else if (index % 5 === 1) client.ws.terminate()
        else await new Promise((resolve) => client.ws.once('open', resolve).once('close', resolve))
        if (client.ws.readyState === WebSocket.OPEN) client.ws.send('hello')
        if (index % 2 === 0) client.ws.terminate()
        else client.ws.close()
        await client.closed
      }),
    )
  }
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
  expect(server.test.layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

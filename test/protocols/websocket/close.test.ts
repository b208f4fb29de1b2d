/** Every way in which an open WebSocket can end, and what its peer and its application are told. */
import { randomBytes } from 'node:crypto'
import { expect, jest, test } from '@jest/globals'
import { WebSocket } from 'ws'
import { SignalboxError, hasCode } from '../../../src/runtime/errors.ts'
import { RawClient } from '../../support/raw-client.ts'
import { Client, disconnect, echo, handshake, observed, serveWebsocket } from './support.ts'

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

const deflating = handshake.replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n')

const masked = (...bytes: readonly number[]) => Buffer.from([...bytes.slice(0, 2), 0, 0, 0, 0, ...bytes.slice(2)])

test.each([
  ['closes', handshake, masked(0x88, 0x82, 0x03, 0xe8), disconnect(1000)],
  ['closes a compressed connection', deflating, masked(0x88, 0x82, 0x03, 0xe8), disconnect(1000)],
  ['breaks the framing', handshake, masked(0x83, 0x80), disconnect(1002, 'Invalid WebSocket frame: invalid opcode 3')],
])(
  'a peer that %s and never reads what is on its way to it is cut after five seconds',
  async (_name, hello, last, expected) => {
    // More than the kernel holds between the two.
    const text = randomBytes(16 * 2 ** 20).toString('base64')
    const { promise: ended, resolve } = Promise.withResolvers<unknown>()
    let over = false
    await using server = await serveWebsocket(
      async (_scope, receive, send) => {
        await receive()
        await send({ type: 'websocket.accept' })
        void send({ type: 'websocket.send', text })
        resolve(await receive())
        over = true
      },
      { compression: true },
    )
    const client = await RawClient.connect(server.url)
    client.send(hello)
    // Whose headers it reads, and nothing behind them.
    await client.until(/\r\n\r\n/)
    client.socket.pause()
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'setInterval', 'performance', 'queueMicrotask', 'nextTick'] })
    try {
      client.send(last)
      while (jest.getTimerCount() === 0) await new Promise(setImmediate)
      jest.advanceTimersByTime(4999)
      for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
      expect([over, server.listener.connections]).toEqual([false, 1])
      jest.advanceTimersByTime(1)
      expect(await ended).toEqual(expected)
      expect(server.listener.connections).toBe(0)
    } finally {
      jest.useRealTimers()
      client.reset()
    }
  },
)

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

test('a peer that was not read from is read on after a close, so that its answer is seen', async () => {
  const full = Promise.withResolvers<void>()
  const next = Promise.withResolvers<unknown>()
  await using server = await serveWebsocket(
    async (_scope, receive, send, { signal }) => {
      const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
      await receive()
      await send({ type: 'websocket.accept' })
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
      await send({ type: 'websocket.accept' })
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

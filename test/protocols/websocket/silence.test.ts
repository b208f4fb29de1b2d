/** Signs of life: who is cut because there are none, and who only seems to be silent. */
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { WebSocket } from 'ws'
import { Client, disconnect, echo, observed, serveWebsocket } from './support.ts'

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
      await send({ type: 'websocket.accept' })
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

/** The WebSocket communicator: what a client on the wire would get, without one. */
import { expect, test } from '@jest/globals'
import { WebsocketCommunicator, type HandshakeLike } from '../../../protocols/websocket/communicator.ts'
import { WebsocketConsumer } from '../../../protocols/websocket/consumer.ts'
import type { WebsocketScope } from '../../../protocols/websocket/scope.ts'
import { MemoryLayer } from '../../../src/layers/memory.ts'
import { URLRouter } from '../../../src/routing/url-router.ts'
import { SignalboxError, reason } from '../../../src/runtime/errors.ts'
import { Client, echo, serveWebsocket, type WebsocketApplication } from './support.ts'

const layer = new MemoryLayer()
const play = (application: WebsocketApplication, handshake: HandshakeLike = {}) =>
  new WebsocketCommunicator(application, handshake, { layer })

test('messages go in and come out', async () => {
  const client = play(echo)
  expect(await client.connect()).toMatchObject({ accepted: true, status: 101 })
  await client.sendText('hello')
  expect(await client.receiveText()).toBe('hello')
  await client.sendBytes(new Uint8Array([1, 2]))
  expect([...(await client.receiveBytes())]).toEqual([1, 2])
  await client.sendJson({ a: 1 })
  expect(await client.receiveJson()).toEqual({ a: 1 })
  expect(await client.receiveNothing(10)).toBe(true)
  await client.disconnect(1000)
})

test('what comes instead of what was expected is an error', async () => {
  const client = play(echo)
  await client.connect()
  await client.sendText('text')
  await expect(client.receiveBytes()).rejects.toThrow('expected bytes, found text')
})

test('the answer to the handshake tells its subprotocol and its headers', async () => {
  class Talk extends WebsocketConsumer {
    override async connect() {
      await this.accept({ subprotocol: 'v1', headers: [['x-room', 'kitchen']] })
    }
  }
  const client = play(Talk.asApplication(), { subprotocols: ['v1', 'v2'] })
  const answer = await client.connect()
  expect([answer.subprotocol, answer.headers.get('x-room')]).toEqual(['v1', 'kitchen'])
  await client.disconnect()
})

test('a refusal has the status that the wire would have', async () => {
  const refuses: WebsocketApplication = async (_scope, _receive, send) => {
    await send({ type: 'websocket.http.response.start', status: 401, headers: [['www-authenticate', 'Bearer']] })
    await send({ type: 'websocket.http.response.body', body: 'who ', moreBody: true })
    await send({ type: 'websocket.http.response.body', body: 'are you?' })
  }
  const raises: WebsocketApplication = async () => {
    throw new Error('no')
  }
  const answer = await play(refuses).connect()
  expect(answer).toMatchObject({ accepted: false, status: 401, text: 'who are you?' })
  expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  expect((await play((_scope, _receive, send) => send({ type: 'websocket.close' })).connect()).status).toBe(403)
  expect((await play(raises).connect()).status).toBe(500)
  const busy = () => Promise.reject(new SignalboxError('queue_full', 'no'))
  expect((await play(busy).connect()).status).toBe(503)
  expect((await play(async () => undefined).connect()).status).toBe(403)
  expect((await play(URLRouter([{ path: '/x', app: echo }]) as WebsocketApplication).connect()).status).toBe(403)
})

test.each<readonly [string, number, WebsocketApplication]>([
  ['closes', 4000, (_scope, _receive, send) => send({ type: 'websocket.close', code: 4000 })],
  ['raises', 1011, () => Promise.reject(new Error('no'))],
  ['has no room', 1013, () => Promise.reject(new SignalboxError('queue_full', 'no'))],
  ['returns', 1000, () => Promise.resolve()],
])('an application that %s after it accepted: %d', async (_name, code, rest) => {
  const client = play(async (scope, receive, send, context) => {
    await send({ type: 'websocket.accept' })
    await rest(scope, receive, send, context)
  })
  await client.connect()
  expect(await client.receiveClose()).toBe(code)
})

test('what the wire would refuse is refused here too', async () => {
  let thrown: unknown
  const client = play(async (_scope, _receive, send) => {
    await send({ type: 'websocket.send', text: 'too early' }).catch((error: unknown) => (thrown = error))
  })
  await client.connect()
  expect(reason(thrown)).toMatch(/expected websocket\.accept, .* found websocket\.send/)
})

test('its scope has the keys of a scope from the wire', async () => {
  const scopes: WebsocketScope[] = []
  const keep: WebsocketApplication = async (scope, receive, send, context) => {
    scopes.push(scope)
    await echo(scope, receive, send, context)
  }
  await using server = await serveWebsocket(keep)
  const wire = await Client.connect(`${server.url}/a%20b?c`)
  wire.ws.terminate()
  const client = play(keep, { path: '/a%20b?c' })
  await client.connect()
  await client.disconnect()
  const [first, second] = scopes
  expect(Object.keys(second ?? {}).toSorted()).toEqual(Object.keys(first ?? {}).toSorted())
  const { path, rawPath, queryString } = second ?? {}
  expect({ path, rawPath, queryString }).toEqual({ path: '/a b', rawPath: '/a%20b', queryString: 'c' })
  expect(first).toMatchObject({ path, rawPath, queryString })
})

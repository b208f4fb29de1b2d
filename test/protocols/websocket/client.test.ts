/** `signalbox send websocket` against a listener. */
import { expect, test } from '@jest/globals'
import { client } from '../../../protocols/websocket/client.ts'
import { websocketOptions } from '../../../protocols/websocket/options.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { websocket } from '../../../protocols/websocket/protocol.ts'
import { pass, stopTime } from '../../support/time.ts'
import { echo, serveWebsocket } from './support.ts'

function target(url: string, signal = new AbortController().signal) {
  const [host = '', port] = new URL(url).host.split(':')
  return { options: websocketOptions.parse({}), http: { address: { host, port: Number(port) } }, signal }
}

test('a message is sent, and what comes back in a short time is printed', async () => {
  stopTime()
  await using server = await serveWebsocket(echo)
  const printed = Promise.withResolvers<string>()
  const to = { ...target(server.url), print: printed.resolve }
  const answer = client.send(['/chat/', 'hello'], { wait: '50' }, to)
  expect(await printed.promise).toBe('hello')
  await pass(50)
  expect(await answer).toEqual({ positive: true, text: '' })
  await server.test.idle()
})

test('several messages are sent in their order', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    for (let count = 0; count < 2; count++) {
      const event = await receive()
      if (event.type === 'websocket.receive') await send({ ...event, type: 'websocket.send' })
    }
    await send({ type: 'websocket.close' })
  })
  const answer = await client.send(['/chat/', 'one', 'two'], { wait: '60000' }, target(server.url))
  expect(answer).toEqual({ positive: true, text: 'one\ntwo' })
})

test('bytes are shown by their number', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await send({ type: 'websocket.send', bytes: new Uint8Array(5) })
    await send({ type: 'websocket.close' })
  })
  expect(await client.send(['/'], { wait: '60000' }, target(server.url))).toEqual({ positive: true, text: '[5 bytes]' })
})

test('a refused handshake is not positive', async () => {
  await using server = await serveWebsocket(async () => undefined)
  expect(await client.send(['/'], {}, target(server.url))).toMatchObject({
    positive: false,
    text: expect.stringMatching(/403/),
  })
})

test('a socket that is closed on us is not positive, and the code is shown', async () => {
  await using server = await serveWebsocket(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    await send({ type: 'websocket.close', code: 4001, reason: 'not now' })
  })
  expect(await client.send(['/'], {}, target(server.url))).toEqual({ positive: false, text: 'closed: 4001 not now' })
})

test('an abort ends it', async () => {
  await using server = await serveWebsocket(echo)
  const controller = new AbortController()
  const answer = client.send(['/', 'hello'], { wait: '60000' }, target(server.url, controller.signal))
  while (server.listener.connections === 0) await new Promise(setImmediate)
  controller.abort()
  expect((await answer).positive).toBe(false)
})

test.each([
  [['chat'], {}],
  [[], {}],
  [['/chat/'], { wait: 'long' }],
])('%j %j is an error in words', async (arguments_, options) => {
  await expect(client.send(arguments_, options, target('http://127.0.0.1:1'))).rejects.toMatchObject({
    code: 'bad_address',
  })
})

test('its definition makes a scope of an address, and refuses what is none', () => {
  expect(websocket.sampleScope('/chat/?name=ann')).toMatchObject({
    type: 'websocket',
    path: '/chat/',
    queryString: 'name=ann',
  })
  expect(() => websocket.sampleScope('chat')).toThrow(/expected a path/)
})

test('options: defaults, units, and what is wrong in words', () => {
  expect(websocketOptions.parse({})).toEqual({
    rootPath: '',
    origins: 'same',
    maxMessageSize: 2 ** 20,
    sendBuffer: 4 * 2 ** 20,
    handshakeTimeout: 10_000,
    heartbeat: 20_000,
    idleTimeout: 60_000,
    compression: false,
    maxConnections: 10_000,
  })
  const problem = (options: object) => websocketOptions.safeParse(options).error?.issues[0]
  expect(problem({ tls: { cert: 'a', key: 'b' } })?.message).toMatch(/expected an address beside it/)
  expect(problem({ origins: ['example.org'] })).toBeDefined()
  expect(problem({ origins: ['https://example.org/path'] })).toBeDefined()
  expect(problem({ origins: ['same', 'https://example.org'] })).toBeUndefined()
})

test('a refused connection is an error for the command to explain', async () => {
  const server = await serveWebsocket(echo)
  const { url } = server
  await server[Symbol.asyncDispose]()
  const error: unknown = await client.send(['/'], {}, target(url)).catch((problem: unknown) => problem)
  expect(hasCode(error, 'ECONNREFUSED')).toBe(true)
})

test('what comes is printed as it comes, and the wait for more may be longer than that for the answer', async () => {
  await using server = await serveWebsocket(echo)
  const controller = new AbortController()
  const printed = Promise.withResolvers<string>()
  let answered = false
  const to = {
    ...target(server.url, controller.signal),
    print: printed.resolve,
    answered: () => (answered = true),
  }
  const answer = client.send(['/', 'hello'], { wait: '60000' }, to)
  expect(await printed.promise).toBe('hello')
  expect(answered).toBe(true)
  controller.abort()
  expect(await answer).toMatchObject({ positive: false, text: expect.not.stringContaining('hello') })
})

test.each(['-1', 'long', '1e99'])('--wait %s is an error in words', async (wait) => {
  await expect(client.send(['/'], { wait }, target('http://127.0.0.1:1'))).rejects.toThrow(
    `--wait: found "${wait}", expected milliseconds`,
  )
})

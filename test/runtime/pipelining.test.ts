/** Requests that come before the answer to the one before: the order of answers, and what becomes of those that nobody waits for. */
import { afterEach, expect, jest, test } from '@jest/globals'
import type { HttpResponse } from '../../src/asgi/adapter.ts'
import { createHttpHost, type ListeningHttpHost } from '../../src/runtime/http-host.ts'
import type { HttpHostOptions } from '../../src/runtime/http-server.ts'
import { answer, answerAndClose, endUpgrade } from '../../src/runtime/http-answer.ts'
import { RawClient } from '../support/raw-client.ts'

const opened: ListeningHttpHost[] = []

afterEach(async () => {
  jest.useRealTimers()
  await Promise.all(opened.splice(0).map((host) => host.close(AbortSignal.abort())))
})

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
const upgrade = 'GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
const connect = 'CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n'

/** `/fast` is answered at once, `/slow` when the test says so, a body at `/refused` not read, and upgrades refused. */
async function start(options: Partial<HttpHostOptions> = {}) {
  const host = createHttpHost({ address: { host: '127.0.0.1', port: 0 }, ...options })
  const slow: HttpResponse[] = []
  const paths: string[] = []
  const closed: string[] = []
  let ended = () => undefined as void
  host.onRequest(undefined, (request, response) => {
    const { url = '' } = request
    paths.push(url)
    response.watcher = {
      closed: () => {
        closed.push(url)
        ended()
      },
    }
    if (url === '/slow') slow.push(response)
    else if (url === '/refused') answerAndClose(request, response, 413)
    else answer(response, 200, `answer to ${url}`)
  })
  host.onUpgrade('/socket', (_request, socket) => endUpgrade(socket, 403, [], 'upgraded'))
  opened.push(host)
  await host.listen()
  return {
    paths,
    client: await RawClient.connect(host.url),
    go: () => slow.splice(0).forEach((response) => answer(response, 200, 'answer to /slow')),
    /** Resolves when so many answers are over, whatever became of them. */
    over: (count: number) =>
      new Promise<void>((resolve) => {
        ended = () => void (closed.length === count && resolve())
        ended()
      }),
  }
}

/** Statuses, and the paths that were answered, in the order of their coming. */
const order = (text: string) => text.match(/(?<=HTTP\/1\.1 )\d+|(?<=answer to )\S+|upgraded/g)

test.each([
  ['an upgrade', upgrade, ['200', '/fast', '403', 'upgraded']],
  ['CONNECT', connect, ['200', '/fast', '405']],
  ['what is no request', 'garbage\r\n\r\n', ['200', '/fast', '400']],
])('%s in one segment with a request is answered behind it', async (_name, second, expected) => {
  const { client } = await start()
  client.send(get('/fast') + second)
  expect(order(await client.closed)).toEqual(expected)
})

test('an upgrade behind a request that has no answer yet is refused in words, and the last of its connection', async () => {
  const { client, go, paths } = await start()
  client.send(get('/slow') + upgrade + get('/lost'))
  while (paths.length === 0) await new Promise(setImmediate)
  go()
  const answers = await client.closed
  expect(order(answers)).toEqual(['200', '/slow', '426'])
  expect(answers).toMatch(/upgrade: websocket\r\n.*connection: close\r\n.*has no answer yet/is)
  expect(paths).toEqual(['/slow'])
})

test.each([
  ['what is no request', 'garbage\r\n\r\n'.repeat(3), '400'],
  ['CONNECT', `${connect}and bytes`, '405'],
  ['a body that is broken', 'POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n', '400'],
])('%s behind a request that has no answer yet is refused behind it, and the connection closed', async (...row) => {
  const [, second, status] = row
  const { client, go, paths } = await start()
  client.send(get('/slow') + second)
  while (!paths.includes('/slow')) await new Promise(setImmediate)
  go()
  expect(order(await client.closed)).toEqual(['200', '/slow', status])
})

test.each([
  ['what is no request', 'garbage\r\n\r\n', '400'],
  ['CONNECT', connect, '405'],
])('a long answer is sent whole before %s is refused', async (_name, second, status) => {
  const host = createHttpHost({ address: { host: '127.0.0.1', port: 0 } })
  host.onRequest(undefined, (_request, response) => {
    let left = 200
    const write = () => {
      while (left-- > 0) if (!response.write('x'.repeat(100_000))) return response.once('drain', write)
      return response.end()
    }
    response.writeHead(200, ['content-length', '20000000'])
    write()
  })
  opened.push(host)
  await host.listen()
  const client = await RawClient.connect(host.url)
  client.send(get('/large') + second)
  const answers = await client.closed
  expect(order(answers)).toEqual(['200', status])
  expect(answers.length).toBeGreaterThan(20_000_000)
})

test('a body that is refused behind a request that has no answer yet is refused behind it, and has its time to be read', async () => {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'setInterval', 'clearInterval', 'nextTick', 'queueMicrotask'] })
  const { client, go, paths } = await start()
  client.send(`${get('/slow')}POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc`)
  while (paths.length < 2) await new Promise(setImmediate)
  jest.advanceTimersByTime(60_000)
  go()
  expect(order(await client.until(/ 413 /))).toEqual(['200', '/slow', '413'])
  jest.advanceTimersByTime(60_000)
  await client.closed
})

test('what waits behind an answer is over when the peer leaves, or asks for CONNECT', async () => {
  for (const last of [connect, upgrade, '']) {
    const { client, paths, over } = await start()
    client.send(get('/slow').repeat(3) + last)
    while (paths.length < 3) await new Promise(setImmediate)
    client.end()
    await over(3)
    await client.closed
  }
})

test('an expectation that nobody knows is answered 417, and its connection is closed when it is idle', async () => {
  const { client } = await start({ keepAliveTimeout: 1 })
  client.send('GET /fast HTTP/1.1\r\nHost: x\r\nExpect: the unexpected\r\n\r\n')
  expect(order(await client.closed)).toEqual(['417'])
})

test('HTTP/1.0 with chunks is the last that a connection says', async () => {
  const { client, paths } = await start()
  const head = 'POST /fast HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n'
  client.send(`${head}0\r\n\r\n${get('/smuggled')}`)
  expect(order(await client.closed)).toEqual(['200', '/fast'])
  expect(paths).toEqual(['/fast'])
})

test('a peer that reads none of many answers that nobody watches is cut', async () => {
  const host = createHttpHost({ address: { host: '127.0.0.1', port: 0 }, keepAliveTimeout: 1 })
  opened.push(host)
  await host.listen()
  const cut = new Promise((resolve) => host.server.once('connection', (socket) => socket.once('close', resolve)))
  const client = await RawClient.connect(host.url)
  client.socket.pause()
  client.send(get('/none').repeat(50_000))
  await cut
  client.socket.destroy()
})

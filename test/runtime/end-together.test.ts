/** Answers of one turn of the event loop that leave together, and what may come between an answer and its leaving. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'
import { afterEach, expect, test } from '@jest/globals'
import type { HttpResponse } from '../../src/asgi/adapter.ts'
import { endTogether } from '../../src/runtime/end-together.ts'
import { endUpgrade } from '../../src/runtime/http-answer.ts'
import { createHttpHost, type ListeningHttpHost } from '../../src/runtime/http-host.ts'
import type { HttpHostOptions } from '../../src/runtime/http-server.ts'
import { RawClient } from '../support/raw-client.ts'

const opened: ListeningHttpHost[] = []

afterEach(async () => {
  await Promise.all(opened.splice(0).map((host) => host.close(AbortSignal.abort())))
})

type Handler = (request: IncomingMessage, response: HttpResponse, host: ListeningHttpHost) => void

async function serving(handler: Handler, options: Partial<HttpHostOptions> = {}) {
  const host = createHttpHost({ address: { host: '127.0.0.1', port: 0 }, ...options }, 'test/support/tls')
  host.onRequest(undefined, (request, response) => handler(request, response, host))
  opened.push(host)
  await host.listen()
  return host
}

function say(response: HttpResponse, body: string): void {
  response.writeHead(200, ['content-length', String(Buffer.byteLength(body))])
  endTogether(response, body, 'utf8')
}

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`

test('an answer leaves when the turn is over, and until then its head stands fast', async () => {
  const seen: unknown[] = []
  const host = await serving((_request, response) => {
    say(response, 'später')
    seen.push(response.headersSent, response.writableEnded)
    setImmediate(() => seen.push(response.writableEnded))
  })
  expect(await (await fetch(host.url)).text()).toBe('später')
  expect(seen).toEqual([true, false, true])
})

test('pipelined answers stay in order, with bodies and without, whichever is there first', async () => {
  const waiting: (() => void)[] = []
  const host = await serving((request, response) => {
    waiting.push(() => {
      if (request.url !== '/none') return say(response, `[${request.url}]`)
      response.writeHead(204)
      endTogether(response)
    })
    if (waiting.length < 4) return
    for (const answer of waiting.toReversed()) answer()
  })
  const client = await RawClient.connect(host.url)
  client.send(get('/1') + get('/none') + get('/3') + get('/4'))
  const answers = await client.until(/\[\/4\]$/)
  expect(answers.match(/HTTP\/1\.1 \d+|\[.*?\]/g)).toEqual([
    'HTTP/1.1 200',
    '[/1]',
    'HTTP/1.1 204',
    'HTTP/1.1 200',
    '[/3]',
    'HTTP/1.1 200',
    '[/4]',
  ])
  client.end()
})

test('what is answered in the turn in which everything is cut has left before', async () => {
  const host = await serving((_request, response, own) => {
    say(response, 'the last word')
    void own.close(AbortSignal.abort())
  })
  const client = await RawClient.connect(host.url)
  client.send(get('/'))
  await client.until(/the last word$/)
  await client.closed
})

test('a peer that closes its half right behind its request gets its answer', async () => {
  const tls = { cert: 'cert.pem', key: 'key.pem' }
  const host = await serving((_request, response) => say(response, 'all the same'), { tls })
  const { hostname, port } = new URL(host.url)
  const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  socket.end(get('/'))
  expect(await text(socket)).toMatch(/all the same$/)
})

test('what was asked for before an upgrade is answered before it', async () => {
  const host = await serving((_request, response) => say(response, 'first'))
  host.onUpgrade(undefined, (_request, socket) => endUpgrade(socket, 403, [], 'then this'))
  const client = await RawClient.connect(host.url)
  client.send(get('/') + get('/chat', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'))
  expect(await client.closed).toMatch(/first.*then this$/s)
})

test('an answer whose response is destroyed before it leaves harms nobody', async () => {
  const closed: string[] = []
  const host = await serving((request, response) => {
    response.watcher = { closed: () => closed.push(request.url ?? '') }
    say(response, 'never or now')
    if (request.url === '/destroyed') response.destroy()
  })
  await expect(fetch(`${host.url}/destroyed`)).rejects.toThrow('fetch failed')
  expect(await (await fetch(`${host.url}/whole`)).text()).toBe('never or now')
  expect(closed[0]).toBe('/destroyed')
})

test('an answer after which the connection stays says for how long, and one after which it does not says so', async () => {
  const host = await serving((_request, response) => say(response, 'hello'), { keepAliveTimeout: 7000 })
  const client = await RawClient.connect(host.url)
  client.send(get('/'))
  expect(await client.until(/hello$/)).toMatch(/Connection: keep-alive\r\nKeep-Alive: timeout=7\r\n/)
  client.send(get('/', 'Connection: close\r\n'))
  const both = await client.closed
  expect(String(both).match(/Keep-Alive: |Connection: close/g)).toEqual(['Keep-Alive: ', 'Connection: close'])
})

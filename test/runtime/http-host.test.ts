/** The HTTP server that several protocols share: who gets what, its limits, its closing, its certificates. */
import { once } from 'node:events'
import { request as secureRequest } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { readFileSync } from 'node:fs'
import { afterEach, expect, test } from '@jest/globals'
import { createHttpHost, type ListeningHttpHost } from '../../src/runtime/http-host.ts'
import type { HttpHostOptions } from '../../src/runtime/http-server.ts'
import type { Log } from '../../src/asgi/context.ts'
import { hasCode, reason } from '../../src/runtime/errors.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { answer, endUpgrade } from '../../src/runtime/http-answer.ts'
import { RawClient } from '../support/raw-client.ts'

const address = { host: '127.0.0.1', port: 0 }
const base = 'test/support/tls'
const tls = { cert: 'cert.pem', key: 'key.pem' }
const opened: ListeningHttpHost[] = []

async function listening(options: Partial<HttpHostOptions> = {}, prepare?: (host: ListeningHttpHost) => void) {
  const host = createHttpHost({ address, ...options }, base)
  prepare?.(host)
  opened.push(host)
  await host.listen()
  return host
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((host) => host.close(AbortSignal.abort())))
})

const upgrade = (path: string, more = '') =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${more}\r\n`

test('url has the port that was asked for, and the real one once it listens', async () => {
  const host = createHttpHost({ address })
  expect(host.url).toBe('http://127.0.0.1:0')
  opened.push(host)
  await host.listen()
  expect(host.url).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/)
  expect(host.secure).toBe(false)
})

test('a request goes to who took its path, whatever its query, and the rest to who took the rest', async () => {
  const host = await listening({}, (shared) => {
    shared.onRequest('/sms', (_request, response) => answer(response, 200, 'sms'))
    shared.onRequest(undefined, (_request, response) => answer(response, 200, 'rest'))
  })
  expect(await (await fetch(`${host.url}/sms?x=1`)).text()).toBe('sms\n')
  expect(await (await fetch(`${host.url}/sms/more`)).text()).toBe('rest\n')
  expect(await (await fetch(`${host.url}/`)).text()).toBe('rest\n')
})

test('what nobody takes is answered 404, upgrades too', async () => {
  const host = await listening()
  expect((await fetch(host.url)).status).toBe(404)
  const client = await RawClient.connect(host.url)
  client.send(upgrade('/chat', 'Connection: close\r\n'))
  await client.until(/^HTTP\/1\.1 404/)
  client.end()
})

test('an upgrade goes to who took its path, and the rest to who took the rest', async () => {
  const host = await listening({}, (shared) => {
    shared.onUpgrade('/mqtt', (_request, socket) => endUpgrade(socket, 403, [], 'mqtt'))
    shared.onUpgrade(undefined, (_request, socket) => endUpgrade(socket, 403, [], 'rest'))
  })
  for (const [path, taker] of [
    ['/mqtt?x', 'mqtt'],
    ['/mqtt/', 'rest'],
    ['/', 'rest'],
  ]) {
    const client = await RawClient.connect(host.url)
    client.send(upgrade(path ?? ''))
    expect(await client.until(/\r\n\r\n(mqtt|rest)$/)).toContain(`\r\n\r\n${taker}`)
    client.end()
  }
})

test.each([
  ['an upgrade to another protocol', upgrade('/').replace('websocket', 'h2c')],
  ['an upgrade with a body', upgrade('/', 'Content-Length: 5\r\n') + 'hello'],
  ['an upgrade with a chunked body', upgrade('/', 'Transfer-Encoding: chunked\r\n') + '0\r\n\r\n'],
  ['an upgrade of a POST', upgrade('/').replace('GET', 'POST')],
])('%s is a plain request', async (_name, bytes) => {
  const host = await listening({}, (shared) => {
    shared.onUpgrade(undefined, (_request, socket) => endUpgrade(socket, 403, [], 'upgraded'))
    shared.onRequest(undefined, (_request, response) => answer(response, 200, 'plain'))
  })
  const client = await RawClient.connect(host.url)
  client.send(bytes)
  await client.until(/plain\n$/)
  client.end()
})

test('two protocols cannot take the same path', () => {
  const host = createHttpHost({ address })
  const nothing = () => undefined
  host.onRequest('/sms', nothing)
  host.onRequest(undefined, nothing)
  host.onUpgrade(undefined, nothing)
  expect(() => host.onRequest('/sms', nothing)).toThrow(/two protocols want \/sms/)
  expect(() => host.onRequest(undefined, nothing)).toThrow(/two protocols want the requests of every other path/)
  expect(() => host.onUpgrade(undefined, nothing)).toThrow(/two protocols want the upgrades of every other path/)
})

test('a handler that throws is a 500 for that request and nothing for the others', async () => {
  const host = await listening({}, (shared) => {
    shared.onRequest('/broken', () => {
      throw new Error('a bug')
    })
    shared.onUpgrade('/broken', () => {
      throw new Error('a bug')
    })
  })
  expect((await fetch(`${host.url}/broken`)).status).toBe(500)
  const client = await RawClient.connect(host.url)
  client.send(upgrade('/broken'))
  await client.until(/^HTTP\/1\.1 500/)
  client.end()
  expect((await fetch(host.url)).status).toBe(404)
})

test('a peer that resets its connection during an upgrade does no harm', async () => {
  const upgraded = Promise.withResolvers<void>()
  const host = await listening({}, (shared) => {
    shared.onUpgrade(undefined, (_request, socket) => {
      socket.once('close', () => upgraded.resolve())
      socket.resume()
    })
  })
  const client = await RawClient.connect(host.url)
  client.send(upgrade('/'))
  setImmediate(() => client.reset())
  await upgraded.promise
  expect((await fetch(host.url)).status).toBe(404)
})

test('an address that is taken is an error that says so, and nothing else does', async () => {
  const host = await listening()
  const logged: unknown[] = []
  const log: Log = Object.assign(Object.create(silentLog), { error: (...line: unknown[]) => logged.push(line) })
  const second = createHttpHost({ address: { host: '127.0.0.1', port: Number(new URL(host.url).port) } }, '', log)
  const error: unknown = await second.listen().catch((problem: unknown) => problem)
  expect(logged).toEqual([])
  expect(hasCode(error, 'listen_failed')).toBe(true)
  expect(reason(error)).toBe(`cannot listen on ${host.url}: another program listens there`)
})

test('closing ends idle connections and those that never asked for anything', async () => {
  const host = await listening()
  const silent = await RawClient.connect(host.url)
  const idle = await RawClient.connect(host.url)
  idle.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await idle.until(/404[^]*\r\n\r\n.+/)
  await host.close(new AbortController().signal)
  await Promise.all([silent.closed, idle.closed])
})

test('closing lets a request come to its end that has begun on a connection which was idle', async () => {
  const connected = Promise.withResolvers<Socket>()
  const host = await listening({}, (shared) => {
    shared.server.once('connection', connected.resolve)
    shared.onRequest(undefined, ({ url }, response) => answer(response, 200, `answer to ${url}`))
  })
  const client = await RawClient.connect(host.url)
  const socket = await connected.promise
  const begun = ['GET /first HTTP/1.1\r\nHost: x\r\n\r\n', 'GET /second HTTP/1.1\r\n']
  client.send(begun[0] ?? '')
  await client.until(/answer to .first/)
  client.send(begun[1] ?? '')
  while (socket.bytesRead < begun.join('').length) await new Promise(setImmediate)
  const closed = host.close(new AbortController().signal)
  client.send('Host: x\r\n\r\n')
  expect(await client.closed).toMatch(/Connection: close[^]*answer to .second/)
  await closed
})

test('the requests of a connection have the same two ends, and an error of a response that nobody listens to harms nobody', async () => {
  const seen = new Set<unknown>()
  const host = await listening({}, (shared) => {
    shared.onRequest(undefined, (_request, response, endpoints) => {
      seen.add(endpoints)
      response.emit('error', new Error('nobody hears it'))
      answer(response, 200, String(seen.size))
    })
  })
  const client = await RawClient.connect(host.url)
  for (const path of ['/one', '/two']) {
    client.send(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await client.until(path === '/one' ? /\n1\n/ : /\n1\n[^]*\n1\n/)
  }
  const { localPort } = client.socket
  expect([...seen]).toMatchObject([{ client: ['127.0.0.1', localPort], server: ['127.0.0.1', expect.any(Number)] }])
  client.end()
})

test('closing waits for the answer that is under way, and closes its connection after it', async () => {
  const asked = Promise.withResolvers<() => void>()
  const host = await listening({}, (shared) => {
    shared.onRequest(undefined, (_request, response) => asked.resolve(() => answer(response, 200, 'late')))
  })
  const client = await RawClient.connect(host.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const go = await asked.promise
  const closed = host.close(new AbortController().signal)
  go()
  expect(await client.closed).toMatch(/late\n$/)
  await closed
})

test('closing cuts requests and upgrades when its time is over', async () => {
  const host = await listening({}, (shared) => {
    shared.onRequest(undefined, () => undefined)
    shared.onUpgrade(undefined, (_request, socket) => void socket.write('upgraded'))
  })
  const stuck = await RawClient.connect(host.url)
  stuck.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const upgraded = await RawClient.connect(host.url)
  upgraded.send(upgrade('/'))
  await upgraded.until(/upgraded/)
  const deadline = new AbortController()
  const closed = host.close(deadline.signal)
  deadline.abort()
  await closed
  await Promise.all([stuck.closed, upgraded.closed])
})

test('a certificate makes it https, from TLS 1.2 up', async () => {
  const host = await listening({ tls }, (shared) => {
    shared.onRequest(undefined, (_request, response) => answer(response, 200, 'secure'))
  })
  expect(host.url).toMatch(/^https:/)
  const ca = readFileSync(`${base}/cert.pem`)
  const request = secureRequest(host.url, { ca, agent: false })
  request.end()
  const [response] = await once(request, 'response')
  const [body] = await once(response, 'data')
  expect(String(body)).toBe('secure\n')
  const { port } = new URL(host.url)
  const old = connectTls({
    port: Number(port),
    host: '127.0.0.1',
    ca,
    maxVersion: 'TLSv1.1',
    minVersion: 'TLSv1',
    ciphers: 'ALL:@SECLEVEL=0',
  })
  const [error] = await once(old, 'error')
  expect(hasCode(error, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')).toBe(true)
})

test('plain bytes on the TLS port, and handshakes that never end, do no harm', async () => {
  const host = await listening({ tls, headersTimeout: 200 })
  const plain = await RawClient.connect(host.url)
  plain.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const silent = await RawClient.connect(host.url)
  await Promise.all([plain.closed, silent.closed])
  const half = await RawClient.connect(host.url)
  half.send('\x16\x03\x01')
  await host.close(AbortSignal.abort())
  await half.closed
})

test.each([
  [
    'a missing certificate',
    { cert: 'absent.pem', key: 'key.pem' },
    /the certificate absent\.pem cannot be read: ENOENT/,
  ],
  ['a missing key', { cert: 'cert.pem', key: 'absent.pem' }, /the key absent\.pem cannot be read: ENOENT/],
  [
    'a file that is no PEM',
    { cert: '../services.ts', key: 'key.pem' },
    /the certificate \.\.\/services\.ts and the key key\.pem cannot be used/,
  ],
])('%s is an error that names the file', (_name, files, expected) => {
  let error: unknown
  try {
    createHttpHost({ address, tls: files }, base)
  } catch (problem) {
    error = problem
  }
  expect(hasCode(error, 'listen_failed')).toBe(true)
  expect(reason(error)).toMatch(expected)
})

test('a peer that asks for CONNECT and breaks off ends nothing', async () => {
  const host = await listening()
  const accepted = once(host.server, 'connect')
  const client = await RawClient.connect(host.url)
  client.send('CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n')
  const [, socket] = (await accepted) as [unknown, Socket]
  const closed = new Promise((resolve) => socket.once('close', resolve))
  // Without a listener Node raises it for nobody to catch.
  expect(socket.listenerCount('error')).toBeGreaterThan(0)
  client.reset()
  await closed
})

test('closing leaves an upgraded connection to the protocol that has it', async () => {
  const taken = Promise.withResolvers<Duplex>()
  const host = await listening({}, (shared) => shared.onUpgrade(undefined, (_request, socket) => taken.resolve(socket)))
  const client = await RawClient.connect(host.url)
  client.send(upgrade('/'))
  const socket = await taken.promise
  const closed = host.close(new AbortController().signal)
  socket.end('good-bye')
  expect(await client.closed).toBe('good-bye')
  await closed
})

test('closing does not wait for the rest of a request that was answered', async () => {
  const host = await listening()
  const client = await RawClient.connect(host.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab')
  await client.until(/^HTTP\/1\.1 404/)
  await host.close(new AbortController().signal)
  expect(await client.closed).toMatch(/^HTTP\/1\.1 404/)
})

test('a connection that asks no more is closed', async () => {
  const host = await listening({ keepAliveTimeout: 1 })
  const client = await RawClient.connect(host.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(await client.closed).toMatch(/^HTTP\/1\.1 404[^]*Not Found\n$/)
})

/** What HTTP peers do wrong, by accident or on purpose, and what they are answered. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { RawClient } from '../../support/raw-client.ts'
import { readBody, serveHttp, text, type HttpApplication } from './support.ts'

const echo: HttpApplication = async (_scope, receive, send) => {
  const content = await readBody(receive)
  await send({ type: 'http.response.start', status: 200 })
  await send({ type: 'http.response.body', body: content })
}

test('a body that is announced too large is answered 413 before the application hears of it', async () => {
  await using server = await serveHttp(echo, { maxBodySize: '1KiB' })
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n')
  expect(await client.until(/\r\n\r\n.+\n$/)).toMatch(/^HTTP\/1\.1 413 Payload Too Large\r\n[^]*connection: close/i)
  client.send('x'.repeat(1025))
  await client.closed
  expect(server.test.outcomes).toEqual([])
})

test('Expect: 100-continue of a body that is too large is answered 413 instead of an invitation', async () => {
  await using server = await serveHttp(echo, { maxBodySize: '1KiB' })
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n')
  expect(await client.until(/\r\n\r\n.+\n$/)).toMatch(/^HTTP\/1\.1 413/)
  client.end()
  await client.closed
})

test('another expectation is answered 417', async () => {
  await using server = await serveHttp(echo)
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nExpect: a-miracle\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
  expect(await client.closed).toMatch(/^HTTP\/1\.1 417/)
})

test('a chunked body is answered 413 when it grows too large, and the application is interrupted', async () => {
  await using server = await serveHttp(echo, { maxBodySize: '1KiB' })
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
  const chunk = `200\r\n${'x'.repeat(512)}\r\n`
  client.send(chunk, chunk, chunk)
  expect(await client.until(/\r\n\r\n.+\n$/)).toMatch(/^HTTP\/1\.1 413/)
  client.send(chunk, '0\r\n\r\n')
  await client.closed
  await server.test.idle()
  expect(server.test.outcomes[0]).toMatchObject({ kind: 'raised' })
})

test('a body without an end is cut off, also when the response is out already', async () => {
  await using server = await serveHttp(text('early'), { maxBodySize: '64KiB' })
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
  await client.until(/early/)
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
  const more = setInterval(() => client.send(chunk), 1)
  await client.closed
  clearInterval(more)
})

test('headers over the limit are answered 431', async () => {
  await using server = await serveHttp(echo, { maxHeaderSize: '4KiB' })
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n', `X-Long: ${'a'.repeat(1024 * 1024)}\r\n\r\n`)
  expect(await client.closed).toMatch(/^HTTP\/1\.1 431/)
})

test('many small headers are all in the scope: none vanishes', async () => {
  await using server = await serveHttp(
    async (scope, receive, send) => {
      await text(String(scope.headers.length))(scope, receive, send, undefined as never)
    },
    { maxHeaderSize: '64KiB' },
  )
  const client = await RawClient.connect(server.url)
  client.send(`GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${'a:b\r\n'.repeat(5000)}\r\n`)
  expect(await client.closed).toMatch(/\r\n\r\n5002$/)
})

test.each([
  ['a request line without a version', 'GET /\r\n\r\n'],
  ['a version that does not exist', 'GET / HTTP/4.2\r\nHost: x\r\n\r\n'],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
  ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
  ['a control character in a header', 'GET / HTTP/1.1\r\nHost: x\r\nX-Bad: a\x01b\r\n\r\n'],
  ['a NUL in a header', 'GET / HTTP/1.1\r\nHost: x\r\nX-Bad: a\0b\r\n\r\n'],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost: x\r\nX-Bad : a\r\n\r\n'],
  ['a folded header', 'GET / HTTP/1.1\r\nHost: x\r\nX-Bad: a\r\n b\r\n\r\n\x00'],
  ['a bare CR in a header', 'GET / HTTP/1.1\r\nHost: x\r\nX-Bad: a\rX-Worse: b\r\n\r\n'],
  ['a bad escape in the path', 'GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['half an escape', 'GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an escape that is no UTF-8', 'GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['a length that is no number', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n'],
  ['a negative length', 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n'],
  ['a huge length', `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${'9'.repeat(30)}\r\n\r\n`],
  ['another protocol', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello in TLS'],
  ['an MQTT client', '\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test'],
])('%s is answered 400', async (_name, bytes) => {
  await using server = await serveHttp(echo)
  const client = await RawClient.connect(server.url)
  client.send(Buffer.from(bytes, 'latin1'))
  client.end()
  expect(await client.closed).toMatch(/^(HTTP\/1\.1 400 Bad Request\r\n[^]*)$/)
  expect(server.test.open.size).toBe(0)
})

test.each([
  ['length and chunks', 'Content-Length: 4\r\nTransfer-Encoding: chunked', '0\r\n\r\n'],
  ['chunks and length', 'Transfer-Encoding: chunked\r\nContent-Length: 4', '0\r\n\r\n'],
  ['two lengths', 'Content-Length: 4\r\nContent-Length: 5', 'body'],
  ['a list of lengths', 'Content-Length: 4, 5', 'body'],
  ['chunked twice', 'Transfer-Encoding: chunked, chunked', '0\r\n\r\n'],
  ['chunked not last', 'Transfer-Encoding: chunked, identity', '0\r\n\r\n'],
  ['chunked in disguise', 'Transfer-Encoding: xchunked', '0\r\n\r\n'],
  ['a tab in front', 'Transfer-Encoding:\x0bchunked', '0\r\n\r\n'],
  ['a chunk size with junk', 'Transfer-Encoding: chunked', '4x\r\nbody\r\n0\r\n\r\n'],
  ['a chunk with a bare LF', 'Transfer-Encoding: chunked', '4\nbody\n0\n\n'],
])('a smuggled request does not get through: %s', async (_name, headers, content) => {
  const paths: string[] = []
  await using server = await serveHttp(async (scope, receive, send) => {
    paths.push(scope.path)
    await echo(scope, receive, send, undefined as never)
  })
  const client = await RawClient.connect(server.url)
  client.send(`POST /outer HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n${content}GET /inner HTTP/1.1\r\nHost: x\r\n\r\n`)
  client.end()
  expect(await client.closed).toMatch(/^HTTP\/1\.1 400/)
  expect(paths).not.toContain('/inner')
  await server.test.idle()
})

test('a broken request after a good one does not spoil the answer to the good one', async () => {
  const gate = Promise.withResolvers<void>()
  await using server = await serveHttp(async (_scope, _receive, send) => {
    await send({ type: 'http.response.start', status: 200, headers: [['content-length', '10']] })
    await send({ type: 'http.response.body', body: 'first', moreBody: true })
    await gate.promise
    await send({ type: 'http.response.body', body: 'after' })
  })
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\ngarbage\r\n\r\n')
  await client.until(/\r\n\r\nfirst$/)
  gate.resolve()
  expect(await client.closed).toMatch(/\r\n\r\nfirstafterHTTP\/1\.1 400 [^]*\r\n\r\n$/)
  await server.test.idle()
})

test('a second request that is broken is answered 400', async () => {
  await using server = await serveHttp(text('fine'))
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await client.until(/fine/)
  client.send('garbage\r\n\r\n')
  expect(await client.closed).toMatch(/fineHTTP\/1\.1 400/)
})

/** Sends a little now and then, until there is an answer: what is written to a connection that is closed takes the answer with it. */
function trickle(client: RawClient, next: () => string): void {
  const timer = setInterval(() => client.send(next()), 20)
  client.socket.once('data', () => clearInterval(timer)).once('close', () => clearInterval(timer))
}

test('a peer that trickles its headers is answered 408', async () => {
  await using server = await serveHttp(echo, { headersTimeout: '200ms' })
  const client = await RawClient.connect(server.url)
  const bytes = 'GET / HTTP/1.1\r\nHost: x\r\n'.split('')
  trickle(client, () => bytes.shift() ?? 'x')
  expect(await client.closed).toMatch(/^HTTP\/1\.1 408/)
})

test('a peer that connects and says nothing is cut', async () => {
  await using server = await serveHttp(echo, { headersTimeout: '200ms' })
  const client = await RawClient.connect(server.url)
  expect(await client.closed).toMatch(/^(HTTP\/1\.1 408[^]*)?$/)
})

test('a peer that trickles its body is answered 408, and its scope ends', async () => {
  await using server = await serveHttp(echo, { requestTimeout: '300ms', headersTimeout: '200ms' })
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n')
  trickle(client, () => 'x')
  expect(await client.closed).toMatch(/^HTTP\/1\.1 408/)
  await server.test.idle()
})

test.each([
  ['in parts', true],
  ['whole', false],
])('a peer that takes nothing of a response that is sent %s is cut', async (_name, parts) => {
  await using server = await serveHttp(
    async (_scope, _receive, send, { signal }) => {
      const body = new Uint8Array(parts ? 100_000 : 50_000_000)
      await send({ type: 'http.response.start', status: 200 })
      if (!parts) return send({ type: 'http.response.body', body })
      while (!signal.aborted) await send({ type: 'http.response.body', body, moreBody: true })
    },
    { sendTimeout: '100ms' },
  )
  const client = await RawClient.connect(server.url)
  client.socket.pause()
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  while (server.listener.connections === 0) await new Promise(setImmediate)
  while (server.listener.connections > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  client.reset()
  await server.test.idle()
})

test('a peer that takes its response slowly, but does take it, gets all of it', async () => {
  const size = 20_000_000
  await using server = await serveHttp(
    async (_scope, _receive, send) => {
      await send({ type: 'http.response.start', status: 200 })
      await send({ type: 'http.response.body', body: new Uint8Array(size) })
    },
    { sendTimeout: '1s' },
  )
  const client = await RawClient.connect(server.url)
  let length = 0
  client.socket.on('data', (chunk) => {
    length += chunk.length
    client.socket.pause()
    setTimeout(() => client.socket.resume(), 5)
  })
  client.send('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  await client.closed
  expect(length).toBeGreaterThan(size)
})

test('an application that is quiet for longer than sendTimeout in the middle of its response is not cut', async () => {
  await using server = await serveHttp(
    async (_scope, _receive, send) => {
      await send({ type: 'http.response.start', status: 200 })
      await send({ type: 'http.response.body', body: new Uint8Array(5_000_000), moreBody: true })
      await new Promise((resolve) => setTimeout(resolve, 1000))
      await send({ type: 'http.response.body', body: 'end' })
    },
    { sendTimeout: '600ms' },
  )
  expect((await (await fetch(server.url)).text()).endsWith('end')).toBe(true)
})

test('more requests than maxRequests at a time are answered 503', async () => {
  const gate = Promise.withResolvers<void>()
  await using server = await serveHttp(
    async (scope, receive, send) => {
      await gate.promise
      await text('served')(scope, receive, send, undefined as never)
    },
    { maxRequests: 2 },
  )
  const client = await RawClient.connect(server.url)
  const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
  client.send(get, get)
  while (server.listener.connections < 2) await new Promise(setImmediate)
  expect((await fetch(server.url)).status).toBe(503)
  gate.resolve()
  await client.until(/served[^]*served/)
  client.end()
})

test('more connections than maxConnections are closed', async () => {
  await using server = await serveHttp(text('served'), { maxConnections: 1 })
  const first = await RawClient.connect(server.url)
  first.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await first.until(/served/)
  const second = await RawClient.connect(server.url)
  expect(await second.closed).toBe('')
  first.end()
})

test('requests that no rule takes are answered 404 and counted with their address', async () => {
  const application: HttpApplication = Object.assign(text('never').bind(undefined), { resolve: () => undefined })
  await using server = await serveHttp(application)
  expect((await fetch(`${server.url}/nowhere?x`)).status).toBe(404)
  expect(server.test.unrouted).toEqual(['/nowhere'])
  expect(server.test.outcomes).toEqual([])
})

test('CONNECT is refused', async () => {
  await using server = await serveHttp(echo)
  const client = await RawClient.connect(server.url)
  client.send('CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n')
  expect(await client.closed).toMatch(/^HTTP\/1\.1 405/)
})

test('an upgrade to something else is served as a plain request', async () => {
  await using server = await serveHttp(text('plain'))
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n')
  await client.until(/200 OK[^]*plain$/)
  client.end()
})

test('whatever bytes come, the server lives and no scope is left', async () => {
  await using server = await serveHttp(echo)
  const pieces = fc.constantFrom(
    'GET / HTTP/1.1\r\n',
    'POST /x HTTP/1.1\r\n',
    'Host: x\r\n',
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Connection: upgrade\r\nUpgrade: websocket\r\n',
    'Expect: 100-continue\r\n',
    '\r\n',
    'hello',
    '5\r\nhello\r\n',
    '0\r\n\r\n',
    '\0',
  )
  const bytes = fc.oneof(
    pieces.map((piece) => Buffer.from(piece)),
    fc.uint8Array({ maxLength: 20 }).map((raw) => Buffer.from(raw)),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { maxLength: 12 }), fc.boolean(), async (parts, reset) => {
      const client = await RawClient.connect(server.url)
      client.send(...parts)
      if (reset) client.reset()
      else client.end()
      await client.closed
    }),
    { numRuns: 200 },
  )
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
  expect((await fetch(server.url, { method: 'POST', body: 'still here' })).status).toBe(200)
})

test('2,000 peers that come and go in every phase leave nothing behind', async () => {
  await using server = await serveHttp(async (scope, receive, send, context) => {
    if (scope.path === '/channel') context.channel.toString()
    await echo(scope, receive, send, context)
  })
  const requests = [
    '',
    'GET / HT',
    'GET /channel HTTP/1.1\r\nHost: x\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf',
    'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel',
    'GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(5),
    'POST /channel HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalfGET / HTTP/1.1\r\n\r\n',
  ]
  for (let round = 0; round < 20; round++) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const client = await RawClient.connect(server.url)
        client.send(requests[index % requests.length] ?? '')
        if (index % 3 === 0) await new Promise(setImmediate)
        if (index % 2 === 0) client.reset()
        else client.end()
        await client.closed
      }),
    )
  }
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
  expect(server.test.layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

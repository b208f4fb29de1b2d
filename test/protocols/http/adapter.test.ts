/** HTTP from the wire to the application and back: scopes, bodies, responses. */
import { request as httpRequest } from 'node:http'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { HttpProtocol, HttpScope } from '../../../protocols/http/scope.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { RawClient } from '../../support/raw-client.ts'
import { readBody, serveHttp, text, type HttpApplication } from './support.ts'

type Sent = HttpProtocol['send']

/** Sends these events, in this order. */
function says(...events: readonly Sent[]): HttpApplication {
  return async (_scope, _receive, send) => {
    for (const event of events) await send(event)
  }
}

const start = (status = 200, headers: readonly (readonly [string, string])[] = []): Sent => ({
  type: 'http.response.start',
  status,
  headers,
})
const body = (content?: string | Uint8Array, moreBody?: boolean): Sent => ({
  type: 'http.response.body',
  ...(content !== undefined && { body: content }),
  ...(moreBody !== undefined && { moreBody }),
})

test('a request becomes a scope of plain data with everything that the request line and the headers say', async () => {
  const scopes: HttpScope[] = []
  await using server = await serveHttp(async (scope, receive, send) => {
    scopes.push(scope)
    await text('seen')(scope, receive, send, undefined as never)
  })
  const client = await RawClient.connect(server.url)
  const port = client.socket.localPort ?? 0
  client.send(
    'PUT /a%20b/%C3%A9?x=1&y=%20 HTTP/1.1\r\nHost: example.org\r\nX-Two: 1\r\nx-two: 2\r\nConnection: close\r\n\r\n',
  )
  expect(await client.closed).toContain('200 OK')
  const [scope] = scopes
  expect(structuredClone(scope)).toEqual(scope)
  expect(scope).toMatchObject({
    type: 'http',
    httpVersion: '1.1',
    method: 'PUT',
    scheme: 'http',
    path: '/a b/é',
    rawPath: '/a%20b/%C3%A9',
    queryString: 'x=1&y=%20',
    rootPath: '',
    headers: [
      ['host', 'example.org'],
      ['x-two', '1'],
      ['x-two', '2'],
      ['connection', 'close'],
    ],
    client: ['127.0.0.1', port],
    server: ['127.0.0.1', Number(new URL(server.url).port)],
  })
})

test('an absolute request target, as proxies send it, is taken for its path', async () => {
  await using server = await serveHttp(async (scope, receive, send) =>
    text(scope.path)(scope, receive, send, undefined as never),
  )
  const client = await RawClient.connect(server.url)
  client.send('GET http://elsewhere.example/deep?x HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n')
  expect(await client.closed).toMatch(/\r\n\r\n\/deep$/)
})

test('the scope has the root path whether or not the proxy has taken it off', async () => {
  await using server = await serveHttp(
    async (scope, receive, send) => text(scope.path)(scope, receive, send, undefined as never),
    {
      rootPath: '/gateway',
    },
  )
  expect(await (await fetch(`${server.url}/gateway/chat`)).text()).toBe('/gateway/chat')
  expect(await (await fetch(`${server.url}/chat`)).text()).toBe('/gateway/chat')
  expect(await (await fetch(`${server.url}/gateways`)).text()).toBe('/gateway/gateways')
})

test('a request body arrives whole and in order, whatever the chunks it came in', async () => {
  await using server = await serveHttp(async (_scope, receive, send) => {
    const content = await readBody(receive)
    await send(start())
    await send(body(content))
  })
  const agentRequest = (parts: readonly Uint8Array[], headers: Record<string, string>) =>
    new Promise<Buffer>((resolve, reject) => {
      const request = httpRequest(server.url, { method: 'POST', headers }, (response) => {
        const got: Buffer[] = []
        response.on('data', (part: Buffer) => got.push(part))
        response.on('end', () => resolve(Buffer.concat(got)))
      })
      request.on('error', reject)
      for (const part of parts) request.write(part)
      request.end()
    })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 8 }),
      fc.boolean(),
      async (parts, chunked) => {
        const whole = Buffer.concat(parts)
        const headers: Record<string, string> = chunked ? {} : { 'content-length': String(whole.length) }
        expect(await agentRequest(parts, headers)).toEqual(whole)
      },
    ),
    { numRuns: 40 },
  )
})

test('a body is streamed into the application while it still comes', async () => {
  const first = Promise.withResolvers<string>()
  await using server = await serveHttp(async (_scope, receive, send) => {
    const event = await receive()
    if (event.type === 'http.request') first.resolve(Buffer.from(event.body).toString())
    const rest = await readBody(receive)
    await send(start())
    await send(body(rest))
  })
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfirst\r\n')
  expect(await first.promise).toBe('first')
  client.send('4\r\nlast\r\n0\r\n\r\n')
  expect(await client.closed).toMatch(/last$/)
})

test('a response is streamed out while the application still writes it', async () => {
  const gate = Promise.withResolvers<void>()
  await using server = await serveHttp(async (_scope, _receive, send) => {
    await send(start())
    await send(body('one', true))
    await gate.promise
    await send(body('two', true))
    await send(body())
  })
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  expect(await client.until(/one\r\n/)).toContain('Transfer-Encoding: chunked')
  gate.resolve()
  expect(await client.closed).toMatch(/3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n$/)
})

test('an empty first part sends the head at once', async () => {
  await using server = await serveHttp(async (_scope, receive, send) => {
    await send(start(200, [['content-type', 'text/event-stream']]))
    await send(body('', true))
    while ((await receive()).type !== 'http.disconnect');
  })
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(await client.until(/\r\n\r\n/)).toContain('text/event-stream')
  client.end()
  await server.test.idle()
})

test.each<[string, string | Uint8Array, string]>([
  ['a text', 'héllo', 'yes'],
  ['bytes', Buffer.from('héllo'), 'yes'],
  ['a text under a head that is not ASCII', 'héllo', 'Zoë'],
  ['bytes under a head that is not ASCII', Buffer.from('héllo'), 'Zoë'],
])('a whole response of one part gets its content-length, and head and body in one piece: %s', async (_, sent, own) => {
  await using server = await serveHttp(says(start(200, [['x-own', own]]), body(sent)))
  const client = await RawClient.connect(server.url)
  const chunks: string[] = []
  client.socket.on('data', (chunk) => chunks.push(String(chunk)))
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await client.until(/llo$/)
  expect(chunks).toHaveLength(1)
  expect(chunks[0]).toContain('content-length: 6\r\n')
  expect(chunks[0]).toContain(`x-own: ${own}\r\n`)
  expect(chunks[0]).toMatch(/\r\n\r\nh\u00c3\u00a9llo$/)
  client.end()
})

test('header values are latin-1 on the wire, also in front of a text', async () => {
  await using server = await serveHttp(says(start(200, [['x-name', 'Zoë']]), body('é')))
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  const answer = await client.closed
  expect(answer).toContain('x-name: Zo\u00eb\r\n')
  expect(answer).toMatch(/\u00c3\u00a9$/)
})

test('repeated headers keep their order and their repeats', async () => {
  await using server = await serveHttp(
    says(
      start(200, [
        ['set-cookie', 'a=1'],
        ['x-other', 'x'],
        ['set-cookie', 'b=2'],
      ]),
      body(''),
    ),
  )
  const response = await fetch(server.url)
  expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
})

test.each(['HEAD', 'GET'])(
  '%s: a status without a body has none, and no framing that says otherwise',
  async (method) => {
    await using server = await serveHttp(async (scope, receive, send) => {
      const status = Number(scope.path.slice(1))
      await says(start(status, [['content-length', '4']]), body('body'))(scope, receive, send, undefined as never)
    })
    const client = await RawClient.connect(server.url)
    client.send(`${method} /204 HTTP/1.1\r\nHost: x\r\n\r\n`)
    expect(await client.until(/204[^]*\r\n\r\n$/)).not.toMatch(/content-length|transfer-encoding|body/i)
    client.send(`${method} /304 HTTP/1.1\r\nHost: x\r\n\r\n`)
    expect(await client.until(/304[^]*\r\n\r\n$/)).not.toMatch(/body/)
    client.send(`GET /200 HTTP/1.1\r\nHost: x\r\n\r\n`)
    await client.until(/200 OK[^]*\r\n\r\nbody$/)
    client.end()
  },
)

test('HEAD is answered with the head that GET would get', async () => {
  await using server = await serveHttp(says(start(), body('hello')))
  const client = await RawClient.connect(server.url)
  client.send('HEAD / HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(await client.until(/\r\n\r\n$/)).toContain('content-length: 5')
  client.send('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  expect(await client.closed).toMatch(/hello$/)
})

test('HEAD of a streamed response is answered at its first part', async () => {
  await using server = await serveHttp(async (_scope, receive, send) => {
    await send(start())
    await send(body('endless', true))
    while ((await receive()).type !== 'http.disconnect');
  })
  expect((await fetch(server.url, { method: 'HEAD' })).status).toBe(200)
  await server.test.idle()
})

test('HTTP/1.0 gets a body that ends with the connection', async () => {
  await using server = await serveHttp(says(start(), body('one', true), body('two')))
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.0\r\n\r\n')
  const answer = await client.closed
  expect(answer).not.toMatch(/transfer-encoding/i)
  expect(answer).toMatch(/\r\n\r\nonetwo$/)
})

test('a connection serves one request after another, also when the application did not read the body', async () => {
  await using server = await serveHttp(text('done'))
  const client = await RawClient.connect(server.url)
  for (let number = 1; number <= 3; number++) {
    client.send(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(200_000)}`)
    await client.until(new RegExp(`(?:done[^]*){${number}}$`))
  }
  client.end()
})

test('pipelined requests are answered in the order they came, whichever is ready first', async () => {
  const slow = Promise.withResolvers<void>()
  await using server = await serveHttp(async (scope, receive, send) => {
    if (scope.path === '/slow') await slow.promise
    else queueMicrotask(slow.resolve)
    await text(`<${scope.path}>`)(scope, receive, send, undefined as never)
  })
  const client = await RawClient.connect(server.url)
  client.send('GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /fast HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(await client.until(/fast/)).toMatch(/<\/slow>[^]*<\/fast>/)
  client.end()
})

test('Expect: 100-continue is told to go on when the request is taken', async () => {
  await using server = await serveHttp(async (_scope, receive, send) => {
    await send(start())
    await send(body(await readBody(receive)))
  })
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n')
  await client.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/)
  client.send('body')
  await client.until(/200 OK[^]*body$/)
  client.end()
})

test('a peer that leaves aborts the signal of its scope and ends it with http.disconnect', async () => {
  const taken = Promise.withResolvers<void>()
  const seen = Promise.withResolvers<unknown>()
  await using server = await serveHttp(async (_scope, receive, _send, context) => {
    await receive()
    taken.resolve()
    const aborted = new Promise((resolve) =>
      context.signal.addEventListener('abort', () => resolve(context.signal.reason)),
    )
    const event = await receive()
    seen.resolve([event.type, hasCode(await aborted, 'disconnected')])
  })
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await taken.promise
  client.reset()
  expect(await seen.promise).toEqual(['http.disconnect', true])
  await server.test.idle()
})

test('what is sent after the peer left is dropped without an error', async () => {
  const taken = Promise.withResolvers<void>()
  const late = Promise.withResolvers<void>()
  await using server = await serveHttp(async (_scope, receive, send) => {
    await receive()
    taken.resolve()
    await receive()
    await send(start())
    await send(body('too late', true))
    await send(body('nobody is there'))
    late.resolve()
  })
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await taken.promise
  client.reset()
  await late.promise
  await server.test.idle()
  expect(server.test.outcomes[0]?.kind).not.toBe('raised')
})

test('an application that goes on after its response gets http.disconnect next', async () => {
  const next = Promise.withResolvers<string>()
  await using server = await serveHttp(async (scope, receive, send) => {
    await receive()
    await text('done')(scope, receive, send, undefined as never)
    next.resolve((await receive()).type)
  })
  expect(await (await fetch(server.url)).text()).toBe('done')
  expect(await next.promise).toBe('http.disconnect')
})

test('send waits while the peer does not read', async () => {
  let sent = 0
  const part = new Uint8Array(64 * 1024)
  await using server = await serveHttp(async (_scope, _receive, send, { signal }) => {
    await send(start())
    for (; !signal.aborted && sent < 2000; sent++) await send(body(part, true))
  })
  const client = await RawClient.connect(server.url)
  client.socket.pause()
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  let before = -1
  while (sent !== before) {
    before = sent
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  expect(sent).toBeLessThan(500)
  client.reset()
  await server.test.idle()
})

test('a peer that sends more than the application reads is not read from', async () => {
  const go = Promise.withResolvers<void>()
  const got = Promise.withResolvers<number>()
  await using server = await serveHttp(
    async (_scope, receive, send) => {
      await go.promise
      got.resolve((await readBody(receive)).length)
      await send(start())
      await send(body(''))
    },
    { maxBodySize: '100MiB' },
  )
  const client = await RawClient.connect(server.url)
  const size = 50 * 1024 * 1024
  client.send(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`)
  client.socket.write(new Uint8Array(size))
  let before = -1
  while (client.socket.bytesWritten - client.socket.writableLength !== before) {
    before = client.socket.bytesWritten - client.socket.writableLength
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  expect(client.socket.writableLength).toBeGreaterThan(0)
  go.resolve()
  expect(await got.promise).toBe(size)
  await client.until(/200 OK/)
  client.end()
})

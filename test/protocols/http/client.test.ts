/** `signalbox send http` against a listener. */
import { expect, test } from '@jest/globals'
import { client } from '../../../protocols/http/client.ts'
import { httpHandler } from '../../../protocols/http/consumer.ts'
import { httpOptions } from '../../../protocols/http/options.ts'
import { http } from '../../../protocols/http/protocol.ts'
import { serveHttp, text } from './support.ts'

function target(url: string, tls?: { readonly cert: string; readonly key: string }) {
  const options = httpOptions.parse({ address: new URL(url).host, ...(tls && { tls }) })
  return { options, http: options, signal: new AbortController().signal }
}

const echo = httpHandler(async (request) => {
  const seen = [request.method, request.path, request.headers.get('x-own'), await request.text()]
  return new Response(seen.join(' '))
})

test('a request is sent, and its answer is what is printed', async () => {
  await using server = await serveHttp(echo)
  const answer = await client.send(['post', '/a'], { body: 'text', header: 'x-own: yes' }, target(server.url))
  expect(answer).toEqual({ positive: true, text: '200 OK\n\nPOST /a yes text' })
})

test.each([
  [204, true],
  [301, true],
  [404, false],
  [500, false],
])('%d is positive or not: %s', async (status, positive) => {
  await using server = await serveHttp(text('x', status))
  expect((await client.send(['GET', '/'], {}, target(server.url))).positive).toBe(positive)
})

test('it speaks TLS where the listener does', async () => {
  const tls = { cert: 'cert.pem', key: 'key.pem' }
  await using server = await serveHttp(text('secure'), { tls }, { base: 'test/support/tls' })
  expect(server.url).toMatch(/^https:/)
  expect((await client.send(['GET', '/'], {}, target(server.url, tls))).text).toBe('200 OK\n\nsecure')
})

test.each([
  [[], {}],
  [['GET'], {}],
  [['GET', 'tickets'], {}],
  [['GET', '/'], { header: 'no colon' }],
])('%j %j is an error in words', async (arguments_, options) => {
  await expect(client.send(arguments_, options, target('http://127.0.0.1:1'))).rejects.toMatchObject({
    code: 'bad_address',
  })
})

test('nobody there is an error', async () => {
  await expect(client.send(['GET', '/'], {}, target('http://127.0.0.1:1'))).rejects.toThrow(/ECONNREFUSED/)
})

test('its definition makes a scope of an address, and refuses what is none', () => {
  expect(http.sampleScope('/a%20b?x')).toMatchObject({ type: 'http', path: '/a b', queryString: 'x', rootPath: '' })
  expect(() => http.sampleScope('a')).toThrow(/expected a path/)
  expect(() => http.sampleScope('/%zz')).toThrow(/expected a path/)
})

test('options: defaults, units, and what is wrong in words', () => {
  expect(httpOptions.parse({})).toEqual({
    address: { host: '127.0.0.1', port: 8000 },
    rootPath: '',
    maxBodySize: 10 * 2 ** 20,
    maxHeaderSize: 16 * 2 ** 10,
    maxRequests: 10_000,
    maxConnections: 10_000,
    handlerTimeout: 60_000,
    sendTimeout: 60_000,
    headersTimeout: 15_000,
    requestTimeout: 120_000,
    keepAliveTimeout: 15_000,
  })
  const problem = (options: object) => httpOptions.safeParse(options).error?.issues[0]
  expect(problem({ rootPath: 'gateway/' })?.message).toMatch(/expected a path such as \/gateway/)
  expect(problem({ headersTimeout: '3m' })).toMatchObject({
    path: ['headersTimeout'],
    message: expect.stringMatching(/no more than requestTimeout/),
  })
  expect(problem({ maxBodySize: '10' })?.message).toMatch(/a size with its unit/)
  expect(problem({ max: 1 })).toMatchObject({ code: 'unrecognized_keys' })
})

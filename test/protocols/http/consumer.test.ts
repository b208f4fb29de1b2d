/** Consumers and handler functions for HTTP, over the wire. */
import { expect, test } from '@jest/globals'
import { HttpConsumer, httpHandler, type HttpReply } from '../../../protocols/http/consumer.ts'
import type { HttpRequestReader } from '../../../protocols/http/request.ts'
import { reason } from '../../../src/runtime/errors.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { RawClient } from '../../support/raw-client.ts'
import { serveHttp } from './support.ts'

const post = (url: string, body: string) => fetch(url, { method: 'POST', body })

test('a handler function gets the request and answers with a Response', async () => {
  await using server = await serveHttp(
    httpHandler(({ method, path, query, headers }) => {
      const seen = { method, path, name: query.get('name'), accept: headers.get('accept') }
      return Response.json(seen, { status: 201, headers: { 'x-own': 'yes' } })
    }),
  )
  const response = await fetch(`${server.url}/caf%C3%A9?name=ann`, { headers: { accept: 'text/html' } })
  expect(response.status).toBe(201)
  expect(response.headers.get('x-own')).toBe('yes')
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(Number(response.headers.get('content-length'))).toBeGreaterThan(0)
  expect(await response.json()).toEqual({ method: 'GET', path: '/café', name: 'ann', accept: 'text/html' })
})

test('a handler answers with plain values too: status, headers, and a text, bytes or JSON', async () => {
  await using server = await serveHttp(
    httpHandler(async ({ path }) => {
      if (path === '/bytes') return { body: Buffer.from([0, 127, 128, 255]) }
      if (path === '/json') return { status: 201, headers: { 'X-Own': ['a', 'b'] }, json: { name: 'Zoë' } }
      if (path === '/html') return { headers: { 'Content-Type': 'text/html' }, body: '<p>héllo' }
      return path === '/empty' ? {} : { body: 'héllo' }
    }),
  )
  const ask = async (path: string) => {
    const { status, headers, ...response } = await fetch(server.url + path).then(async (got) => ({
      status: got.status,
      headers: got.headers,
      bytes: Buffer.from(await got.arrayBuffer()),
    }))
    return { status, type: headers.get('content-type'), own: headers.get('x-own'), bytes: response.bytes }
  }
  const plain = { status: 200, type: null, own: null }
  const text = 'text/plain;charset=UTF-8'
  expect(await ask('/')).toEqual({ ...plain, type: text, bytes: Buffer.from('héllo') })
  expect(await ask('/html')).toEqual({ ...plain, type: 'text/html', bytes: Buffer.from('<p>héllo') })
  expect(await ask('/bytes')).toEqual({ ...plain, bytes: Buffer.from([0, 127, 128, 255]) })
  expect(await ask('/empty')).toEqual({ ...plain, bytes: Buffer.alloc(0) })
  expect(await ask('/json')).toEqual({
    status: 201,
    type: 'application/json',
    own: 'a, b',
    bytes: Buffer.from('{"name":"Zoë"}'),
  })
})

test('plain values that are thrown are the answer, and an error with a status is none', async () => {
  await using server = await serveHttp(
    httpHandler(({ path }) => {
      // oxlint-disable-next-line typescript/only-throw-error -- what this test is about
      if (path === '/answer') throw { status: 403, body: 'not yours' }
      throw Object.assign(new Error('secret'), { status: 403 })
    }),
  )
  const refused = await fetch(`${server.url}/answer`)
  expect([refused.status, await refused.text()]).toEqual([403, 'not yours'])
  expect((await fetch(`${server.url}/error`)).status).toBe(500)
})

test('a body is read as bytes, text, JSON or as it comes', async () => {
  await using server = await serveHttp(
    httpHandler(async (request) => {
      if (request.path === '/text') return new Response(await request.text())
      if (request.path === '/json') return Response.json({ got: await request.json() })
      if (request.path === '/bytes') return new Response(await request.bytes())
      let parts = 0
      for await (const part of request.body) parts += part.length
      return new Response(String(parts))
    }),
  )
  expect(await (await post(`${server.url}/text`, 'héllo')).text()).toBe('héllo')
  expect(await (await post(`${server.url}/json`, '{"a":1}')).json()).toEqual({ got: { a: 1 } })
  expect(await (await post(`${server.url}/bytes`, 'abc')).text()).toBe('abc')
  expect(await (await post(`${server.url}/stream`, 'x'.repeat(300_000))).text()).toBe('300000')
  expect(await (await fetch(`${server.url}/text`)).text()).toBe('')
})

test('a body that is no JSON is answered 400', async () => {
  await using server = await serveHttp(httpHandler(async (request) => Response.json(await request.json())))
  const response = await post(server.url, '{"a":')
  expect(response.status).toBe(400)
  expect(await response.text()).toMatch(/^expected JSON: /)
})

test('a Response that is thrown is the answer', async () => {
  await using server = await serveHttp(
    httpHandler(() => {
      throw new Response('not yours', { status: 403 })
    }),
  )
  const response = await fetch(server.url)
  expect([response.status, await response.text()]).toEqual([403, 'not yours'])
})

const error = new Error('the password is hunter2')

test.each<[string, () => Promise<HttpReply> | HttpReply]>([
  [
    'thrown at once',
    () => {
      throw error
    },
  ],
  ['thrown later', () => Promise.reject(error)],
  ['that an answer makes', () => ({ json: { toJSON: () => BigInt(1) } })],
  ['that a later answer makes', async () => ({ json: { toJSON: () => BigInt(1) } })],
])('an error %s is a 500', async (_when, handle) => {
  await using server = await serveHttp(httpHandler(handle))
  const response = await fetch(server.url)
  expect([response.status, await response.text()]).toEqual([500, 'Internal Server Error\n'])
})

test.each([204, 304])('a Response without a body: %d', async (status) => {
  await using server = await serveHttp(httpHandler(() => new Response(null, { status })))
  expect((await fetch(server.url)).status).toBe(status)
})

test('cookies stay apart', async () => {
  await using server = await serveHttp(
    httpHandler(() => {
      const headers = new Headers()
      headers.append('set-cookie', 'a=1; Path=/')
      headers.append('set-cookie', 'b=2')
      return new Response('', { headers })
    }),
  )
  expect((await fetch(server.url)).headers.getSetCookie()).toEqual(['a=1; Path=/', 'b=2'])
})

test('a stream is sent as it comes', async () => {
  const gate = Promise.withResolvers<void>()
  await using server = await serveHttp(
    httpHandler(() => {
      const parts = async function* () {
        yield new TextEncoder().encode('first')
        await gate.promise
        yield new TextEncoder().encode('second')
      }
      return new Response(ReadableStream.from(parts()))
    }),
  )
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  await client.until(/first/)
  gate.resolve()
  expect(await client.closed).toMatch(/5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n$/)
})

test('a body whose end comes with its first part has a length, also when it comes as a stream', async () => {
  const bytes = new TextEncoder().encode('whole')
  await using server = await serveHttp(
    httpHandler(
      () =>
        new Response(
          new ReadableStream({
            pull(controller) {
              controller.enqueue(bytes)
              queueMicrotask(() => controller.close())
            },
          }),
        ),
    ),
  )
  const response = await fetch(server.url)
  expect([response.headers.get('content-length'), await response.text()]).toEqual(['5', 'whole'])
})

test('HEAD is answered without a body, and the connection serves another request', async () => {
  await using server = await serveHttp(httpHandler(() => new Response('hello')))
  const client = await RawClient.connect(server.url)
  client.send('HEAD / HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(await client.until(/\r\n\r\n$/)).toContain('content-length: 5')
  client.send('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  expect(await client.closed).toMatch(/hello$/)
})

test('a body that breaks off raises in the handler', async () => {
  const raised = Promise.withResolvers<unknown>()
  await using server = await serveHttp(
    httpHandler(async (request) => {
      await request.text().catch(raised.resolve)
      return new Response('')
    }),
  )
  const client = await RawClient.connect(server.url)
  client.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf')
  await client.until(/$/)
  setImmediate(() => client.reset())
  expect(await raised.promise).toMatchObject({ code: 'disconnected' })
  await server.test.idle()
})

interface Tick {
  readonly type: 'clock.tick'
  readonly at: string
}

class Clock extends HttpConsumer {
  override readonly groups = ['clock']
  #push: (text: string) => void = () => undefined

  override handle(_request: HttpRequestReader): Response {
    const stream = new ReadableStream({
      start: (controller) => {
        this.#push = (text) => controller.enqueue(new TextEncoder().encode(text))
        this.#push('listening\n')
      },
    })
    return new Response(stream, { headers: { 'content-type': 'text/event-stream' } })
  }

  async 'clock.tick'({ at }: Tick): Promise<void> {
    this.#push(`${at}\n`)
  }
}

test('messages of a group reach a consumer while it streams, and its groups are left at the end', async () => {
  await using server = await serveHttp(Clock.asApplication())
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await client.until(/listening/)
  expect(await server.test.layer.groupSend('clock', { type: 'clock.tick', at: 'noon' })).toMatchObject({
    delivered: 1,
  })
  await client.until(/noon/)
  client.reset()
  await server.test.idle()
  expect(server.test.layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

test('a message handler that raises ends the response', async () => {
  class Broken extends Clock {
    override async 'clock.tick'(): Promise<void> {
      throw new Error('no')
    }
  }
  await using server = await serveHttp(Broken.asApplication())
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await client.until(/listening/)
  await server.test.layer.groupSend('clock', { type: 'clock.tick', at: 'noon' })
  await client.closed
  await server.test.idle()
  expect(server.test.outcomes[0]).toMatchObject({ kind: 'raised' })
})

interface LateWord {
  readonly type: 'late.word'
  readonly word: string
}

test('who opens the channel in the middle of its handler gets messages from then on', async () => {
  class Late extends HttpConsumer {
    readonly #told = Promise.withResolvers<string>()

    override async handle() {
      await this.layer.groupAdd('late', this.context.channel)
      await this.groupSend<LateWord>('late', { type: 'late.word', word: 'hello' })
      return { body: await this.#told.promise }
    }

    'late.word'({ word }: LateWord): void {
      this.#told.resolve(word)
    }
  }
  await using server = await serveHttp(Late.asApplication())
  expect(await (await fetch(server.url)).text()).toBe('hello')
  await server.test.idle()
  expect(server.test.layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

test('a handler that only answers opens no channel', async () => {
  let channels: number | undefined
  class Plain extends HttpConsumer {
    override handle() {
      this.log.debug({}, 'it may look at the rest of its context')
      channels = server.test.layer.stats().channels
      return { body: String(this.signal.aborted) }
    }
  }
  await using server = await serveHttp(Plain.asApplication())
  expect(await (await fetch(server.url)).text()).toBe('false')
  expect(channels).toBe(0)
})

test('a handler that does not read the body leaves it to the server', async () => {
  await using server = await serveHttp(httpHandler(() => new Response('no, thanks')))
  const client = await RawClient.connect(server.url)
  for (let number = 1; number <= 2; number++) {
    client.send(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n`, new Uint8Array(3_000_000))
    await client.until(new RegExp(`(?:no, thanks[^]*){${number}}$`))
  }
  client.end()
  await server.test.idle()
})

test.each<[string, () => unknown, string]>([
  ['nothing', () => undefined, 'found undefined'],
  ['nothing, later', async () => undefined, 'found undefined'],
  ['null', () => null, 'found null'],
  ['a text', () => 'hello', 'found "hello"'],
  ['a number, later', async () => 42, 'found 42'],
])('a handler that returns %s is told what it should return', async (_, handle, found) => {
  const { log, raised } = newErrors()
  await using server = await serveHttp(httpHandler(handle as () => HttpReply), {}, { log })
  expect((await fetch(server.url)).status).toBe(500)
  await server.test.idle()
  expect(raised.map(reason)).toEqual([
    expect.stringContaining(`expected the handler to return { body }, { json } or a Response, ${found}`),
  ])
})

test('a consumer without its method is told which', async () => {
  class Shy extends HttpConsumer {
    // As in JavaScript, where nothing says that it is missing.
    override handle = undefined as never
  }
  const { log, raised } = newErrors()
  await using server = await serveHttp(Shy.asApplication(), {}, { log })
  expect((await fetch(server.url)).status).toBe(500)
  await server.test.idle()
  expect(raised.map(reason)).toEqual(['expected a method handle(request) of Shy, found none'])
})

function newErrors() {
  const raised: unknown[] = []
  const log: typeof silentLog = Object.assign(Object.create(silentLog), {
    child: () => log,
    error: ({ err }: { readonly err: unknown }) => raised.push(err),
  })
  return { log, raised }
}

/** What the peer gets when an application ends in each of the ways that it can. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { expect, test } from '@jest/globals'
import type { HttpProtocol, HttpScope } from '../../../protocols/http/scope.ts'
import type { Send } from '../../../src/asgi/protocol.ts'
import { SignalboxError, hasCode, reason } from '../../../src/runtime/errors.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { Tallies } from '../../../src/runtime/tally.ts'
import { RawClient } from '../../support/raw-client.ts'
import { serveHttp, text, type HttpApplication } from './support.ts'

const start = { type: 'http.response.start', status: 200, headers: [] } as const
const get = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'

async function answerTo(application: HttpApplication, request = get, log = silentLog): Promise<string> {
  await using server = await serveHttp(application, {}, { closeTimeout: 100, log })
  const client = await RawClient.connect(server.url)
  client.send(request)
  const head = await client.until(/\r\n\r\n/)
  // A whole response leaves the connection open: the next, broken request on it is answered too.
  if (head.includes('content-length') && !head.endsWith('half')) client.send('again\r\n\r\n')
  const answer = await client.closed
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
  return answer
}

test('an application that raises before it answered: 500 without details, and the connection goes on', async () => {
  const answer = await answerTo(async () => {
    throw new Error('the password is hunter2')
  })
  expect(answer).toMatch(/^HTTP\/1\.1 500 Internal Server Error\r\n[^]*\r\n\r\nInternal Server Error\nHTTP\/1\.1 400/)
  expect(answer).not.toContain('hunter2')
})

test.each(['queue_full', 'timed_out', 'closing'] as const)(
  'an application that raises %s: 503, and when to come again',
  async (code) => {
    const answer = await answerTo(async () => {
      throw new SignalboxError(code, 'the password is hunter2')
    })
    expect(answer).toMatch(
      /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*retry-after: 1\r\n[^]*\r\n\r\nService Unavailable\n/,
    )
    expect(answer).not.toContain('hunter2')
  },
)

test('an application that raises after its start, before any of it is sent: 500', async () => {
  const answer = await answerTo(async (_scope, _receive, send) => {
    await send(start)
    throw new Error('late')
  })
  expect(answer).toMatch(/^HTTP\/1\.1 500/)
})

test('an application that raises in the middle of its body: the connection is cut', async () => {
  const answer = await answerTo(async (_scope, _receive, send) => {
    await send(start)
    await send({ type: 'http.response.body', body: 'half', moreBody: true })
    throw new Error('in the middle')
  })
  expect(answer).toMatch(/half\r\n$/)
})

test.each([
  ['a request that is answered is one event, also for an application that stays until the end', get, 1],
  [
    'one whose peer leaves before the answer is one more',
    'POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 9\r\n\r\nhalf',
    2,
  ],
])('%s', async (_, request, events) => {
  const tallies = new Tallies()
  const application: HttpApplication = async (scope, receive, send, context) => {
    for (;;) {
      const event = await receive()
      if (event.type === 'http.disconnect') return
      if (!event.moreBody) await text('complete')(scope, receive, send, context)
      else client.socket.destroy()
    }
  }
  await using server = await serveHttp(application, {}, { accounts: { tallies, logEvents: false } })
  const client = await RawClient.connect(server.url)
  client.send(request)
  if (events === 1) await client.until(/complete/)
  else await client.closed
  await server.test.idle()
  expect(Array.from(tallies, ([, , counts]) => [counts.events, counts.handled])).toEqual([[events, events]])
})

test('an application that raises after a complete response: the response stands, and the connection goes on', async () => {
  const answer = await answerTo(async (scope, receive, send, context) => {
    await text('complete')(scope, receive, send, context)
    throw new Error('afterwards')
  })
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*completeHTTP\/1\.1 400/)
})

test('an application that returns without an answer: 500', async () => {
  expect(await answerTo(async () => undefined)).toMatch(/^HTTP\/1\.1 500/)
})

test('an application that returns after its start alone: 500', async () => {
  const answer = await answerTo(async (_scope, _receive, send) => {
    await send(start)
  })
  expect(answer).toMatch(/^HTTP\/1\.1 500/)
})

test('an application that returns in the middle of its body: the connection is cut', async () => {
  const answer = await answerTo(async (_scope, _receive, send) => {
    await send(start)
    await send({ type: 'http.response.body', body: 'half', moreBody: true })
  })
  expect(answer).toMatch(/half\r\n$/)
})

test('an application that throws no_route, as a router does: 404, counted', async () => {
  await using server = await serveHttp(async () => {
    throw new SignalboxError('no_route', 'URLRouter: no rule takes "x"')
  })
  expect((await fetch(`${server.url}/x`)).status).toBe(404)
  expect(server.test.unrouted).toEqual(['/x'])
})

test('an application that does not begin in time: 503, its signal aborts, and what it says later is dropped', async () => {
  const dropped = Promise.withResolvers<unknown>()
  await using server = await serveHttp(
    async (_scope, _receive, send, { signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      await send(start)
      await send({ type: 'http.response.body', body: 'late' })
      dropped.resolve(signal.reason)
    },
    { handlerTimeout: '50ms' },
  )
  const response = await fetch(server.url)
  expect(response.status).toBe(503)
  expect(await response.text()).not.toContain('late')
  expect(hasCode(await dropped.promise, 'timed_out')).toBe(true)
})

test('an application that has begun in time may stream for longer than handlerTimeout', async () => {
  await using server = await serveHttp(
    async (_scope, _receive, send) => {
      await send(start)
      for (let part = 0; part < 5; part++) {
        await send({ type: 'http.response.body', body: String(part), moreBody: true })
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      await send({ type: 'http.response.body' })
    },
    { handlerTimeout: '50ms' },
  )
  expect(await (await fetch(server.url)).text()).toBe('01234')
})

test('an application that never ends is abandoned, and nothing of it is left', async () => {
  await using server = await serveHttp(
    () => new Promise(() => undefined),
    { handlerTimeout: '20ms' },
    { closeTimeout: 20 },
  )
  expect((await fetch(server.url)).status).toBe(503)
  await server.test.idle()
  expect(server.test.outcomes).toEqual([{ kind: 'abandoned' }])
  expect(server.listener.connections).toBe(0)
})

const body = { type: 'http.response.body', body: 'x' } as const
const forbidden: readonly (readonly [string, readonly unknown[], RegExp])[] = [
  ['a body before the start', [body], /expected http\.response\.start, found http\.response\.body/],
  ['two starts', [start, start], /expected http\.response\.body, found http\.response\.start/],
  ['an event of another protocol', [{ type: 'websocket.send', text: 'x' }], /found websocket\.send/],
  ['a status that does not exist', [{ ...start, status: 99 }], /a status from 200 to 599, found 99/],
  ['an interim status', [{ ...start, status: 101 }], /a status from 200 to 599, found 101/],
  [
    'a line break in a header',
    [{ ...start, headers: [['x-a', 'b\r\nset-cookie: c']] }],
    /without control characters as the value of the header x-a/,
  ],
  ['a line break in a header name', [{ ...start, headers: [['x-a: b\r\nx-c', 'd']] }], /a header name/],
  ['a NUL in a header', [{ ...start, headers: [['x-a', 'b\0']] }], /without control characters/],
  ['a header beyond latin-1', [{ ...start, headers: [['x-a', '\u20ac']] }], /latin-1/],
  ['headers that are no list', [{ ...start, headers: { 'x-a': 'b' } }], /a list of \[name, value\] pairs/],
  ['a header that is no pair', [{ ...start, headers: ['x-a: b'] }], /a \[name, value\] pair/],
  ['a content-length that is no number', [{ ...start, headers: [['content-length', 'many']] }], /one content-length/],
  [
    'two content-lengths',
    [
      {
        ...start,
        headers: [
          ['content-length', '1'],
          ['Content-Length', '1'],
        ],
      },
    ],
    /one content-length/,
  ],
  [
    'a body longer than its content-length',
    [{ ...start, headers: [['content-length', '0']] }, body],
    /the 0 bytes of its content-length, found 1/,
  ],
  [
    'a body shorter than its content-length',
    [{ ...start, headers: [['content-length', '2']] }, body],
    /the 2 bytes of its content-length, found 1/,
  ],
  [
    'a body that is neither bytes nor text',
    [start, { type: 'http.response.body', body: { json: true } }],
    /bytes or text, found object/,
  ],
]

test.each(forbidden)('%s is an error to the application, and the peer gets a 500', async (_name, events, expected) => {
  let thrown: unknown
  const answer = await answerTo(async (_scope, _receive, send) => {
    try {
      for (const event of events) await send(event as HttpProtocol['send'])
    } catch (error) {
      thrown = error
      throw error
    }
  })
  expect(reason(thrown)).toMatch(expected)
  expect(hasCode(thrown, 'unexpected_event')).toBe(true)
  expect(answer).toMatch(/^HTTP\/1\.1 500 Internal Server Error\r\n(?:(?!set-cookie|x-a|x-c)[^])*$/)
})

test('a pipelined response that breaks off does not take the one before it along', async () => {
  const broken = Promise.withResolvers<void>()
  await using server = await serveHttp(async (scope, receive, send, context) => {
    if (scope.path === '/first') {
      await broken.promise
      return text('first')(scope, receive, send, context)
    }
    await send(start)
    const waits = send({ type: 'http.response.body', body: 'half', moreBody: true })
    broken.resolve()
    void waits
    throw new Error('in the middle')
  })
  const client = await RawClient.connect(server.url)
  client.send('GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(await client.closed).toMatch(/first$/)
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

test('a body that grows longer than its content-length is an error, and the connection is cut', async () => {
  const answer = await answerTo(async (_scope, _receive, send) => {
    await send({ ...start, headers: [['content-length', '4']] })
    await send({ type: 'http.response.body', body: 'half', moreBody: true })
    await send({ type: 'http.response.body', body: 'HTTP/1.1 200 OK' })
  })
  expect(answer).toMatch(/\r\n\r\nhalf$/)
})

test('a send after the response is complete is an error that says so', async () => {
  let thrown: unknown
  await answerTo(async (scope, receive, send, context) => {
    await text('done')(scope, receive, send, context)
    await send(body).catch((error: unknown) => (thrown = error))
  })
  expect(reason(thrown)).toMatch(/expected nothing more: its response is complete, found http\.response\.body/)
})

test("transfer-encoding is the server's own: what an application says of it is left out", async () => {
  const answer = await answerTo(async (_scope, _receive, send) => {
    await send({ ...start, headers: [['Transfer-Encoding', 'gzip, chunked']] })
    await send(body)
  })
  expect(answer).not.toMatch(/transfer-encoding/i)
  expect(answer).toMatch(/content-length: 1\r\n/)
})

test('closing lets a request finish, says Connection: close, and answers 503 to a new one', async () => {
  const gate = Promise.withResolvers<void>()
  const taken = Promise.withResolvers<void>()
  await using server = await serveHttp(async (scope, receive, send, context) => {
    taken.resolve()
    await gate.promise
    await text('finished')(scope, receive, send, context)
  })
  const client = await RawClient.connect(server.url)
  const other = await RawClient.connect(server.url)
  client.send(get)
  await taken.promise
  const closed = server.listener.close(new AbortController().signal)
  other.send(get)
  expect(await other.closed).toMatch(/^HTTP\/1\.1 503[^]*connection: close/i)
  gate.resolve()
  expect(await client.closed).toMatch(/connection: close[^]*finished$/i)
  await closed
})

test('closing cuts what is left when its time is over', async () => {
  await using server = await serveHttp(async (scope, _receive, send, { signal }) => {
    if (scope.path === '/stream') {
      await send(start)
      await send({ type: 'http.response.body', body: 'begun', moreBody: true })
    }
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  })
  const quiet = await RawClient.connect(server.url)
  const stream = await RawClient.connect(server.url)
  quiet.send(get)
  stream.send('GET /stream HTTP/1.1\r\nHost: x\r\n\r\n')
  await stream.until(/begun/)
  while (server.listener.connections < 2) await new Promise(setImmediate)
  const deadline = new AbortController()
  const closed = server.listener.close(deadline.signal)
  deadline.abort()
  await closed
  expect(await quiet.closed).toMatch(/^HTTP\/1\.1 503/)
  expect(await stream.closed).toMatch(/begun\r\n$/)
  await server.test.idle()
})

test.each([
  ['without an answer', async () => undefined],
  ['in the middle of its body', half],
])('an application that returns %s is named in the log', async (_, application: HttpApplication) => {
  const { log, logged } = newLog()
  await answerTo(application, get, log)
  expect(logged).toEqual(['the application returned without a complete answer'])
})

test('one whose peer has left owes no answer', async () => {
  const { log, logged } = newLog()
  await using server = await serveHttp(
    async (_scope, _receive, _send, { signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
    {},
    { log },
  )
  const client = await RawClient.connect(server.url)
  client.send(get)
  while (server.listener.connections === 0) await new Promise(setImmediate)
  client.reset()
  await server.test.idle()
  expect(logged).toEqual([])
})

async function half(_scope: HttpScope, _receive: unknown, send: Send<HttpProtocol>): Promise<void> {
  await send(start)
  await send({ type: 'http.response.body', body: 'half', moreBody: true })
}

function newLog() {
  const logged: string[] = []
  const log: typeof silentLog = Object.assign(Object.create(silentLog), {
    child: () => log,
    error: (_: object, line: string) => logged.push(line),
  })
  return { log, logged }
}

test('a peer that breaks off while its requests are not read, for all the answers that wait behind a quiet one, ends them all', async () => {
  const application: HttpApplication = async (scope, _receive, send, { signal }) => {
    await send(start)
    if (scope.path !== '/quiet') return await send({ type: 'http.response.body', body: 'x'.repeat(200_000) })
    await send({ type: 'http.response.body', body: 'quiet', moreBody: true })
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  }
  await using server = await serveHttp(application, { sendTimeout: '100ms' })
  const accepted = once(server.test.services.httpHost().server, 'connection') as Promise<[Socket]>
  const client = await RawClient.connect(server.url)
  const [socket] = await accepted
  client.send('GET /quiet HTTP/1.1\r\nHost: x\r\n\r\nGET /large HTTP/1.1\r\nHost: x\r\n\r\n')
  await client.until(/quiet/)
  client.send(get)
  while (!socket.isPaused()) await new Promise(setImmediate)
  client.reset()
  await server.test.idle()
  expect(server.listener.connections).toBe(0)
})

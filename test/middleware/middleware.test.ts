/** The built-in middleware, around plain applications. */
import { expect, test } from '@jest/globals'
import type { Log } from '../../src/asgi/context.ts'
import type { Application, Event, Protocol } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { accessLog } from '../../src/middleware/access-log.ts'
import { allowedHosts } from '../../src/middleware/allowed-hosts.ts'
import { allowedOrigins } from '../../src/middleware/allowed-origins.ts'
import { builtinMiddleware } from '../../src/middleware/registry.ts'
import { timeout } from '../../src/middleware/timeout.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import { scopeOf } from '../support/scopes.ts'

type Extra = Readonly<Record<string, unknown>>

function start(application: Application, extra: Extra = {}, log: Log = silentLog) {
  const scope = scopeOf('http', { client: ['10.0.0.1', 5] as const, ...extra })
  return new ApplicationCommunicator<Protocol>(application, scope, { layer: new MemoryLayer(), log })
}

const hello: Application = async (_scope, receive, send) => {
  await receive()
  await send({ type: 'http.response.start', status: 200 } as Event)
}
const withHeaders = (...headers: [string, string][]) => ({ headers })

test('accessLog writes one line a scope with what was asked, what was answered and how long it took', async () => {
  const lines: unknown[] = []
  // As the real one writes it: what is said of the scope stands on each line already.
  const log: Log = Object.assign(Object.create(silentLog), {
    child: (common: object) =>
      Object.assign(Object.create(silentLog), { info: (fields: object) => lines.push({ common, fields }) }),
  })
  const communicator = start(accessLog(hello, { level: 'info' }), { path: '/a', method: 'PUT' }, log)
  await communicator.sendInput({ type: 'http.request' })
  await communicator.wait()
  expect(lines).toEqual([
    {
      common: { scope: expect.any(String), protocol: 'http', client: '10.0.0.1' },
      fields: {
        method: 'PUT',
        address: '/a',
        answer: 'http.response.start',
        status: 200,
        failed: false,
        ms: expect.any(Number),
      },
    },
  ])
})

test('accessLog says nothing of the lifespan, which nobody has asked for', async () => {
  const lines: unknown[] = []
  const log: Log = Object.assign(Object.create(silentLog), {
    child: () => log,
    info: (fields: object) => lines.push(fields),
  })
  const starting: Application = async (_scope, receive, send) => {
    await receive()
    await send({ type: 'lifespan.startup.complete' })
  }
  const communicator = start(accessLog(starting, { level: 'info' }), { type: 'lifespan', client: null }, log)
  await communicator.sendInput({ type: 'lifespan.startup' })
  await expect(communicator.receiveOutput()).resolves.toEqual({ type: 'lifespan.startup.complete' })
  await communicator.wait()
  expect(lines).toEqual([])
})

test('accessLog passes an error on and says that it failed', async () => {
  const lines: unknown[] = []
  const log: Log = Object.assign(Object.create(silentLog), {
    child: () => log,
    info: (fields: object) => lines.push(fields),
  })
  const raising = accessLog(() => Promise.reject(new Error('boom')), { level: 'info' })
  const communicator = start(raising, { type: 'sms', from: '+14155550100' }, log)
  await expect(communicator.wait()).resolves.toMatchObject({ kind: 'raised', error: { message: 'boom' } })
  expect(lines).toMatchObject([{ address: '+14155550100', failed: true }])
})

test('timeout ends an application that works too long on one event, and aborts its signal', async () => {
  let aborted: unknown
  const slow: Application = async (_scope, receive, _send, context) => {
    await receive()
    await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
    aborted = context.signal.reason
  }
  const communicator = start(timeout(slow, { after: 10 }))
  await expect(communicator.sendInput({ type: 'http.request' })).rejects.toMatchObject({ code: 'timed_out' })
  await expect(communicator.wait()).resolves.toMatchObject({ kind: 'raised', error: { code: 'timed_out' } })
  expect(aborted).toMatchObject({ code: 'timed_out' })
})

test('timeout counts no time in which the application waits for an event', async () => {
  const communicator = start(timeout(hello, { after: 20 }))
  expect(await communicator.receiveNothing(60)).toBe(true)
  await communicator.sendInput({ type: 'http.request' })
  await expect(communicator.wait()).resolves.toMatchObject({ kind: 'finished' })
})

test.each([
  ['example.org', 200],
  ['EXAMPLE.ORG:8000', 200],
  ['a.example.net', 200],
  ['example.net', 400],
  ['evil.org', 400],
  ['example.org.evil.org', 400],
])('allowedHosts answers a request for %s with %i', async (host, status) => {
  const guarded = allowedHosts(hello, { hosts: ['example.org', '*.example.net'] })
  const communicator = start(guarded, withHeaders(['host', host]))
  void communicator.sendInput({ type: 'http.request' })
  expect(await communicator.receiveOutput()).toMatchObject({ type: 'http.response.start', status })
})

test.each([
  [['origin', 'https://example.org'], 200],
  [['origin', 'https://evil.org'], 403],
  [['origin', 'null'], 403],
  [['accept', '*/*'], 200],
] as [[string, string], number][])('allowedOrigins answers %j with %i', async (header, status) => {
  const guarded = allowedOrigins(hello, { origins: ['https://example.org'], required: false })
  const communicator = start(guarded, withHeaders(header))
  void communicator.sendInput({ type: 'http.request' })
  expect(await communicator.receiveOutput()).toMatchObject({ status })
})

test('allowedOrigins can require an origin, and refuses a socket by closing it before it is accepted', async () => {
  const guarded = allowedOrigins(hello, { origins: ['*'], required: true })
  const communicator = start(guarded, { type: 'websocket', headers: [] })
  void communicator.sendInput({ type: 'websocket.connect' })
  expect(await communicator.receiveOutput()).toEqual({ type: 'websocket.close' })
})

test('every middleware that YAML can name has a name of its own and refuses options that it does not know', () => {
  expect(new Set(builtinMiddleware.map(({ name }) => name)).size).toBe(builtinMiddleware.length)
  for (const { options } of builtinMiddleware) expect(options.safeParse({ nonsense: 1 }).success).toBe(false)
})

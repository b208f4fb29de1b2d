/** The admin listener over real sockets: what it does, whom it refuses, and in which words. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { layerPlaces } from '../../src/server/admin-places.ts'
import { AdminListener } from '../../src/server/admin.ts'

const address = { host: '127.0.0.1', port: 0 }
let layer: MemoryLayer
const listeners: AdminListener[] = []

beforeEach(() => {
  layer = new MemoryLayer({ capacity: 1 })
})
afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.close(AbortSignal.abort())))
  await layer.close()
})

async function start(token?: string): Promise<AdminListener> {
  const options = { address, maxBodySize: 100, ...(token !== undefined && { token }) }
  const listener = await AdminListener.start(options, { places: () => layerPlaces(layer), log: silentLog })
  listeners.push(listener)
  return listener
}

interface Request {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}
const json = { 'content-type': 'application/json' }
const post = (body: unknown, headers: Readonly<Record<string, string>> = {}): Request => ({
  method: 'POST',
  headers: { ...json, ...headers },
  body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
})

async function ask({ url }: AdminListener, path: string, { method = 'GET', headers = {}, body }: Request = {}) {
  const { hostname, port } = new URL(url)
  const request = httpRequest({ host: hostname, port, path, method, headers, agent: false })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return { status: response.statusCode, headers: response.headers, text: (await text(response)).trim() }
}

const message = { type: 'chat.message', text: 'hi' }

describe('POST /groups/NAME', () => {
  test('sends to the members and says how many they were', async () => {
    const got: Event[] = []
    await layer.groupAdd('chat', layer.newChannel({ deliverMessage: (event) => got.push(event) > 0 }))
    await layer.groupAdd('chat', layer.newChannel({ deliverMessage: () => false }))
    const { status, headers, text: answer } = await ask(await start(), '/groups/chat', post(message))
    expect({ status, answer: JSON.parse(answer) }).toEqual({
      status: 200,
      answer: { group: 'chat', delivered: 1, dropped: 1 },
    })
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'cache-control': 'no-store' })
    expect(got).toEqual([message])
  })

  test('takes bytes in their documented form', async () => {
    const got: Event[] = []
    await layer.groupAdd('chat', layer.newChannel({ deliverMessage: (event) => got.push(event) > 0 }))
    await ask(await start(), '/groups/chat', post({ type: 'chat.message', png: { $bytes: 'AP8=' } }))
    expect(got).toEqual([{ type: 'chat.message', png: new Uint8Array([0, 255]) }])
  })
})

test('GET /groups/NAME says who is in it', async () => {
  const admin = await start()
  const channel = layer.newChannel()
  await layer.groupAdd('chat', channel)
  const { status, text: answer } = await ask(admin, '/groups/chat?pretty')
  expect({ status, answer: JSON.parse(answer) }).toEqual({
    status: 200,
    answer: { group: 'chat', size: 1, members: [channel] },
  })
  expect(await ask(admin, '/groups/chat', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
})

describe('POST /channels/NAME', () => {
  test('sends to a named channel', async () => {
    const { status, text: answer } = await ask(await start(), '/channels/work', post(message))
    expect({ status, answer: JSON.parse(answer) }).toEqual({ status: 200, answer: { channel: 'work', sent: true } })
    expect(await layer.receive('work')).toEqual(message)
  })

  test.each(['!', '%21'])('and to that of a scope, whose name has a %s', async (mark) => {
    const channel = layer.newChannel()
    await ask(await start(), `/channels/${channel.replace('!', mark)}`, post(message))
    expect(await layer.receive(channel)).toEqual(message)
  })

  test('says that nobody has it', async () => {
    const admin = await start()
    const channel = layer.newChannel()
    await layer.closeChannel(channel)
    for (const name of [channel, 'gone!1']) {
      expect(await ask(admin, `/channels/${name}`, post(message))).toMatchObject({
        status: 404,
        text: `no process has channel ${name}: its consumer is gone`,
      })
    }
  })

  test.each([
    ['published', 200, '{"channel":"other!1","published":true}'],
    ['unreachable', 503, 'channel other!1 is of another process, and Redis is away'],
  ] as const)('says what is known of another process: %s', async (known, status, told) => {
    layer.send = async () => known
    expect(await ask(await start(), '/channels/other!1', post(message))).toMatchObject({ status, text: told })
  })

  test('says that it is full', async () => {
    const admin = await start()
    await ask(admin, '/channels/work', post(message))
    expect(await ask(admin, '/channels/work', post(message))).toMatchObject({
      status: 503,
      text: 'channel work already holds 1 messages',
    })
  })
})

describe('a request that is wrong is told why', () => {
  const expected = 'expected a message such as {"type":"chat.message","text":"hi"}:'
  test.each<[string, string, Request, number, string]>([
    ['another path', '/', {}, 404, 'There are /groups/NAME, /channels/NAME'],
    ['no name', '/groups/', {}, 404, 'There are /groups/NAME, /channels/NAME'],
    ['a path below', '/groups/a/b', post(message), 404, 'There are /groups/NAME, /channels/NAME'],
    ['another method', '/groups/chat', { method: 'DELETE' }, 405, 'Expected GET, HEAD, POST'],
    ['to read a channel', '/channels/work', {}, 405, 'Expected POST'],
    [
      'no type',
      '/groups/chat',
      { method: 'POST', body: '{}' },
      415,
      'Expected the header content-type: application/json',
    ],
    [
      'the type of a form',
      '/groups/chat',
      post(message, { 'content-type': 'text/plain' }),
      415,
      'Expected the header content-type: application/json',
    ],
    ['too much', '/groups/chat', post('x'.repeat(101)), 413, 'Expected at most 100 bytes'],
    ['no JSON', '/groups/chat', post('{'), 422, `${expected} it is no JSON: Expected property name`],
    ['no object', '/groups/chat', post('[1]'), 422, `${expected} it is no object`],
    ['no dotted type', '/groups/chat', post({ type: 'hi' }), 422, `${expected} it has no type with a dot in it`],
    [
      'an address of its own',
      '/groups/chat',
      post({ ...message, $to: 'x' }),
      422,
      `${expected} a $to is for Redis alone`,
    ],
    ['a membership', '/channels/a', post({ $to: 'a!b', $join: 'c' }), 422, `${expected} a $to is for Redis alone`],
    ['no UTF-8', '/groups/chat', post(Buffer.from([0x22, 0xff, 0x22])), 422, 'expected a message in UTF-8'],
    ['no name that a group can have', '/groups/a%20b', post(message), 422, 'a group name has 1 to 100 characters'],
    ['the same, asked for', '/groups/a!b', {}, 422, 'a group name has 1 to 100 characters'],
    ['no name that a channel can have', '/channels/%', post(message), 422, 'a channel name has 1 to 100 characters'],
  ])('%s', async (_, path, request, status, words) => {
    const answer = await ask(await start(), path, request)
    expect(answer.status).toBe(status)
    expect(answer.text.startsWith(words)).toBe(true)
    if (status === 405) expect(answer.headers['allow']).toBe(words.replace('Expected ', ''))
    // A bad request harms nobody: nothing was sent, and the next one is taken.
    expect(layer.stats()).toMatchObject({ channels: 0, groups: 0, dropped: {} })
  })

  test('a caller that leaves in the middle of its request ends nothing', async () => {
    const admin = await start()
    const { hostname, port } = new URL(admin.url)
    const socket = connect(Number(port), hostname)
    const lines = [
      'POST /groups/chat HTTP/1.1',
      'host: localhost',
      'content-type: application/json',
      'content-length: 90',
    ]
    socket.write(`${lines.join('\r\n')}\r\n\r\n{"type"`)
    await once(socket, 'connect')
    socket.destroy()
    expect(await ask(admin, '/groups/chat')).toMatchObject({ status: 200 })
  })
})

describe('without a token', () => {
  test.each(['localhost', 'localhost:8100', '127.0.0.1:8100', '[::1]:8100', 'LOCALHOST'])(
    'the host %s is this machine',
    async (host) => {
      expect(await ask(await start(), '/groups/chat', { headers: { host } })).toMatchObject({ status: 200 })
    },
  )

  test.each(['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:8100', '10.0.0.1', '[::2]'])(
    'a page whose name %p was made to point here is refused',
    async (host) => {
      expect(await ask(await start(), '/groups/chat', post(message, { host }))).toMatchObject({
        status: 403,
        text: 'Without a token this is to be had as localhost, 127.0.0.1 or [::1] only',
      })
    },
  )

  test.each(['https://evil.example', 'null', 'http://localhost:8100'])('a page of %s is refused', async (origin) => {
    expect(await ask(await start(), '/groups/chat', post(message, { origin }))).toMatchObject({
      status: 403,
      text: 'Web pages may not use this without a token',
    })
  })

  test('it does not open off loopback', async () => {
    const opening = AdminListener.start(
      { address: { host: '0.0.0.0', port: 0 }, maxBodySize: 100 },
      { places: () => layerPlaces(layer), log: silentLog },
    )
    await expect(opening).rejects.toMatchObject({
      code: 'listen_failed',
      message: 'the admin listener needs a token on 0.0.0.0:0, which is not loopback',
    })
  })
})

describe('with a token', () => {
  test.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Bearer hunter',
    'Bearer hunter22',
    'Bearer hunter2 x',
    'hunter2',
    'Basic hunter2',
    'Bearer HUNTER2',
  ])('%p is not enough', async (authorization) => {
    const headers = authorization === undefined ? {} : { authorization }
    const answer = await ask(await start('hunter2'), '/groups/chat', { headers })
    expect(answer).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } })
    expect(answer.text).not.toMatch(/hunter/)
  })

  test.each(['Bearer hunter2', 'bearer  hunter2'])('%p is, from anywhere', async (authorization) => {
    const headers = { authorization, host: 'gateway.example.org' }
    expect(await ask(await start('hunter2'), '/groups/chat', post(message, headers))).toMatchObject({ status: 200 })
  })
})

test('an address that is taken is said in words', async () => {
  const { url } = await start()
  const port = Number(new URL(url).port)
  const again = AdminListener.start(
    { address: { host: '127.0.0.1', port }, maxBodySize: 100 },
    { places: () => layerPlaces(layer), log: silentLog },
  )
  await expect(again).rejects.toMatchObject({ code: 'listen_failed' })
})

test('what cannot be loaded when a question comes is in the log, the caller hears no answer, and the next one tries again', async () => {
  const errors: unknown[] = []
  const log = { ...silentLog, error: (fields: unknown) => errors.push(fields) }
  let asked = 0
  const places = () => (++asked === 1 ? Promise.reject(new Error('a file is missing')) : layerPlaces(layer))
  const listener = await AdminListener.start({ address, maxBodySize: 100 }, { places, log })
  listeners.push(listener)
  await expect(fetch(`${listener.url}/live`)).rejects.toThrow('fetch failed')
  expect(errors).toEqual([{ err: expect.objectContaining({ message: 'a file is missing' }) }])
  await expect(fetch(`${listener.url}/live`)).resolves.toMatchObject({ status: 404 })
})

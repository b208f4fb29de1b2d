/** What goes wrong in sync consumers: whom it fails, and what becomes of the thread. */
import { afterAll, expect, test } from '@jest/globals'
import { HttpCommunicator } from '../../protocols/http/communicator.ts'
import type { HttpProtocol } from '../../protocols/http/scope.ts'
import type { WebsocketProtocol } from '../../protocols/websocket/scope.ts'
import type { Event, Application } from '../../src/asgi/protocol.ts'
import { syncApplication } from '../../src/bridge/sync-application.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { timeout } from '../../src/middleware/timeout.ts'
import * as consumers from './fixtures/consumers.ts'
import { Peer, connected, forgotten, obedient, outcomeOf, warm } from './peer.ts'
import { fixture, openPool } from './support.ts'

/** Of every test that needs none of its own; one that does opens it, and then that is the newest. */
const pool = openPool({ threads: 1 })
afterAll(() => pool.close())

test.each([
  ['bad', /send\(\) cannot go to the main thread/],
  ['text', /the handler of websocket\.receive threw 'just text', expected an Error/],
])('in a handler that says %s is an error of its scope alone', async (text, message) => {
  await using pool = openPool({ threads: 1 })
  const [peer, other] = [await connected(), await connected()]
  await expect(peer.say(text)).rejects.toMatchObject({
    code: 'bridge_failed',
    message: expect.stringMatching(message) as unknown,
  })
  expect(await other.ask('said')).toBe('said')
  expect(pool.stats()).toMatchObject({ died: 0, scopes: 1 })
})

test('a handler that gives a promise is told to be a plain function', async () => {
  const peer = await connected()
  await peer.layer.send(await channelOf(peer), { type: 'note.async' })
  const error = await outcomeOf(peer)
  expect(error).toMatchObject({
    code: 'bridge_failed',
    message: expect.stringContaining("Obedient['note.async'] gave a promise") as unknown,
  })
})

test.each([
  ['AsyncPage', consumers.AsyncPage, /^AsyncPage\.handle gave a promise, expected a plain function/],
  ['FailingPage', consumers.FailingPage, /^FailingPage\.handle gave a promise, expected a plain function/],
  ['asyncPage', consumers.asyncPage, /^the function of syncHttpHandler gave a promise, expected a plain function/],
])(
  'an HTTP handler that gives a promise is answered 500 and told so, as every other one: %s',
  async (name, page, message) => {
    const application = syncApplication<HttpProtocol>(page, fixture('consumers.ts'), name)
    const http = new HttpCommunicator(application, {}, { layer: new MemoryLayer(), timeout: 20_000 })
    expect(await http.response()).toMatchObject({ status: 500 })
    expect(await http.application.wait()).toMatchObject({
      kind: 'raised',
      error: { code: 'bridge_failed', message: expect.stringMatching(message) as unknown },
    })
  },
)

test.each([
  ['a constructor that asks for the scope', 'Broken', /a consumer has a scope only while it runs/],
  ['a group that cannot be', 'BadGroups', /group/],
  ['a class that is not exported', 'Nobody', /found no export Nobody in consumers\.ts/],
  [
    'a class that is not sync',
    'WebsocketTwin',
    /found twins\.ts#WebsocketTwin, which is a function, expected a SyncConsumer/,
  ],
])('%s fails the scope', async (_, name, message) => {
  await using pool = openPool()
  const file = name === 'WebsocketTwin' ? 'twins.ts' : 'consumers.ts'
  const peer = new Peer(syncApplication(consumers.Obedient, fixture(file), name))
  await expect(peer.communicator.sendInput({ type: 'websocket.connect' })).rejects.toThrow(message)
  await forgotten(pool)
})

test.each([
  ['exit 3', /ended: worker exited with code: 3/],
  ['memory', /ended: .*memory/],
])('a worker that ends by %s fails its scopes, also those that are idle, and no others', async (text, message) => {
  await using pool = openPool({ threads: 2, memory: 64 * 2 ** 20 })
  const peers = await Promise.all(Array.from({ length: 4 }, () => connected()))
  const [unlucky] = peers as [Peer]
  const threads = await Promise.all(peers.map((peer) => peer.ask('thread')))
  await expect(unlucky.say(text)).rejects.toMatchObject({
    code: 'worker_died',
    message: expect.stringMatching(message) as unknown,
  })
  for (const [index, peer] of peers.entries()) {
    if (threads[index] === threads[0]) expect(await outcomeOf(peer)).toMatchObject({ code: 'worker_died' })
    else expect(await peer.ask('thread')).toBe(threads[index])
  }
  expect(new Set(threads).size).toBe(2)
  expect(await (await connected()).ask('said')).toBe('said')
  expect(pool.stats()).toMatchObject({ died: 1, scopes: 3 })
})

test('an endless loop: its scope fails in time, its thread is ended and replaced', async () => {
  await using pool = openPool({ threads: 1, grace: 20, timeout: 1500 })
  await warm()
  const [peer, other] = [await connected(), await connected()]
  await expect(peer.say('loop')).rejects.toMatchObject({ code: 'timed_out' })
  expect(await outcomeOf(other)).toMatchObject({ code: 'worker_died' })
  expect(await (await connected()).ask('said')).toBe('said')
  expect(pool.stats().died).toBe(1)
})

test('a rule of its own for the time: the timeout middleware stops it too', async () => {
  await using pool = openPool({ threads: 1, grace: 20 })
  await warm()
  const limited = timeout(obedient, { after: 1500 }) as Application<WebsocketProtocol>
  const peer = await connected(limited)
  await expect(peer.say('loop')).rejects.toMatchObject({ code: 'timed_out' })
  expect(await (await connected()).ask('said')).toBe('said')
  expect(pool.stats().died).toBe(1)
})

test('the time of a rule counts instead of the pool, also when it is longer', async () => {
  await using _pool = openPool({ threads: 1, grace: 20, timeout: 1500 })
  await warm()
  const limited = timeout(obedient, { after: 60_000 }) as Application<WebsocketProtocol>
  const peer = await connected(limited)
  await peer.say('burn 2000')
  expect(await peer.ask('said')).toBe('burn 2000,said')
})

test('a handler that waits for the main thread when its time is up is woken, and its thread is kept', async () => {
  await using pool = openPool({ threads: 1, timeout: 1500 })
  await warm()
  const [peer, other] = [await connected(), await connected()]
  await expect(peer.say('wait')).rejects.toMatchObject({ code: 'timed_out' })
  expect(await other.ask('said')).toBe('said')
  expect(pool.stats().died).toBe(0)
})

test('a pool that closes fails what is open', async () => {
  const pool = openPool({ grace: 10 })
  const peer = await connected()
  void peer.say('loop')
  const idle = await connected()
  await pool.close()
  expect(await outcomeOf(peer)).toMatchObject({ code: 'closing' })
  expect(await outcomeOf(idle)).toMatchObject({ code: 'closing' })
  expect(pool.stats()).toMatchObject({ threads: 0, scopes: 0 })
})

/** Where it hears messages of its own. */
async function channelOf(peer: Peer): Promise<string> {
  const seen: string[] = []
  const send = peer.layer.send.bind(peer.layer)
  peer.layer.send = (channel: string, message: Event) => {
    seen.push(channel)
    return send(channel, message)
  }
  void peer.say('channel')
  await peer.hear()
  return seen[0] ?? ''
}

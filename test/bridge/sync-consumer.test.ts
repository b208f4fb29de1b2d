/** Sync consumers and handlers as applications: where they live, what they are lent, and how they end. */
import { afterAll, describe, expect, test } from '@jest/globals'
import { setImmediate as immediate, setTimeout as later } from 'node:timers/promises'
import { threadId } from 'node:worker_threads'
import { pino } from 'pino'
import type { HttpProtocol } from '../../protocols/http/scope.ts'
import type { SmsProtocol } from '../../protocols/sms/scope.ts'
import type { WebsocketProtocol } from '../../protocols/websocket/scope.ts'
import type { Outcome, Transport } from '../../src/asgi/adapter.ts'
import type { Application, Event } from '../../src/asgi/protocol.ts'
import type { BridgePool } from '../../src/bridge/pool.ts'
import { syncApplication } from '../../src/bridge/sync-application.ts'
import { isSyncConsumer, isSyncHandler, SyncConsumer } from '../../src/bridge/sync-consumer.ts'
import { syncToAsync } from '../../src/bridge/sync-to-async.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { timeout } from '../../src/middleware/timeout.ts'
import { Instance, defaultMailboxLimits } from '../../src/runtime/instance.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import * as consumers from './fixtures/consumers.ts'
import { SmsSync, WebsocketTwin } from './fixtures/twins.ts'
import { httpScope, smsScope, websocketScope } from './scopes.ts'
import { fixture, onWorker, openPool } from './support.ts'

const obedient = syncApplication(consumers.Obedient, fixture('consumers.ts'))
const plainEcho = syncApplication(consumers.plainEcho, fixture('consumers.ts'), 'plainEcho')

/** On a busy machine loading a module takes longer than the times that are tested. */
const warm = syncToAsync<() => void>(fixture('consumers.ts'), 'warm', { timeout: 60_000 })

/** A WebSocket peer whose waits are as long as they have to be on a busy machine. */
class Peer {
  readonly layer: MemoryLayer
  readonly communicator: ApplicationCommunicator<WebsocketProtocol>

  constructor(
    application: Application<WebsocketProtocol> = obedient,
    { layer = new MemoryLayer(), log = silentLog, closeTimeout = 20_000 } = {},
  ) {
    this.layer = layer
    const options = { layer, log, closeTimeout, timeout: 20_000 }
    this.communicator = new ApplicationCommunicator(application, websocketScope(), options)
  }
  async connect() {
    await this.communicator.sendInput({ type: 'websocket.connect' })
    expect(await this.communicator.receiveOutput()).toMatchObject({ type: 'websocket.accept' })
  }
  say(text: string) {
    return this.communicator.sendInput({ type: 'websocket.receive', text })
  }
  async hear() {
    const event = await this.communicator.receiveOutput()
    return 'text' in event ? event.text : event.type
  }
  async ask(text: string) {
    void this.say(text)
    return this.hear()
  }
  leave() {
    this.communicator.connection.disconnect({ type: 'websocket.disconnect', code: 1001, reason: '' })
    return this.communicator.wait()
  }
}

async function connected(...options: ConstructorParameters<typeof Peer>) {
  const peer = new Peer(...options)
  await peer.connect()
  return peer
}

const outcomeOf = async (peer: Peer) => {
  const outcome = await peer.communicator.wait()
  return outcome.kind === 'raised' ? (outcome.error as Error & { code?: string }) : outcome.kind
}

/** Until nothing of any scope is left, on either side. */
async function forgotten(pool: BridgePool) {
  expect(pool.stats().scopes).toBe(0)
  const livingHere = onWorker('livingHere', { pool })
  const left = new Map<number, number>()
  do {
    for (const [thread, count] of await Promise.all(Array.from({ length: 10 }, livingHere))) left.set(thread, count)
  } while (left.size < pool.stats().threads || [...left.values()].some((count) => count > 0))
}

/** Of every test that needs none of its own; one that does opens it, and then that is the newest. */
const pool = openPool({ threads: 1 })
afterAll(() => pool.close())

describe('an instance', () => {
  test('lives on one worker from its first event to its last, with its own state', async () => {
    await using _pool = openPool({ threads: 2 })
    const peers = await Promise.all(Array.from({ length: 6 }, () => connected()))
    const threads = await Promise.all(peers.map((peer) => peer.ask('thread')))
    expect(new Set(threads).size).toBe(2)
    expect(threads).not.toContain(String(threadId))
    for (let round = 0; round < 3; round++) {
      expect(await Promise.all(peers.map((peer) => peer.ask('thread')))).toEqual(threads)
    }
    expect(await peers[0]?.ask('said')).toBe('thread,thread,thread,thread,said')
  })

  test('takes up no thread between its events', async () => {
    await using pool = openPool({ threads: 1 })
    const [first, second] = [await connected(), await connected()]
    expect(await first.ask('thread')).toBe(await second.ask('thread'))
    expect(await onWorker('add')(1, 2)).toBe(3)
    expect(pool.stats()).toMatchObject({ scopes: 2, running: 0, queued: 0, threads: 1 })
  })

  test('gets its events in order, one at a time', async () => {
    const peer = await connected()
    for (let n = 0; n < 20; n++) void peer.say(`note${n}`)
    expect(await peer.ask('said')).toBe([...Array.from({ length: 20 }, (_, n) => `note${n}`), 'said'].join(','))
  })

  test('is forgotten when its scope ends without a word, and when its time was up', async () => {
    await using pool = openPool({ threads: 1, timeout: 1500 })
    await warm()
    const text = { type: 'sms.message', body: 'hi', media: [], segments: 1, consent: '' } as const
    const application = syncApplication(SmsSync, fixture('twins.ts'))
    const sms = new ApplicationCommunicator<SmsProtocol>(application, smsScope(), { layer: new MemoryLayer() })
    await sms.sendInput(text, { last: true })
    expect(await sms.wait()).toEqual({ kind: 'finished' })
    const late = await connected()
    await expect(late.say('wait')).rejects.toMatchObject({ code: 'timed_out' })
    await forgotten(pool)
    expect(pool.stats().died).toBe(0)
  })

  test('leaves nothing behind, on neither side, after 10,000 scopes', async () => {
    await using pool = openPool()
    const layer = new MemoryLayer()
    for (let batch = 0; batch < 50; batch++) {
      const peers = await Promise.all(Array.from({ length: 200 }, () => connected(undefined, { layer })))
      // Some end by themselves, and some because something is wrong.
      peers.forEach((peer, n) => n % 10 === 0 && void peer.say('text'))
      await Promise.all(peers.map((peer) => peer.leave()))
    }
    await forgotten(pool)
    expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
    // The thread is told to be free a moment after its answer.
    while (pool.stats().running > 0) await new Promise(setImmediate)
    expect(pool.stats()).toMatchObject({ queued: 0, running: 0, died: 0 })
  }, 120_000)
})

describe('what it is lent', () => {
  test('a message to its own channel, and one to its groups, is an event like any other', async () => {
    const peer = await connected()
    void peer.say('channel')
    expect(await peer.hear()).toBe('a note from myself')
    await peer.leave()
    expect(peer.layer.stats()).toMatchObject({ channels: 0, groups: 0 })
  })

  test('a full channel raises in the handler', async () => {
    const peer = await connected()
    await expect(peer.say('full')).rejects.toMatchObject({ code: 'channel_full' })
  })

  test('the log: its lines carry the scope, and errors in them stay errors', async () => {
    const lines: { err?: { type?: string; stack?: string } }[] = []
    const log = pino({}, { write: (line) => void lines.push(JSON.parse(line) as object) })
    const peer = await connected(undefined, { log })
    await peer.say('log careful')
    expect(lines).toMatchObject([
      { msg: 'careful', answer: 42, protocol: 'websocket', err: { type: 'RangeError', message: 'too far' } },
    ])
    expect(lines[0]).toMatchObject({ scope: peer.communicator.connection.scope.id })
    expect(lines[0]?.err?.stack).toContain('consumers.ts')
  })

  test('the signal, which work can look at: a handler stops when its peer has left, and nothing is ended for that', async () => {
    await using pool = openPool({ threads: 1, grace: 10 })
    const peer = await connected()
    expect(await peer.ask('until-aborted')).toBe('started')
    expect(await peer.leave()).toEqual({ kind: 'finished' })
    expect(pool.stats().died).toBe(0)
  })

  test('the bytes of an event: copied without the memory that they share with others', async () => {
    const peer = await connected()
    const bytes = Buffer.from('12345')
    await peer.communicator.sendInput({ type: 'websocket.receive', bytes })
    expect(await peer.hear()).toBe('5 of 5')
    expect(bytes.toString()).toBe('12345')
  })

  test.each([
    ['of their own, which are gone here then', new Uint8Array([42, 1]), 0],
    ['of a pool, which stay', Buffer.from('*1'), 2],
  ])('or moved, where the class says so: bytes %s', async (_, bytes, left) => {
    const peer = new Peer(syncApplication(consumers.Moves, fixture('consumers.ts')))
    await peer.communicator.sendInput({ type: 'websocket.receive', bytes })
    expect(await peer.hear()).toBe('42')
    expect(bytes.byteLength).toBe(left)
  })
})

describe('what goes wrong', () => {
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
    await peer.layer.send(peer.communicator.connection.scope.id.length > 0 ? await channelOf(peer) : '', {
      type: 'note.async',
    })
    const error = await outcomeOf(peer)
    expect(error).toMatchObject({
      code: 'bridge_failed',
      message: expect.stringContaining("Obedient['note.async'] gave a promise") as unknown,
    })
  })

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
})

describe('a peer that does not read', () => {
  /** Its transport takes nothing until it is told to. */
  function slowPeer() {
    const taken = Promise.withResolvers<void>()
    const sent: string[] = []
    const ended = Promise.withResolvers<Outcome>()
    const transport: Transport<WebsocketProtocol> = {
      progress: 'finished',
      send: (event) => {
        sent.push('text' in event ? (event.text ?? '') : event.type)
        return event.type === 'websocket.accept' ? undefined : taken.promise
      },
      end: ended.resolve,
    }
    const instance = new Instance(obedient, websocketScope(), transport, {
      layer: new MemoryLayer(),
      log: silentLog,
      closeTimeout: 20_000,
      limits: defaultMailboxLimits,
    })
    instance.deliver({ type: 'websocket.connect' })
    const say = (text: string) =>
      new Promise((resolve) => instance.deliver({ type: 'websocket.receive', text }, { handled: resolve }))
    return { taken, sent, ended: ended.promise, say, instance }
  }

  test('does not keep a thread: its scope alone waits, and its next event does', async () => {
    await using _pool = openPool({ threads: 1 })
    const slow = slowPeer()
    const order: string[] = []
    const first = slow.say('said').then(() => order.push('first'))
    const second = slow.say('said').then(() => order.push('second'))
    const other = await connected()
    while (!slow.sent.includes('said')) await immediate()
    expect(await other.ask('said')).toBe('said')
    order.push('other')
    expect(slow.sent).toEqual(['websocket.accept', 'said'])
    slow.taken.resolve()
    slow.instance.disconnect({ type: 'websocket.disconnect', code: 1001, reason: '' })
    await Promise.all([first, second])
    expect(order).toEqual(['other', 'first', 'second'])
    expect(await slow.ended).toEqual({ kind: 'finished' })
  })

  test('fails the event when what was sent is lost in the end', async () => {
    await using _pool = openPool({ threads: 1 })
    const slow = slowPeer()
    const handled = slow.say('said')
    while (!slow.sent.includes('said')) await immediate()
    await later(150)
    slow.taken.reject(new Error('the line is cut'))
    expect(await handled).toMatchObject({ message: 'the line is cut' })
    expect(await slow.ended).toMatchObject({ kind: 'raised' })
  })
})

describe('a plain function', () => {
  test('that blocks until the next event serves a scope', async () => {
    await using pool = openPool()
    const peer = await connected(plainEcho)
    expect(await peer.ask('a')).toMatch(/^1 a kitchen \d+$/)
    expect(await peer.ask('b')).toMatch(/^2 b kitchen \d+$/)
    expect(await peer.leave()).toEqual({ kind: 'finished' })
    await forgotten(pool)
  })

  test('answers a request', async () => {
    const application = syncApplication(consumers.plainHello, fixture('consumers.ts'), 'plainHello')
    const layer = new MemoryLayer()
    const communicator = new ApplicationCommunicator<HttpProtocol>(application, httpScope(), { layer, timeout: 20_000 })
    expect(await communicator.receiveOutput()).toEqual({ type: 'http.response.start', status: 200 })
    expect(await communicator.receiveOutput()).toEqual({ type: 'http.response.body', body: 'hello 0' })
    expect(await communicator.wait()).toEqual({ kind: 'finished' })
  })

  test('that raises, that is not plain, or that asks for more than there is, fails its scope', async () => {
    await using pool = openPool()
    const raising = await connected(plainEcho)
    await expect(raising.say('fail')).rejects.toThrow('as you wish')
    const insatiable = await connected(plainEcho)
    void insatiable.say('over')
    await insatiable.leave()
    expect(await outcomeOf(insatiable)).toMatchObject({ code: 'scope_ended' })
    const disguised = syncApplication(consumers.asyncInDisguise, fixture('consumers.ts'), 'asyncInDisguise')
    const layer = new MemoryLayer()
    const communicator = new ApplicationCommunicator<HttpProtocol>(disguised, httpScope(), { layer })
    expect(await communicator.wait()).toMatchObject({ kind: 'raised', error: { code: 'bridge_failed' } })
    await forgotten(pool)
  })

  test('that waits for its peer lets others use its thread, and goes on when its event comes', async () => {
    await using pool = openPool({ threads: 1 })
    const plain = await connected(plainEcho)
    expect(await onWorker('quadruple')(2)).toBe(8)
    const consumer = await connected()
    const thread = await consumer.ask('thread')
    expect(await plain.ask('a')).toBe(`1 a kitchen ${thread}`)
    expect(await Promise.all([plain.ask('b'), consumer.ask('said'), onWorker('quadruple')(3)])).toEqual([
      `2 b kitchen ${thread}`,
      'thread,said',
      12,
    ])
    await consumer.say('nothing')
    expect(pool.stats()).toMatchObject({ threads: 1, running: 1, queued: 0 })
    await plain.leave()
  })

  test('is waited for by nobody: what begins when it asks for an event gets a thread of its own', async () => {
    await using _pool = openPool({ threads: 2 })
    const peer = await connected(plainEcho)
    const begun = Promise.withResolvers<number>()
    const handled = () => begun.resolve(onWorker('thread')())
    peer.communicator.connection.deliver({ type: 'websocket.receive', text: 'a' }, { handled })
    expect(await peer.hear()).not.toContain(` ${await begun.promise}`)
    await peer.leave()
  })

  test('for which there is no thread waits for one, and not for ever', async () => {
    await using pool = openPool({ threads: 1, timeout: 2500 })
    await warm()
    const first = await connected(plainEcho)
    const second = new Peer(plainEcho)
    const connecting = second.connect()
    while (pool.stats().queued === 0) await immediate()
    await first.leave()
    await connecting
    const third = new Peer(plainEcho)
    expect(await outcomeOf(third)).toMatchObject({
      code: 'timed_out',
      message: expect.stringContaining('no free thread') as unknown,
    })
    expect(await second.ask('a')).toContain('1 a')
  })
})

test('a sync consumer and a marked function are told from everything else', () => {
  class Mine extends SyncConsumer<WebsocketProtocol> {}
  expect([Mine, consumers.Obedient, consumers.plainEcho].map(isSyncHandler)).toEqual([true, true, true])
  expect([Mine, consumers.Obedient, consumers.plainEcho].map(isSyncConsumer)).toEqual([true, true, false])
  expect([Consumer, WebsocketTwin, () => undefined, {}, null, undefined].filter(isSyncHandler)).toEqual([])
})

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

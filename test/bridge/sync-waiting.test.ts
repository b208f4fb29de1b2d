/** Peers that do not read, and plain functions that serve a whole scope: whoever waits keeps nobody else from working. */
import { afterAll, describe, expect, test } from '@jest/globals'
import { setImmediate as immediate, setTimeout as later } from 'node:timers/promises'
import type { HttpProtocol } from '../../protocols/http/scope.ts'
import type { WebsocketProtocol } from '../../protocols/websocket/scope.ts'
import type { Outcome, Transport } from '../../src/asgi/adapter.ts'
import { syncApplication } from '../../src/bridge/sync-application.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { Instance } from '../../src/runtime/instance.ts'
import { defaultMailboxLimits } from '../../src/runtime/instance-options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import * as consumers from './fixtures/consumers.ts'
import { Peer, connected, forgotten, obedient, outcomeOf, plainEcho, warm } from './peer.ts'
import { httpScope, websocketScope } from './scopes.ts'
import { changed, fixture, onWorker, openPool, sharedState } from './support.ts'

/** Of every test that needs none of its own; one that does opens it, and then that is the newest. */
const pool = openPool({ threads: 1 })
afterAll(() => pool.close())

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

test('a scope that is open may always go on; a new one is refused when nothing more may wait', async () => {
  await using pool = openPool({ threads: 1, queue: 0 })
  const open = await connected()
  const state = sharedState()
  const gate = onWorker('gate')(state)
  await changed(state, 0, 0)
  const answer = open.ask('said')
  await expect(new Peer().communicator.sendInput({ type: 'websocket.connect' })).rejects.toMatchObject({
    code: 'queue_full',
  })
  expect(pool.stats()).toMatchObject({ queued: 1, running: 1 })
  Atomics.store(state, 1, 1)
  Atomics.notify(state, 1)
  await gate
  expect(await answer).toBe('said')
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

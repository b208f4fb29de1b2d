/** Sync consumers as applications: where they live, and what they are lent. */
import { afterAll, describe, expect, test } from '@jest/globals'
import { threadId } from 'node:worker_threads'
import { pino } from 'pino'
import type { SmsProtocol } from '../../protocols/sms/scope.ts'
import type { WebsocketProtocol } from '../../protocols/websocket/scope.ts'
import { syncApplication } from '../../src/bridge/sync-application.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { SyncConsumer } from '../../src/consumers/sync-consumer.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { isSyncConsumer, isSyncHandler } from '../../src/runtime/blocking.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import * as consumers from './fixtures/consumers.ts'
import { SmsSync, WebsocketTwin } from './fixtures/twins.ts'
import { Peer, connected, forgotten, warm } from './peer.ts'
import { smsScope } from './scopes.ts'
import { fixture, onWorker, openPool } from './support.ts'

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

test('a sync consumer and a marked function are told from everything else', () => {
  class Mine extends SyncConsumer<WebsocketProtocol> {}
  expect([Mine, consumers.Obedient, consumers.plainEcho].map(isSyncHandler)).toEqual([true, true, true])
  expect([Mine, consumers.Obedient, consumers.plainEcho].map(isSyncConsumer)).toEqual([true, true, false])
  expect([Consumer, WebsocketTwin, () => undefined, {}, null, undefined].filter(isSyncHandler)).toEqual([])
})

/** A single connection to Redis says nothing any more, or never did, and is not closed: it is given up, and nothing hangs. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { RedisLayer } from '../../src/layers/redis.ts'
import type { RedisLayerOptions } from '../../src/layers/redis-options.ts'
import { requires } from '../support/requirements.ts'
import { text, until, wordsOf } from './messages.ts'
import { RedisServer, freePort } from './redis-server.ts'
import { StallingWay } from './stalling-way.ts'

const layers: RedisLayer[] = []
let way: StallingWay

async function open(options: RedisLayerOptions = {}): Promise<RedisLayer> {
  const layer = await RedisLayer.open({ url: way.url, answerTimeout: 200, presenceTimeout: 300, ...options })
  layers.push(layer)
  return layer
}

const connected = (layer: RedisLayer) => until(() => layer.stats().connected === true)

async function member(layer: RedisLayer, group: string) {
  const got: string[] = []
  const channel = layer.newChannel({ deliverMessage: (message) => got.push(wordsOf(message)) > 0 })
  await layer.groupAdd(group, channel)
  return { got, channel }
}

async function heard(from: RedisLayer, got: readonly string[], words: string): Promise<void> {
  await until(async () => {
    await from.groupSend('chat', text(words))
    return got.includes(words)
  })
}

async function close(): Promise<void> {
  for (const layer of layers.splice(0)) await layer.close()
  await way[Symbol.asyncDispose]()
}

requires('redis-server', 'redis-cli').describe('a silent connection', () => {
  let server: RedisServer

  beforeAll(async () => {
    server = await RedisServer.start()
  })

  beforeEach(async () => {
    way = await StallingWay.to(server.port)
  })

  afterEach(close)

  afterAll(async () => {
    await server.stop()
  })

  test.each([0, 1])('that never said anything is tried again: number %i of a new layer', async (silent) => {
    way.take = (number) => (number === silent ? 'silent' : 'open')
    const layer = await open({ connectTimeout: 10 })
    await connected(layer)
    const { got } = await member(layer, 'chat')
    await heard(await open({ url: server.url }), got, 'hi')
  })

  test.each([0, 1])('that never said anything is tried again: number %i of a link that is mended', async (silent) => {
    const layer = await open()
    const { got } = await member(layer, 'chat')
    const before = way.connections.length
    way.take = (number) => (number === before + silent ? 'silent' : 'open')
    way.connections[0]?.cut()
    await until(() => way.connections.length > before + silent + 1)
    await connected(layer)
    await heard(await open({ url: server.url }), got, 'hi')
  })

  test('that never said anything is tried again: of a worker', async () => {
    const layer = await open()
    way.take = (number) => (number === 2 ? 'silent' : 'open')
    const received = layer.receive('work')
    await layer.send('work', text('hi'))
    await expect(received).resolves.toEqual(text('hi'))
    expect(way.connections).toHaveLength(4)
  })

  test('on which messages came before is noticed', async () => {
    const [layer, other] = [await open(), await open({ url: server.url })]
    const { got } = await member(layer, 'chat')
    await heard(other, got, 'before')
    const [, subscriber] = way.connections
    if (!subscriber) throw new Error('expected a connection for subscriptions')
    subscriber.silent = 'server'
    await heard(other, got, 'after')
  })

  test('on which a group is joined keeps nobody waiting', async () => {
    const layer = await open({ presenceTimeout: 3_600_000 })
    const [, subscriber] = way.connections
    if (!subscriber) throw new Error('expected a connection for subscriptions')
    subscriber.silent = 'server'
    const { got } = await member(layer, 'chat')
    await connected(layer)
    await heard(await open({ url: server.url }), got, 'hi')
  })

  test('of a worker, from which an answer was lost, keeps no worker that is to stop, and what was lost is done', async () => {
    const layer = await open({ claimAfter: 300 })
    const stop = new AbortController()
    const handled: string[] = []
    const working = layer.consume('work', (message) => void handled.push(wordsOf(message)), {
      signal: stop.signal,
      concurrency: 2,
    })
    await until(async () => (await server.cli('INFO', 'clients')).includes('blocked_clients:1'))
    const [, , reader] = way.connections
    if (!reader) throw new Error('expected a connection that waits for work')
    reader.silent = 'server'
    await layer.send('work', text('lost'))
    await until(() => handled.length > 0)
    const before = await commands(server)
    stop.abort()
    await working
    expect(handled).toEqual(['lost'])
    // It asks again and again whether the read is over, but ever more seldom.
    expect((await commands(server)) - before).toBeLessThan(50)
  })

  test('keeps no layer from being closed, and then nothing is tried any more', async () => {
    way.take = (number) => (number === 0 ? 'open' : 'silent')
    const layer = await open({ connectTimeout: 10, answerTimeout: 60_000 })
    await until(() => way.connections.length === 2)
    way.take = () => 'closed'
    await layer.close()
    const before = way.connections.length
    // Longer than the first pauses between two attempts.
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(way.connections).toHaveLength(before)
    // Its own, to the server, are gone.
    await until(async () => (await server.cli('CLIENT', 'LIST')).split('\n').length === 1)
  })

  test('that breaks while groups are left has none of them when it is back', async () => {
    const got = await breakWhileGroupsAreLeft()
    await heard(await open({ url: server.url }), got, 'hi')
    expect(await server.cli('PUBSUB', 'CHANNELS', 'signalbox:group:*')).toBe('signalbox:group:chat')
  })
})

requires('redis-server', 'redis-cli').describe('a silent connection to a cluster', () => {
  let server: RedisServer

  beforeAll(async () => {
    server = await RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', String(await freePort()))
    await server.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await until(async () => (await server.cli('CLUSTER', 'INFO')).includes('cluster_state:ok'))
  })

  beforeEach(async () => {
    way = await StallingWay.to(server.port)
    // Its clients go where the node says that it is.
    await server.cli('CONFIG', 'SET', 'cluster-announce-port', String(way.port))
  })

  afterEach(close)

  afterAll(async () => {
    await server.stop()
  })

  test.each([0, 1, 2, 3])('that never said anything is tried again: number %i of a new layer', async (silent) => {
    way.take = (number) => (number === silent ? 'silent' : 'open')
    const layer = await open({ connectTimeout: 10 })
    await connected(layer)
    const { got } = await member(layer, 'chat')
    await heard(await open(), got, 'hi')
    expect(way.connections.length).toBeGreaterThan(silent)
  })

  test('on which messages came before is noticed', async () => {
    const layer = await open()
    const { got } = await member(layer, 'chat')
    // The first contact, the one that asked who is in the cluster, the one for commands: the next is for subscriptions.
    const subscriber = way.connections[3]
    if (!subscriber) throw new Error('expected a connection for subscriptions')
    const other = await open()
    await heard(other, got, 'before')
    subscriber.silent = 'server'
    await heard(other, got, 'after')
  })

  test('that breaks while groups are left has none of them when it is back', async () => {
    const got = await breakWhileGroupsAreLeft()
    await heard(await open(), got, 'hi')
    await until(
      async () => (await server.cli('PUBSUB', 'SHARDCHANNELS', 'signalbox:group:*')) === 'signalbox:group:chat',
    )
  })
})

/** What the member of `chat` gets, which stays. */
async function breakWhileGroupsAreLeft() {
  const layer = await open()
  const left = await Promise.all(['a', 'b', 'c'].map(async (group) => member(layer, group)))
  const { got } = await member(layer, 'chat')
  const before = way.connections.length
  for (const connection of way.connections) connection.silent = 'both'
  for (const { channel } of left) await layer.closeChannel(channel)
  await new Promise(setImmediate)
  for (const { cut } of way.connections.slice(0, before)) cut()
  await until(() => way.connections.length > before)
  return got
}

async function commands(server: RedisServer): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await server.cli('INFO', 'stats'))?.[1])
}

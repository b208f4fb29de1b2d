/** The Redis channel layer on a cluster, of one node: it keeps the contract, and groups go by sharded pub/sub. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import type { Event } from '../../src/asgi/protocol.ts'
import { RedisLayer } from '../../src/layers/redis.ts'
import type { RedisLayerOptions } from '../../src/layers/redis-options.ts'
import { requires } from '../support/requirements.ts'
import { layerContract } from './contract.ts'
import { text, until } from './messages.ts'
import { RedisServer, freePort } from './redis-server.ts'
import { talk } from './talk.ts'

const layers: RedisLayer[] = []

afterEach(async () => {
  for (const layer of layers.splice(0)) await layer.close()
})

async function open(options: RedisLayerOptions): Promise<RedisLayer> {
  const layer = await RedisLayer.open(options)
  layers.push(layer)
  return layer
}

requires('redis-server', 'redis-cli').describe('a cluster', () => {
  let server: RedisServer
  let tests = 0

  const isUp = () => until(async () => (await server.cli('CLUSTER', 'INFO')).includes('cluster_state:ok'))

  beforeAll(async () => {
    server = await RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', String(await freePort()))
    await server.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await isUp()
  })

  afterAll(async () => {
    await server.stop()
  })

  layerContract(
    'redis cluster',
    (options) => RedisLayer.open({ ...options, url: server.url, prefix: `test${++tests}` }),
    10,
  )

  test('group messages go by sharded pub/sub', async () => {
    const { url } = server
    const [a, b] = [await open({ url }), await open({ url, cluster: true })]
    await talk(a, b)
    const watching = await server.monitor()
    await a.groupSend('chat', text('one'))
    expect((await watching.stop()).map((command) => command.split('"')[1])).toEqual(['SPUBLISH'])
    expect(await server.cli('PUBSUB', 'SHARDNUMSUB', 'signalbox:group:chat')).toMatch(/1$/)
  })

  test('redis-cli sends to a group with SPUBLISH', async () => {
    const layer = await open({ url: server.url })
    const got: Event[] = []
    await layer.groupAdd('chat', layer.newChannel({ deliverMessage: (message) => got.push(message) > 0 }))
    await server.cli('SPUBLISH', 'signalbox:group:chat', '{"type":"chat.message","text":"hi"}')
    await until(() => got.length > 0)
    expect(got).toEqual([text('hi')])
  })

  test('a cluster that goes away and comes back is as one server', async () => {
    const [a, b] = [await open({ url: server.url }), await open({ url: server.url, presenceTimeout: 300 })]
    await talk(a, b)
    await server.kill()
    await until(() => !a.stats().connected && !b.stats().connected)
    await expect(b.groupSend('chat', text('local'))).resolves.toEqual({ delivered: 1, dropped: 0 })
    await server.start()
    await isUp()
    await until(() => Boolean(a.stats().connected && b.stats().connected))
    await until(async () => (await server.cli('PUBSUB', 'SHARDNUMSUB', 'signalbox:group:chat')).endsWith('1'))
    await talk(a, b)
    await until(async () => (await a.groupSize('chat')) === 2)
  })
})

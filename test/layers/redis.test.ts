/** The Redis channel layer, with a real redis-server, keeps the contract of every layer. */
import { afterAll, beforeAll } from '@jest/globals'
import { RedisLayer } from '../../src/layers/redis.ts'
import { requires } from '../support/requirements.ts'
import { layerContract } from './contract.ts'
import { RedisServer } from './redis-server.ts'

const redis = requires('redis-server', 'redis-cli')

redis.describe('redis', () => {
  let server: RedisServer
  let layers = 0

  beforeAll(async () => {
    server = await RedisServer.start()
  })

  afterAll(async () => {
    await server.stop()
  })

  layerContract('redis', (options) => RedisLayer.open({ ...options, url: server.url, prefix: `test${++layers}` }), 60)
})

/** Tests of what is the same wherever sessions are kept: in memory, and in a Redis where one is installed. */
import { afterAll, beforeAll, describe } from '@jest/globals'
import { RedisServer } from '../../layers/redis-server.ts'
import { requires } from '../../support/requirements.ts'
import { recorder, serveMqtt, type MqttServer } from './support.ts'

/** `options` are of `listen.mqtt`. */
export type Start = (
  options?: Readonly<Record<string, unknown>>,
  own?: ReturnType<typeof recorder>,
) => Promise<MqttServer>

export function inEachStore(body: (start: Start) => void): void {
  describe('kept in memory', () => {
    body((options, { application } = recorder()) => serveMqtt(application, { persistence: 'memory', ...options }))
  })
  requires('redis-server', 'redis-cli').describe('kept in Redis', () => {
    let redis: RedisServer
    let prefixes = 0
    beforeAll(async () => {
      redis = await RedisServer.start()
    })
    afterAll(() => redis?.stop())
    body((options, { application } = recorder()) => {
      const shared = { url: redis.url, prefix: `store-${++prefixes}` }
      return serveMqtt(application, { persistence: 'auto', ...options }, { redis: shared })
    })
  })
}

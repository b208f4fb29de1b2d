/** The connections to the Redis that gateways share, while they break. */
import { expect } from '@jest/globals'
import { setImmediate as immediate } from 'node:timers/promises'
import { RedisLink } from '../../../protocols/mqtt/redis-link.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { RedisServer } from '../../layers/redis-server.ts'
import { requires } from '../../support/requirements.ts'

const { test } = requires('redis-server', 'redis-cli')

test('what is published at the very moment when Redis closes the connection waits for the next one', async () => {
  const redis = await RedisServer.start()
  const link = new RedisLink({ url: redis.url, prefix: 'test' }, silentLog, () => undefined)
  try {
    await link.start({ up: async () => undefined, beat: async () => undefined })
    const published: Promise<number>[] = []
    let going = true
    const traffic = (async () => {
      for (; going; await immediate()) published.push(link.publish('talk', Buffer.from('a word')))
    })()
    for (let round = 0; round < 5; round++) {
      const { generation } = link
      await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal')
      while (link.generation === generation) await immediate()
      await link.whenReady()
    }
    going = false
    await traffic
    const outcomes = await Promise.allSettled(published)
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
  } finally {
    link.close()
    await redis.stop()
  }
})

/** The connections to the Redis that gateways share, while they break. */
import { afterEach, beforeEach, expect, jest } from '@jest/globals'
import { setImmediate as immediate } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { RedisLink } from '../../../protocols/mqtt/redis-link.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { RedisServer } from '../../layers/redis-server.ts'
import { requires } from '../../support/requirements.ts'
import { Way } from './gateways.ts'

const { describe, test } = requires('redis-server', 'redis-cli')

let redis: RedisServer
let links: RedisLink[]
beforeEach(async () => {
  links = []
  redis = await RedisServer.start()
})
afterEach(async () => {
  for (const link of links) link.close()
  await redis?.stop()
})

async function started(url: string, answerTimeout: number): Promise<RedisLink> {
  const link = new RedisLink({ url, prefix: 'test', connectTimeout: 50, answerTimeout }, silentLog, () => undefined)
  links.push(link)
  await link.start({ up: async () => undefined, beat: async () => undefined })
  return link
}

/** Redis closes the connections that have not subscribed. */
async function breakOff(link: RedisLink): Promise<void> {
  const { generation } = link
  await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal')
  while (link.generation === generation) await immediate()
}

test('what is published at the very moment when Redis closes the connection waits for the next one', async () => {
  const link = await started(redis.url, 10_000)
  const published: Promise<number>[] = []
  let going = true
  const traffic = (async () => {
    for (; going; await immediate()) published.push(link.publish('talk', Buffer.from('a word')))
  })()
  for (let round = 0; round < 5; round++) {
    await breakOff(link)
    await link.whenReady()
  }
  going = false
  await traffic
  const outcomes = await Promise.allSettled(published)
  expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
})

test('what is published while a connection to a Redis that hangs is being closed waits without asking again and again', async () => {
  const link = await started(redis.url, 10_000)
  const attempts = jest.spyOn(Redis.prototype, 'publish')
  try {
    await link.whenReady()
    await link.publish('talk', Buffer.from('who publishes'))
    const [publisher] = attempts.mock.contexts as Redis[]
    const { generation } = link
    redis.hang()
    // It is being closed, and Redis does not say that it has heard.
    publisher?.disconnect(true)
    const published = ['a', 'b', 'c', 'd', 'e'].map((word) => link.publish('talk', Buffer.from(word)))
    while (link.generation === generation) await immediate()
    expect(attempts.mock.calls.length).toBeLessThan(50)
    redis.wake()
    await Promise.all(published)
    const words = attempts.mock.calls.map(([, message]) => String(message))
    expect(words.slice(-5)).toEqual(['a', 'b', 'c', 'd', 'e'])
  } finally {
    attempts.mockRestore()
  }
})

test('what Redis answers while this process stands still is heard before the connection is given up', async () => {
  const link = await started(redis.url, 100)
  await link.whenReady()
  const { generation } = link
  const ping = jest.spyOn(Redis.prototype, 'ping').mockImplementationOnce(function (this: Redis) {
    redis.hang()
    setImmediate(() => {
      redis.wake()
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
    })
    return this.ping()
  })
  try {
    // Of each connection, and once more.
    while (ping.mock.calls.length < 7) await immediate()
    expect(link.generation).toBe(generation)
  } finally {
    ping.mockRestore()
  }
})

describe('a connection that comes about and says nothing', () => {
  test('is given up for another one at the start', async () => {
    await using way = await Way.to(redis.port)
    way.mute(2)
    const link = await started(way.url, 100)
    await link.whenReady()
    expect(way.muted).toBe(2)
    expect(await link.publish('talk', Buffer.from('a word'))).toBe(0)
  })

  test('is given up for another one when Redis is to come back', async () => {
    await using way = await Way.to(redis.port)
    const link = await started(way.url, 100)
    await link.whenReady()
    way.mute(2)
    await breakOff(link)
    await link.whenReady()
    expect(way.muted).toBe(2)
    expect(await link.publish('talk', Buffer.from('a word'))).toBe(0)
  })
})

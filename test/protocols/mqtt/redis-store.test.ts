/** What a gateway has in Redis, while Redis goes and comes back, or takes the gateway for one that is gone. */
import { afterEach, beforeEach, expect, jest } from '@jest/globals'
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { openRedisStore, type ConnectedClient, type SharedPolicy } from '../../../protocols/mqtt/redis-store.ts'
import type { Will } from '../../../protocols/mqtt/redis-wills.ts'
import { silentLog } from '../../../src/runtime/log.ts'
import { RedisServer } from '../../layers/redis-server.ts'
import { requires } from '../../support/requirements.ts'
import { until } from './support.ts'

const { test } = requires('redis-server', 'redis-cli')

const subscription = { topic: 't', qos: 1 } as const

let redis: RedisServer
let stores: { destroy(): Promise<void> }[]
beforeEach(async () => {
  stores = []
  redis = await RedisServer.start()
})
afterEach(async () => {
  jest.restoreAllMocks()
  for (const store of stores) await store.destroy()
  await redis?.stop()
})

interface Settings {
  readonly presenceTimeout: number
  readonly sessionExpiry: number
}

/** The store of a gateway, and its clients, each with a subscription and a will. */
async function gateway(id: string, { presenceTimeout, sessionExpiry }: Settings) {
  const failures: unknown[] = []
  const policy = {
    maxQueued: 10,
    maxRetained: 10,
    sessionExpiry,
    maxMessage: 1000,
    mayKeep: () => true,
    granted: () => [subscription],
    letGo: async () => undefined,
    catchUp: async () => undefined,
    failed: (error) => void failures.push(error),
    rejected: (why) => void failures.push(why),
    dropped: (_, setting) => void failures.push(setting),
    expired: () => undefined,
  } satisfies SharedPolicy
  const { store, shared } = openRedisStore({ url: redis.url, prefix: 'p', presenceTimeout }, policy, silentLog)
  stores.push(store)
  const clients: Record<string, ConnectedClient> = {}
  await store.setup({ id, clients, mq: shared.mq })
  const connect = async (clientId: string) => {
    const will: Will = { topic: 'gone', payload: Buffer.from(clientId), qos: 1, retain: false }
    const client = { id: clientId, closed: false, clean: false, will }
    await store.claim(clientId)
    clients[clientId] = client
    await store.putWill(client, will)
    await store.addSubscriptions(client, [subscription])
    return {
      client,
      leave() {
        client.closed = true
        delete clients[clientId]
        store.release(clientId)
      },
    }
  }
  return { store, connect, failures }
}

async function all<T>(found: AsyncIterable<T>): Promise<readonly T[]> {
  const list: T[] = []
  for await (const one of found) list.push(one)
  return list
}

const owners = () => redis.cli('HGETALL', 'p:mqtt:owners')
const away = () => redis.cli('ZRANGE', 'p:mqtt:away', '0', '-1')

test('a client that leaves while its gateway takes it up again is away', async () => {
  const { store, connect, failures } = await gateway('one', { presenceTimeout: 300, sessionExpiry: 60_000 })
  const device = await connect('device')
  await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal')
  const evaluate = jest.spyOn(Redis.prototype, 'eval').mockImplementationOnce(function (this: Redis, ...args) {
    const answer = this.eval(...args)
    device.leave()
    return answer
  })
  await until(() => evaluate.mock.calls.length > 0 && store.ready)
  while ((await away()) !== 'device') await pause(10)
  expect(await owners()).toBe('')
  expect(failures).toEqual([])
})

test('what a client unsubscribes from while Redis is away is not given back to it', async () => {
  const { store, connect, failures } = await gateway('one', { presenceTimeout: 15_000, sessionExpiry: 60_000 })
  const { client } = await connect('device')
  await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal')
  await until(() => !store.ready)
  await store.removeSubscriptions(client, ['t'])
  expect(store.ready).toBe(true)
  expect(await redis.cli('HGETALL', 'p:mqtt:subscriptions:device')).toBe('')
  expect(await store.subscriptionsByTopic('t')).toEqual([])
  expect(failures).toEqual([])
})

test('a gateway that stood still for too long takes up its clients again, with their sessions and wills', async () => {
  const one = await gateway('one', { presenceTimeout: 3000, sessionExpiry: 60_000 })
  const two = await gateway('two', { presenceTimeout: 1, sessionExpiry: 1 })
  const clientsFor = async ({ store }: typeof one) =>
    (await store.subscriptionsByTopic('t')).map(({ clientId }) => clientId)
  await one.connect('device')
  expect(await owners()).toMatch(/^device\none /)
  while ((await owners()) !== '') {
    // It has not said for so long that it is there.
    await redis.cli('DEL', 'p:mqtt:alive:one')
    const wills = await all(two.store.streamWill())
    expect(wills.map(({ clientId }) => clientId)).toEqual(['device'])
    for (const will of wills) await two.store.delWill({ id: 'device', brokerId: will.brokerId ?? '' })
  }
  // Nobody came, and the session is deleted.
  while ((await clientsFor(two)).length > 0) await pause(10)
  while ((await owners()) === '') await pause(10)
  while ((await clientsFor(two)).length === 0) await pause(10)
  expect(await away()).toBe('')
  expect(await clientsFor(one)).toEqual(['device'])
  expect(await redis.cli('HGETALL', 'p:mqtt:subscriptions:device')).toBe('t\n1')
  expect(await redis.cli('HKEYS', 'p:mqtt:wills:one')).toBe('device')
  expect(await all(two.store.streamWill())).toEqual([])
  expect([...one.failures, ...two.failures]).toEqual([])
})

/** What waits for clients in a Redis, until they have it. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { Redis } from 'ioredis'
import { RedisPersistence } from '../../../protocols/mqtt/redis-persistence.ts'
import type { StoredPacket } from '../../../protocols/mqtt/store.ts'
import { RedisServer } from '../../layers/redis-server.ts'
import { requires } from '../../support/requirements.ts'

const { describe } = requires('redis-server', 'redis-cli')

let server: RedisServer
let redis: Redis
let persistence: RedisPersistence
beforeEach(async () => {
  server = await RedisServer.start()
  redis = new Redis({ port: server.port, keyPrefix: 'p:' })
  persistence = new RedisPersistence(redis, 1000, (why) => {
    throw new Error(why)
  })
})
afterEach(async () => {
  jest.restoreAllMocks()
  redis.disconnect()
  await server?.stop()
})

const message = (number: number, qos: 1 | 2): StoredPacket => ({
  cmd: 'publish',
  topic: 't',
  payload: Buffer.from(String(number)),
  qos,
  retain: false,
  dup: false,
  brokerId: 'broker',
  brokerCounter: number,
})

async function waiting(id: string): Promise<readonly string[]> {
  const found: string[] = []
  for await (const { cmd, messageId, payload } of persistence.outgoingStream({ id }))
    found.push(`${cmd} ${messageId ?? '-'} ${payload ?? ''}`.trim())
  return found
}

describe('a message in Redis', () => {
  test('is known by its identifier until it is acknowledged, however many went to others meanwhile', async () => {
    const slow = ([1, 2] as const).map((qos) => ({ client: { id: `slow ${qos}` }, qos }))
    for (const { client, qos } of slow) {
      for (const number of [1, 2])
        await persistence.outgoingEnqueueCombi([{ clientId: client.id }], message(number, qos))
      await persistence.outgoingUpdate(client, { ...message(1, qos), messageId: 7 })
    }
    jest.spyOn(redis, 'exists').mockResolvedValue(1)
    jest.spyOn(redis, 'set').mockResolvedValue('OK')
    const others = { id: 'others' }
    for (let number = 0; number < 201_000; number++)
      await persistence.outgoingUpdate(others, { ...message(number, 1), messageId: number })
    jest.restoreAllMocks()
    for (const { client, qos } of slow) {
      if (qos === 2) {
        await persistence.outgoingUpdate(client, { cmd: 'pubrel', messageId: 7 } as StoredPacket)
        expect(await waiting(client.id)).toEqual(['pubrel 7', 'publish - 2'])
      }
      await persistence.outgoingClearMessageId(client, { messageId: 7 })
      expect(await waiting(client.id)).toEqual(['publish - 2'])
    }
    expect(await server.cli('KEYS', '*:broker.*:1*')).toBe('')
  })

  test('stays as it is when its client acknowledges another one', async () => {
    const client = { id: 'client' }
    await persistence.outgoingEnqueueCombi([{ clientId: 'client' }], message(1, 2))
    await persistence.outgoingUpdate(client, { ...message(1, 2), messageId: 7 })
    const unknown = persistence.outgoingUpdate(client, { cmd: 'pubrel', messageId: 8 } as StoredPacket)
    await expect(unknown).rejects.toThrow('no such packet')
    await persistence.outgoingClearMessageId(client, { messageId: 8 })
    expect(await waiting('client')).toEqual(['publish 7 1'])
  })
})

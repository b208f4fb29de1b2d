/** The store below the sessions: operations end in the order in which they began, and each sees those before it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, jest, test } from '@jest/globals'
import { ClassicLevel } from 'classic-level'
import fc from 'fast-check'
import { MemoryLevel } from '../../../protocols/mqtt/memory-level.ts'
import { OrderedLevel, type Level } from '../../../protocols/mqtt/ordered-level.ts'
import { openStore, type StorePolicy } from '../../../protocols/mqtt/store.ts'

const key = fc.constantFrom('a:1', 'a:2', 'b:1')
const operation = fc.oneof(
  fc.record({ kind: fc.constant('get' as const), key }),
  fc.record({ kind: fc.constant('put' as const), key, value: fc.nat(9) }),
  fc.record({ kind: fc.constant('del' as const), key }),
  fc.record({ kind: fc.constant('clear' as const) }),
  fc.record({ kind: fc.constant('chain' as const), key }),
)

test.each(['memory', 'disk'])('in %s, whatever is begun at once', async (kind) => {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-level-'))
  const open = (): Level => (kind === 'disk' ? new ClassicLevel<string, Buffer>(folder) : new MemoryLevel())
  const level = new OrderedLevel(open())
  const range = { gte: 'a:', lt: 'a;' }
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
      await level.clear({ gte: 'a', lt: 'c' })
      const model = new Map<string, string>()
      const expected: unknown[] = []
      const found: unknown[] = []
      const order: number[] = []
      const all = operations.map(async (one, index) => {
        let result: unknown
        if (one.kind === 'get') {
          expected[index] = model.get(one.key)
          result = ((await level.get(one.key)) as Buffer | undefined)?.toString()
        } else if (one.kind === 'put') {
          model.set(one.key, String(one.value))
          await level.put(one.key, Buffer.from(String(one.value)))
        } else if (one.kind === 'del') {
          model.delete(one.key)
          await level.batch([{ type: 'del', key: one.key }])
        } else if (one.kind === 'chain') {
          model.delete(one.key)
          const chain = level.batch()
          chain.del(one.key)
          await chain.write()
        } else {
          for (const known of model.keys()) if (known.startsWith('a:')) model.delete(known)
          await level.clear(range)
        }
        found[index] = result
        order.push(index)
      })
      await Promise.all(all)
      expect(found).toEqual(operations.map((_, index) => expected[index]))
      expect(order).toEqual(order.toSorted((first, second) => first - second))
      const values: string[] = []
      for await (const value of level.values(range)) values.push(value.toString())
      const keys: string[] = []
      for await (const one of level.keys(range)) keys.push(one)
      const left = [...model]
        .filter(([name]) => name.startsWith('a:'))
        .toSorted(([first], [second]) => (first < second ? -1 : 1))
      expect([keys, values]).toEqual([left.map(([name]) => name), left.map(([, value]) => value)])
    }),
    { numRuns: kind === 'disk' ? 50 : 100 },
  )
  await level.close()
  rmSync(folder, { recursive: true, force: true })
})

test('an operation that fails fails alone with its trip, and the next goes on', async () => {
  const memory = new MemoryLevel()
  let broken = true
  const level = new OrderedLevel({
    getMany: (keys) => memory.getMany(keys),
    batch: (operations) => (broken ? Promise.reject(new Error('the disk is full')) : memory.batch(operations)),
    clear: (range) => memory.clear(range),
    values: (range) => memory.values(range),
    keys: (range) => memory.keys(range),
    close: () => memory.close(),
  })
  await expect(level.put('a', Buffer.from('x'))).rejects.toThrow('the disk is full')
  broken = false
  await level.put('a', Buffer.from('y'))
  expect(String(await level.get('a'))).toBe('y')
  await level.del('a')
  expect(await level.get('a')).toBeUndefined()
})

const policy: StorePolicy = {
  maxQueued: 10,
  maxRetained: 10,
  sessionExpiry: 60_000,
  mayKeep: () => true,
  expired: () => undefined,
  dropped: () => undefined,
  failed: (error) => {
    throw error
  },
}

test('an acknowledgement is looked up when something was sent under its identifier, and only then', async () => {
  const store = await openStore(undefined, policy)
  await store.setup({ id: 'broker' })
  const lookUps = jest.spyOn(MemoryLevel.prototype, 'getMany')
  const client = { id: 'client' }
  const message = { cmd: 'publish', topic: 't', payload: Buffer.from('x'), brokerId: 'broker', brokerCounter: 1 }
  const released = { ...message, cmd: 'pubrel', messageId: 7 }
  await store.outgoingEnqueue({ clientId: 'client' }, message)
  for (let time = 0; time < 2; time++) {
    await store.outgoingUpdate(client, released)
    await store.outgoingClearMessageId(client, released)
  }
  expect(lookUps).not.toHaveBeenCalled()
  await store.outgoingUpdate(client, { ...message, messageId: 7 })
  expect(await store.outgoingClearMessageId(client, released)).toMatchObject({ topic: 't', messageId: 7 })
  lookUps.mockClear()
  expect(await store.outgoingClearMessageId(client, released)).toBeUndefined()
  expect(lookUps).not.toHaveBeenCalled()
  lookUps.mockRestore()
  await store.destroy()
})

test('a will is there until it is deleted, also after the gateway that took it has ended', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-store-'))
  const open = async () => {
    const store = await openStore(folder, policy)
    await store.setup({ id: 'broker' })
    return store
  }
  const client = { id: 'user/a:b %' }
  const before = await open()
  expect(await before.delWill(client)).toBeUndefined()
  const scope = { clientId: 'a:b %', username: 'user' }
  await before.putWill(client, { topic: 'gone', payload: Buffer.from('yes'), scope })
  await before.destroy()
  const after = await open()
  expect(await after.delWill(client)).toMatchObject({ topic: 'gone', clientId: client.id, scope })
  expect(await after.delWill(client)).toBeUndefined()
  await after.destroy()
  rmSync(folder, { recursive: true })
})

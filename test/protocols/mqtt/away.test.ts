/** Clients that are away: since when is known after a restart too, and whose time is up loses the session. */
import { expect, test } from '@jest/globals'
import { AwayClients } from '../../../protocols/mqtt/away.ts'
import { MemoryLevel } from '../../../protocols/mqtt/memory-level.ts'
import { OrderedLevel } from '../../../protocols/mqtt/ordered-level.ts'
import { until } from './support.ts'

const hour = 3_600_000

async function open(entries: Readonly<Record<string, string>>, withSession: readonly string[], sessionExpiry = hour) {
  const level = new OrderedLevel(new MemoryLevel())
  for (const [key, value] of Object.entries(entries)) await level.put(key, Buffer.from(value))
  const forgotten: string[] = []
  const away = new AwayClients(level, {
    sessionExpiry,
    forget: async (clientId) => void forgotten.push(clientId),
    expired: () => undefined,
    failed: (error) => {
      throw error
    },
  })
  await away.open(new Set(withSession))
  const written = async () => {
    const keys: string[] = []
    for await (const key of level.keys({ gte: 'away:', lt: 'away;' })) keys.push(key)
    return keys
  }
  return { away, forgotten, written, [Symbol.dispose]: () => away.close() }
}

test('one that left while the gateway ran before is counted from then, one that was there when it ended from now', async () => {
  const long = String(Date.now() - 2 * 500)
  using opened = await open({ 'away:%2Fold': long, 'away:%2Fback': long }, ['/old', '/back', '/there'], 500)
  const { away, forgotten, written } = opened
  await away.back('/back')
  await until(() => forgotten.length > 0)
  expect(forgotten).toEqual(['/old'])
  expect(await written()).toEqual(['away:%2Fthere'])
})

test('what is written of an empty session counts, and what is no time is put right', async () => {
  using opened = await open({ 'away:%2Fempty': String(Date.now()), 'away:%2Fodd': 'never', 'away:%2Fx': 'soon' }, [
    '/odd',
  ])
  expect(await opened.written()).toEqual(['away:%2Fempty', 'away:%2Fodd'])
  for (const id of ['/odd', '/empty']) await opened.away.back(id)
  expect(await opened.written()).toEqual([])
})

test('one that is back when its time would be up keeps its session', async () => {
  using opened = await open({}, [], 200)
  const { away, forgotten } = opened
  away.left('/first')
  away.left('/second')
  await away.back('/first')
  await until(() => forgotten.length > 0)
  expect(forgotten).toEqual(['/second'])
})

/** The layer that a YAML asks for, and the Redis that protocols share with it. */
import { expect, test } from '@jest/globals'
import { sharedRedis } from '../../src/cli/layer.ts'

test.each([
  [0, 5000],
  [40.6, 4959],
  [5003, 1],
])('a start that has waited %d ms for Redis waits for it only what is left', async (waited, left) => {
  const settings = { kind: 'redis' as const, options: { connectTimeout: 5000 } }
  await expect(sharedRedis(settings, '.', waited)).resolves.toMatchObject({ connectTimeout: left })
})

test('there is none behind a layer in memory', async () => {
  await expect(sharedRedis({ kind: 'memory', options: {} }, '.', 0)).resolves.toBeUndefined()
})

/** A short run of `npm run chaos`; the long ones are CI's. */
import { expect, test } from '@jest/globals'
import { runChaos } from './chaos.ts'

test('of what had a positive answer nothing is lost and nothing accepted twice, though the process is killed and the journal locked meanwhile', async () => {
  const { broken } = await runChaos({ kills: 3, life: 1000, fault: 'locked', say: () => undefined })
  expect(broken).toEqual([])
}, 240_000)

/** A short run of `npm run chaos`; the long one is CI's. */
import { expect, test } from '@jest/globals'
import { runChaos } from './chaos.ts'

test('of what had a positive answer nothing is lost, though the process is killed and the journal locked meanwhile', async () => {
  const outcome = await runChaos({ kills: 3, life: 1000, fault: 'locked', say: () => undefined })
  expect(outcome).toMatchObject({ lost: [], doubled: [], addsUp: true, exitCode: 0 })
  expect(outcome.answered).toBeGreaterThan(0)
}, 240_000)

/** What is left of instances that come and go. */
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { run } from '../support/child.ts'

// A function that is assigned where it is written is old from the start, and all that it knows stays until everything is collected.
test('a scope that is over leaves nothing behind that grows old in memory', async () => {
  const { out, error } = await run(path.join(import.meta.dirname, 'short-lives.ts'), [])
  expect(error).toBe('')
  // An instance alone has several hundred.
  expect(Number(out)).toBeLessThan(20)
})

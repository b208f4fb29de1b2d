/** What one start has compiled is kept for the next, where the operator's own files are. */
import { expect, test } from '@jest/globals'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { realMain, run } from '../support/child.ts'

/** What is in a fresh cache folder after a command has ended. */
async function keptBy(environment: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-cache-test-'))
  try {
    const ended = await run(realMain, ['--version'], { environment: { XDG_CACHE_HOME: folder, ...environment } })
    expect(ended).toMatchObject({ code: 0, error: '' })
    return await readdir(folder, { recursive: true })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

test('what a start has compiled is kept in the cache folder of the user', async () => {
  const kept = await keptBy({})
  expect(kept).toContain('signalbox')
  expect(kept.length).toBeGreaterThan(10)
})

test('NODE_DISABLE_COMPILE_CACHE keeps nothing, and a folder that cannot be made is no error', async () => {
  expect(await keptBy({ NODE_DISABLE_COMPILE_CACHE: '1' })).toEqual([])
  expect(await keptBy({ XDG_CACHE_HOME: path.join(realMain, 'no-folder') })).toEqual([])
})

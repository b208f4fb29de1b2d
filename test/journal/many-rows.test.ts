/** A journal of a million records: it opens and lists, and takes hardly more memory than one of ten thousand. */
import { expect, test } from '@jest/globals'
import path from 'node:path'
import { run } from '../support/child.ts'
import { Folder } from './support.ts'

const program = path.join(import.meta.dirname, 'fixtures', 'many-rows.ts')

interface Looked {
  readonly found: object
  /** Bytes. */
  readonly rss: number
}

/** Fills a journal in one process, and looks at it as another one that starts. */
async function look(count: number): Promise<Looked> {
  using folder = new Folder()
  expect(await run(program, ['fill', folder.path, String(count)])).toEqual({ code: 0, out: '', error: '' })
  const { code, out, error } = await run(program, ['look', folder.path])
  expect({ code, error }).toEqual({ code: 0, error: '' })
  return JSON.parse(out) as Looked
}

test('1,000,000 records are opened, listed and begun like 10,000, in as much memory but for what waits in it', async () => {
  const found = { page: 100, oldest: 1, dead: 1000, running: 64 }
  const few = await look(10_000)
  expect(few.found).toEqual({ ...found, waiting: 10_000 })
  const many = await look(1_000_000)
  expect(many.found).toEqual({ ...found, waiting: 1_000_000 })
  // Of 50,000 the dispatcher knows a little, and SQLite keeps some pages; all of them would be 300 MiB.
  expect((many.rss - few.rss) / 2 ** 20).toBeLessThan(128)
})

test('of 100,000 that go out in one lane a few are in memory', async () => {
  using folder = new Folder()
  const { out } = await run(path.join(path.dirname(program), 'long-lane.ts'), [folder.path, '100000'])
  expect(JSON.parse(out)).toEqual({ waiting: 100_000, inMemory: 32 })
})

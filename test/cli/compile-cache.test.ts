/** What one start has compiled is kept for the next, where the operator's own files are. */
import { expect, test } from '@jest/globals'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Running, realMain, run } from '../support/child.ts'

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

/** A gateway with one handler, and a cache folder beside it. */
async function site(handler: string) {
  const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-cache-test-'))
  const yaml =
    'listen: { http: { address: 127.0.0.1:0 } }\napplication: { ProtocolTypeRouter: { http: ./site.mjs#site } }\n'
  await writeFile(path.join(folder, 'gateway.yaml'), yaml)
  await writeFile(path.join(folder, 'site.mjs'), `${handler}\nexport const site = async () => undefined\n`)
  const cache = path.join(folder, 'cache')
  return { folder, cache, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

const startsThread = `
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
const code = "require('node:worker_threads').parentPort.postMessage(require('node:module').getCompileCacheDir())"
const [directory] = await once(new Worker(code, { eval: true }), 'message')
process.stdout.write('a thread keeps it in ' + directory + '\\n')
`

test('worker threads share it, whoever named the folder', async () => {
  await using place = await site(startsThread)
  const { folder, cache } = place
  const own = await run(realMain, ['check'], { folder, environment: { XDG_CACHE_HOME: cache } })
  expect(own.out).toContain(`a thread keeps it in ${path.join(cache, 'signalbox')}`)
  const named = await run(realMain, ['check'], { folder, environment: { NODE_COMPILE_CACHE: cache } })
  expect(named.out).toContain(`a thread keeps it in ${cache}${path.sep}v`)
})

test('a gateway that is killed has kept it', async () => {
  await using place = await site('')
  const { folder, cache } = place
  {
    await using gateway = new Running(realMain, ['serve'], { folder, environment: { XDG_CACHE_HOME: cache } })
    await gateway.sees('error', /"serving"/)
    gateway.kill('SIGKILL')
    await gateway.ended()
  }
  expect((await readdir(cache, { recursive: true })).length).toBeGreaterThan(100)
})

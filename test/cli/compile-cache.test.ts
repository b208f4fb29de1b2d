/** What one start has compiled is kept for the next, where the operator's own files are. */
import { expect, test } from '@jest/globals'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
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

/** Has the collector's youngest space grow, while the gateway starts, to where `serve` is to bound it. */
const fillsMemory = `
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics } from 'node:v8'
const young = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size
export async function lifespan(scope, receive, send) {
  await receive()
  if (process.env.FILL) {
    const seen = Promise.withResolvers()
    new PerformanceObserver(() => young() >= 32 * 1024 * 1024 && seen.resolve()).observe({ entryTypes: ['gc'] })
    const kept = []
    const filling = setInterval(() => kept.push(Array.from({ length: 1e5 }, (_, index) => ({ index }))), 1)
    await seen.promise
    clearInterval(filling)
  }
  await send({ type: 'lifespan.startup.complete' })
  await receive()
}
`

/** When each file in a folder was written. */
async function timesIn(folder: string): Promise<ReadonlyMap<string, number>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
  return new Map(await Promise.all(files.map(async (file) => [file, (await stat(file)).mtimeMs] as const)))
}

test('a second start takes all that the first has compiled, however much memory the first took', async () => {
  await using place = await site(fillsMemory)
  const { folder, cache } = place
  const yaml =
    'listen: { http: { address: 127.0.0.1:0 }, mqtt: { address: 127.0.0.1:0 } }\n' +
    'application: { ProtocolTypeRouter: { http: ./site.mjs#site, mqtt: ./site.mjs#site, lifespan: ./site.mjs#lifespan } }\n'
  await writeFile(path.join(folder, 'gateway.yaml'), yaml)
  const start = async (environment: Readonly<Record<string, string>>) => {
    await using gateway = new Running(realMain, ['serve'], {
      folder,
      environment: { XDG_CACHE_HOME: cache, ...environment },
    })
    await gateway.sees('error', /"serving"/)
    gateway.kill('SIGKILL')
    await gateway.ended()
    return await timesIn(cache)
  }
  const first = await start({ FILL: '1' })
  const second = await start({})
  expect(Array.from(first).filter(([file, time]) => second.get(file) !== time)).toEqual([])
})

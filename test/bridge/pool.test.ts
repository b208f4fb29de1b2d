/** The pool: who waits for whom, what is refused, what a dying thread takes with it, and what the main loop feels of it all. */
import { describe, expect, test } from '@jest/globals'
import { execFile } from 'node:child_process'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as immediate, setTimeout as later } from 'node:timers/promises'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { bridgeOptions } from '../../src/bridge/options.ts'
import { BridgePool, currentPool } from '../../src/bridge/pool.ts'
import { syncToAsync } from '../../src/bridge/sync-to-async.ts'
import { trail } from '../../src/bridge/trail.ts'
import { burn } from './fixtures/functions.ts'
import type { told } from './fixtures/loaded.ts'
import { changed, fixture, functionsUrl, onWorker, openPool, rejection, sharedState } from './support.ts'

/** A process that does not end is ended. */
const impatient = { timeout: 50_000, killSignal: 'SIGKILL' } as const

/** Keeps one thread busy until it is opened. */
async function closedGate() {
  const state = sharedState()
  const done = onWorker('gate')(state)
  await changed(state, 0, 0)
  return {
    done,
    open() {
      Atomics.store(state, 1, 1)
      Atomics.notify(state, 1)
      return done
    },
  }
}

describe('options', () => {
  test('have defaults, the same on every machine; threads are two at least, or one a core', async () => {
    expect(bridgeOptions.parse({})).toEqual({ queue: 1000, timeout: 30_000, grace: 1000 })
    await using pool = new BridgePool()
    const gates = await Promise.all(Array.from({ length: 2 }, closedGate))
    expect(pool.stats()).toMatchObject({ threads: 2, running: 2, queued: 0 })
    await Promise.all(gates.map((gate) => gate.open()))
  })

  test('are read as the YAML says them', () => {
    const text = { threads: '3', memory: '64MiB', queue: 5, timeout: '2s', grace: '100ms' }
    expect(bridgeOptions.parse(text)).toEqual({ threads: 3, memory: 64 * 2 ** 20, queue: 5, timeout: 2000, grace: 100 })
  })

  test.each([{ threads: 0 }, { memory: '1MiB' }, { timeout: 5 }, { workers: 2 }])('refuse %j', (text) => {
    expect(bridgeOptions.safeParse(text).success).toBe(false)
  })
})

describe('threads', () => {
  test('start when they are needed, and no more of them than that', async () => {
    await using pool = openPool({ threads: 3 })
    expect(pool.stats().threads).toBe(0)
    for (let n = 0; n < 5; n++) await onWorker('add')(n, n)
    expect(pool.stats().threads).toBe(1)
    const gates = [await closedGate(), await closedGate()]
    expect(pool.stats()).toMatchObject({ threads: 2, running: 2 })
    await Promise.all(gates.map((gate) => gate.open()))
  })

  test('are all used, and none is kept waiting while there is something to do', async () => {
    await using pool = openPool({ threads: 3 })
    const gates = await Promise.all([closedGate(), closedGate(), closedGate()])
    const rest = Promise.all(Array.from({ length: 30 }, (_, n) => onWorker('add')(n, 1)))
    expect(pool.stats()).toMatchObject({ threads: 3, running: 3, queued: 30 })
    expect(new Set(await Promise.all(gates.map((gate) => gate.open()))).size).toBe(3)
    expect(await rest).toHaveLength(30)
    expect(pool.stats()).toMatchObject({ threads: 3, running: 0, queued: 0 })
  })

  test('are prepared: one has its modules before there is work for it, has called nothing, and does the work', async () => {
    await using pool = openPool()
    await pool.prepare([fixture('throws.ts'), fixture('loaded.ts')])
    expect(pool.stats()).toEqual({ threads: 1, queued: 0, running: 0, scopes: 0, died: 0 })
    const prepared = process.hrtime.bigint()
    const { loaded, calls } = await syncToAsync<typeof told>(fixture('loaded.ts'), 'told')()
    expect({ early: loaded < prepared, calls, threads: pool.stats().threads }).toEqual({
      early: true,
      calls: 1,
      threads: 1,
    })
    // What did not load says so when it is needed.
    const error = await rejection(syncToAsync(fixture('throws.ts'), 'never')())
    expect(error.message).toContain('no database here')
  })

  test('are not prepared any more once the pool is closed, and that is no error', async () => {
    const pool = openPool()
    const preparing = pool.prepare([fixture('loaded.ts')])
    await pool.close()
    await preparing
    await pool.prepare([fixture('loaded.ts')])
    expect(pool.stats().threads).toBe(0)
  })
})

describe('the queue', () => {
  test('is bounded: what is too much is refused at once, and nothing else is', async () => {
    await using pool = openPool({ threads: 1, queue: 3 })
    const gate = await closedGate()
    const waiting = [1, 2, 3].map((n) => onWorker('add')(n, n))
    const error = await rejection(onWorker('add')(4, 4))
    expect(error).toMatchObject({ code: 'queue_full' })
    expect(error.message).toBe('functions.ts#add is refused: 3 calls and scopes wait for a thread')
    const signal = new AbortController().signal
    expect(await rejection(onWorker('add', { signal })(4, 4))).toMatchObject({ code: 'queue_full' })
    expect(pool.stats().queued).toBe(3)
    await gate.open()
    expect(await Promise.all(waiting)).toEqual([2, 4, 6])
    expect(await onWorker('add')(4, 4)).toBe(8)
  })

  test('serves scopes in turn: a hundred calls of one do not keep another waiting', async () => {
    await using _pool = openPool({ threads: 1 })
    const gate = await closedGate()
    const order: string[] = []
    const call = (scope: string) => trail.run({ scope }, () => onWorker('add')(1, 1).then(() => order.push(scope)))
    const greedy = Array.from({ length: 100 }, () => call('greedy'))
    const modest = [call('modest'), call('modest')]
    await gate.open()
    await Promise.all([...greedy, ...modest])
    expect(order.slice(0, 4)).toEqual(['greedy', 'modest', 'greedy', 'modest'])
    expect(order).toHaveLength(102)
  })

  test('keeps the order of one scope', async () => {
    await using _pool = openPool({ threads: 1 })
    const order: number[] = []
    const calls = Array.from({ length: 20 }, (_, n) => onWorker('add')(n, 0).then((result) => order.push(result)))
    await Promise.all(calls)
    expect(order).toEqual(Array.from({ length: 20 }, (_, n) => n))
  })
})

describe('a thread that dies', () => {
  test.each([
    ['exit', /functions\.ts#exit ended: worker exited with code: 3/],
    ['fillMemory', /functions\.ts#fillMemory ended: .*memory/],
  ] as const)('by %s fails its call, and another takes its place', async (name, message) => {
    await using pool = openPool({ threads: 1, memory: 48 * 2 ** 20 })
    const gate = await closedGate()
    const dying = rejection(onWorker(name)())
    const waiting = onWorker('add')(1, 2)
    await gate.open()
    expect(await dying).toMatchObject({ code: 'worker_died', message: expect.stringMatching(message) as unknown })
    expect(await waiting).toBe(3)
    expect(pool.stats()).toMatchObject({ died: 1, threads: 1, running: 0 })
  })

  test('while it loads a module fails that call', async () => {
    await using pool = openPool({ threads: 1 })
    const error = await rejection(syncToAsync<() => void>(fixture('exits.ts'), 'never')())
    expect(error).toMatchObject({ code: 'worker_died', message: expect.stringContaining('code: 5') as unknown })
    expect(await onWorker('add')(1, 2)).toBe(3)
    expect(pool.stats().died).toBe(1)
  })

  test('takes with it all that ran on it, one on top of the other', async () => {
    await using pool = openPool({ threads: 1 })
    const error = await rejection(onWorker('dieBelow')())
    expect(error).toMatchObject({ code: 'worker_died' })
    expect(pool.stats()).toMatchObject({ running: 0, queued: 0, died: 1 })
    expect(await onWorker('quadruple')(1)).toBe(4)
  })

  test('does not touch what runs on another', async () => {
    await using pool = openPool({ threads: 2 })
    const gate = await closedGate()
    expect(await rejection(onWorker('exit')())).toMatchObject({ code: 'worker_died' })
    expect(pool.stats()).toMatchObject({ running: 1, died: 1 })
    await gate.open()
  })

  test('again and again, is replaced again and again', async () => {
    await using pool = openPool({ threads: 2 })
    for (let n = 0; n < 5; n++) expect(await rejection(onWorker('exit')())).toMatchObject({ code: 'worker_died' })
    expect(await onWorker('add')(1, 2)).toBe(3)
    expect(pool.stats().died).toBe(5)
  })
})

test('an error that nobody caught is logged, and ends nothing', async () => {
  const lines: object[] = []
  const log = pino({}, { write: (line) => void lines.push(JSON.parse(line) as object) })
  await using pool = new BridgePool({ threads: 1 }, log)
  const thread = await onWorker('thread')()
  await onWorker('failLater')()
  expect(await onWorker('thread')()).toBe(thread)
  expect(lines).toMatchObject([
    { err: { message: 'out of nowhere' }, msg: 'an error that nobody caught in a worker thread' },
  ])
  expect(pool.stats().died).toBe(0)
})

describe('closing', () => {
  test('refuses what waits and what comes, stops what runs, and ends every thread', async () => {
    const pool = openPool({ threads: 1, grace: 20 })
    const gate = await closedGate()
    const failures = Promise.all([gate.done, onWorker('add')(1, 1)].map(rejection))
    await pool.close()
    for (const failure of await failures) expect(failure).toMatchObject({ code: 'closing' })
    expect(await rejection(onWorker('add', { pool })(1, 1))).toMatchObject({ code: 'closing' })
    expect(pool.stats()).toMatchObject({ threads: 0, queued: 0, running: 0, died: 0 })
    await pool.close()
  })

  test('says nothing of threads that have nothing to do', async () => {
    const lines: string[] = []
    const pool = new BridgePool({ threads: 1 }, pino({}, { write: (line) => void lines.push(line) }))
    await onWorker('add')(1, 1)
    await pool.close()
    expect(lines).toEqual([])
    expect(pool.stats()).toMatchObject({ threads: 0, died: 0 })
  })

  test('lets work that looks at its signal come to its end', async () => {
    const pool = openPool({ threads: 1, grace: 20_000 })
    const state = sharedState()
    const running = rejection(onWorker('runUntilStopped')(state))
    await changed(state, 0, 0)
    await pool.close()
    expect(await running).toMatchObject({ code: 'closing' })
    expect(state[1]).toBe(1)
  })

  test('is not needed for the process to end: threads that do nothing keep nothing alive', async () => {
    const script = `
      import { syncToAsync } from ${JSON.stringify(new URL('../../src/bridge/sync-to-async.ts', import.meta.url).href)}
      const chain = syncToAsync(${JSON.stringify(functionsUrl)}, 'chain')
      console.log(await chain(3))
      await syncToAsync(${JSON.stringify(functionsUrl)}, 'failLater')()
      await syncToAsync(${JSON.stringify(functionsUrl)}, 'exit')().catch((error) => console.log(error.code))
      await chain(4)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], impatient)
    expect(stdout).toBe('14\nworker_died\n')
  })
})

test('threads that end while they begin, load, or end by themselves leave none behind that keeps the process alive', async () => {
  const url = (file: string) => JSON.stringify(new URL(`../../src/bridge/${file}`, import.meta.url).href)
  const script = `
    import { BridgePool } from ${url('pool.ts')}
    import { syncToAsync } from ${url('sync-to-async.ts')}
    const pool = new BridgePool({ threads: 2, timeout: 100, grace: 10 })
    for (let n = 0; n < 10; n++) {
      await Promise.all(['exit', 'runForEver'].map((name) => syncToAsync(${JSON.stringify(functionsUrl)}, name)().catch(() => 0)))
    }
    console.log('the end')`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], impatient)
  expect(stdout).toBe('the end\n')
}, 60_000)

test('the main loop goes on while every thread burns CPU', async () => {
  await using pool = openPool({ threads: 2 })
  await Promise.all([onWorker('burn')(50), onWorker('burn')(50)])
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const rounds = 10
  const spent = 40

  delay.enable()
  for (let round = 0; round < rounds; round++) {
    burn(spent)
    await later(2)
  }
  delay.disable()
  const blocking = delay.percentile(99)

  delay.reset()
  delay.enable()
  const burning = Promise.all(Array.from({ length: rounds * 2 }, () => onWorker('burn')(spent)))
  const settled = burning.then(() => true)
  for (let over = false; !over;) over = await Promise.race([settled, later(2, false)])
  delay.disable()
  expect(pool.stats().running).toBe(0)
  // On a machine that others use too the ratio is what can be said; alone it is some hundred times less.
  expect(delay.percentile(50)).toBeLessThan(blocking / 2)
})

test('a pool that nobody opened is made when it is needed', async () => {
  const pool = currentPool()
  expect(pool).toBeInstanceOf(BridgePool)
  expect(currentPool()).toBe(pool)
  expect(await onWorker('add')(1, 1)).toBe(2)
  await immediate()
  expect(pool.stats().threads).toBe(1)
  await pool.close()
  expect(currentPool()).not.toBe(pool)
  await currentPool().close()
})

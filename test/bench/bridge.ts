/** The bridge's process: does one thing again and again, by the bridge or by what it stands on, and prints what one took. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as later } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MessageChannel } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { transfer } from '../../src/bridge/pack.ts'
import { BridgePool } from '../../src/bridge/pool.ts'
import { syncToAsync } from '../../src/bridge/sync-to-async.ts'
import type { Asked, Line } from './bridge-worker.ts'

const [what = '', side = '', seconds = '1'] = process.argv.slice(2)
const time = Number(seconds) * 1000
const worker = new URL('./bridge-worker.ts', import.meta.url)
/** Whether two threads wake each other fast is the system's luck, once for each pair: so there are several. */
const pairs = 4

/** The time of one, in microseconds: that of the best tenth of many lots, which others on the machine disturb least. */
async function best(lot: () => Promise<number>): Promise<number> {
  const lots: number[] = []
  const warmUp = performance.now() + time / 5 / pairs
  while (performance.now() < warmUp) await lot()
  for (const end = performance.now() + time / pairs; performance.now() < end;) lots.push(await lot())
  return lots.toSorted((a, b) => a - b)[Math.floor(lots.length / 10)] ?? Number.NaN
}

/** A hundred calls, one after the other. */
const hundred = (call: () => Promise<unknown>) => async () => {
  const start = performance.now()
  for (let n = 0; n < 100; n++) await call()
  return ((performance.now() - start) / 100) * 1000
}

async function syncToAsyncCalls(): Promise<number> {
  if (side === 'gateway') {
    await using pool = new BridgePool({ threads: 1 })
    const add = syncToAsync<(a: number, b: number) => number>(worker, 'add', { pool })
    return await best(hundred(() => add(1, 2)))
  }
  const filename = fileURLToPath(worker)
  const bare = new Piscina({
    filename,
    name: 'addTwo',
    minThreads: 1,
    maxThreads: 1,
    idleTimeout: Infinity,
    recordTiming: false,
  })
  const value = await best(hundred(() => bare.run([1, 2])))
  await bare.destroy()
  return value
}

async function asyncToSyncCalls(): Promise<number> {
  await using pool = new BridgePool({ threads: 1 })
  const call = (name: string) => syncToAsync<(count: number) => number>(worker, name, { pool })
  if (side === 'gateway') return await best(() => call('measureBridge')(100))
  const { port1, port2 } = new MessageChannel()
  const counter = new Int32Array(new SharedArrayBuffer(4))
  port1.on('message', ({ id, n }: Asked) => {
    void Promise.resolve(n * 2).then((value) => {
      port1.postMessage({ id, value })
      Atomics.add(counter, 0, 1)
      Atomics.notify(counter, 0)
    })
  })
  await syncToAsync<(line: Line) => void>(worker, 'open', { pool })(transfer({ port: port2, counter }, [port2]))
  const value = await best(() => call('measureBare')(100))
  port1.close()
  return value
}

/** How late timers are on the main loop while two threads burn CPU, or while it does that itself: the 99th percentile, in milliseconds. */
async function loopDelay(): Promise<number> {
  await using pool = new BridgePool({ threads: 2 })
  const burn = syncToAsync<(milliseconds: number) => number>(worker, 'burn', { pool })
  await Promise.all([burn(10), burn(10)])
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  // Some rounds at least: the delay is that of a timer, which must have been late.
  for (const end = performance.now() + Math.max(time, 500); performance.now() < end;) {
    if (side === 'gateway') await Promise.all([burn(50), burn(50)])
    else await burnHere(50)
  }
  delay.disable()
  return delay.percentile(99) / 1e6
}

async function burnHere(milliseconds: number): Promise<void> {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
  await later(1)
}

const measures: Readonly<Record<string, () => Promise<number>>> = {
  'sync-to-async': () => ofPairs(syncToAsyncCalls),
  'async-to-sync': () => ofPairs(asyncToSyncCalls),
  'loop-delay': loopDelay,
}

async function ofPairs(measure: () => Promise<number>): Promise<number> {
  let least = Infinity
  for (let pair = 0; pair < pairs; pair++) least = Math.min(least, await measure())
  return least
}

const measure = measures[what]
if (!measure) throw new Error(`expected ${Object.keys(measures).join(', ')}, found ${what}`)
process.stdout.write(`${await measure()}\n`)

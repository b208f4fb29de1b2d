/** Measures the bridge against what it stands on, in one run: `node test/bridge/bench.ts`. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as later } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MessageChannel } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { transfer } from '../../src/bridge/pack.ts'
import { BridgePool } from '../../src/bridge/pool.ts'
import { syncToAsync } from '../../src/bridge/sync-to-async.ts'
import type { Asked, Line } from './fixtures/bare.ts'

const rounds = 50
const pairs = 4
const bareUrl = new URL('./fixtures/bare.ts', import.meta.url)

/** Microseconds a call. */
async function each(count: number, call: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  for (let n = 0; n < count; n++) await call()
  return ((performance.now() - start) / count) * 1000
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}

/** Ours and theirs in turn, so that whatever else the machine does meets both. */
class Comparison {
  readonly #ours: number[] = []
  readonly #theirs: number[] = []

  async run(ours: () => Promise<number>, theirs: () => Promise<number>): Promise<void> {
    for (let round = 0; round < 30; round++) {
      await ours()
      await theirs()
    }
    for (let round = 0; round < rounds; round++) {
      this.#theirs.push(await theirs())
      this.#ours.push(await ours())
    }
  }

  /** The best tenth is what others disturb least. */
  toString(): string {
    const [tenth, median] = [0.1, 0.5].map((share) => {
      const [ours, theirs] = [quantile(this.#ours, share), quantile(this.#theirs, share)]
      return `${ours.toFixed(1)} / ${theirs.toFixed(1)} = ${(ours / theirs).toFixed(2)}`
    })
    return `${tenth} (median ${median})`
  }
}

/** Whether two threads wake each other fast is the system's luck, once for each pair: so there are several. */
async function calls(): Promise<string> {
  const comparison = new Comparison()
  for (let pair = 0; pair < pairs; pair++) {
    await using pool = new BridgePool({ threads: 1 })
    const add = syncToAsync<(a: number, b: number) => number>(bareUrl, 'add', { pool })
    const bare = new Piscina({
      filename: fileURLToPath(bareUrl),
      name: 'addTwo',
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Infinity,
      recordTiming: false,
    })
    await comparison.run(
      () => each(100, () => add(1, 2)),
      () => each(100, () => bare.run([1, 2])),
    )
    await bare.destroy()
  }
  return `syncToAsync / bare Piscina task, in microseconds: ${String(comparison)}`
}

async function answers(): Promise<string> {
  const comparison = new Comparison()
  for (let pair = 0; pair < pairs; pair++) {
    await using pool = new BridgePool({ threads: 1 })
    const { port1, port2 } = new MessageChannel()
    const counter = new Int32Array(new SharedArrayBuffer(4))
    port1.on('message', ({ id, n }: Asked) => {
      void Promise.resolve(n * 2).then((value) => {
        port1.postMessage({ id, value })
        Atomics.add(counter, 0, 1)
        Atomics.notify(counter, 0)
      })
    })
    await syncToAsync<(line: Line) => void>(bareUrl, 'open', { pool })(transfer({ port: port2, counter }, [port2]))
    const ours = syncToAsync<(count: number) => number>(bareUrl, 'measureBridge', { pool })
    const theirs = syncToAsync<(count: number) => number>(bareUrl, 'measureBare', { pool })
    await comparison.run(
      () => ours(100),
      () => theirs(100),
    )
    port1.close()
  }
  return `asyncToSync / bare MessageChannel and Atomics, in microseconds: ${String(comparison)}`
}

/** How late timers are on the main loop while every thread burns CPU, and while nothing does. */
async function delays(threads: number): Promise<string> {
  await using pool = new BridgePool({ threads })
  const burn = syncToAsync<(milliseconds: number) => number>(bareUrl, 'burn', { pool })
  await Promise.all(Array.from({ length: threads }, () => burn(10)))
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const during = async (work: Promise<unknown>) => {
    delay.reset()
    delay.enable()
    await work
    delay.disable()
    return (delay.percentile(99) / 1e6).toFixed(1)
  }
  const idle = await during(later(3000))
  const busy = await during(Promise.all(Array.from({ length: threads * 6 }, () => burn(500))))
  return `main loop delay, 99th percentile, in milliseconds: ${idle} idle, ${busy} while ${threads} threads burn CPU`
}

for (const measure of [calls, answers, () => delays(1), () => delays(2)]) process.stdout.write(`${await measure()}\n`)

/** What the benchmark of the bridge runs on workers. */
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import { asyncToSync } from '../../src/bridge/async-to-sync.ts'

export const add = (a: number, b: number) => a + b
export const addTwo = ([a = 0, b = 0]: readonly number[]) => a + b

export const double = async (n: number) => n * 2
const doubled = asyncToSync(double)

export function measureBridge(count: number) {
  const start = performance.now()
  for (let n = 0; n < count; n++) doubled(n)
  return ((performance.now() - start) / count) * 1000
}

export interface Line {
  readonly port: MessagePort
  readonly counter: Int32Array<SharedArrayBuffer>
}
export interface Asked {
  readonly id: number
  readonly n: number
}

let line: Line | undefined
export function open(given: Line) {
  line = given
}
export function close() {
  line?.port.close()
}

/** The least that a blocking question to the main thread can be, without the bridge. */
export function measureBare(count: number) {
  if (!line) throw new Error('there is no line')
  const { port, counter } = line
  const start = performance.now()
  for (let n = 0; n < count; n++) {
    let seen = Atomics.load(counter, 0)
    port.postMessage({ id: n, n } satisfies Asked)
    while (!receiveMessageOnPort(port)) {
      Atomics.wait(counter, 0, seen)
      seen = Atomics.load(counter, 0)
    }
  }
  return ((performance.now() - start) / count) * 1000
}

export function burn(milliseconds: number) {
  const end = performance.now() + milliseconds
  while (performance.now() < end);
  return 0
}

/** What the tests of the bridge share: one pool a test, and the functions of the fixtures by name. */
import { BridgePool } from '../../src/bridge/pool.ts'
import type { BridgeOptions } from '../../src/bridge/options.ts'
import { syncToAsync, type SyncToAsyncOptions } from '../../src/bridge/sync-to-async.ts'

export const fixture = (file: string): string => new URL(`./fixtures/${file}`, import.meta.url).href
export const functionsUrl = fixture('functions.ts')

type Functions = typeof import('./fixtures/functions.ts')
type Callable = { [Name in keyof Functions]: Functions[Name] extends (...args: never[]) => unknown ? Name : never }

/** A function of the fixtures, on a worker. */
export function onWorker<Name extends Callable[keyof Functions]>(name: Name, options: SyncToAsyncOptions = {}) {
  return syncToAsync<Functions[Name]>(functionsUrl, name, options)
}

/** Threads take their time to start where many tests run at once: nothing here is meant to be late by itself. */
export function openPool(options: Partial<BridgeOptions> = {}): BridgePool {
  return new BridgePool({ threads: 2, timeout: 60_000, grace: 1000, ...options })
}

/** Two numbers that every thread sees. */
export const sharedState = () => new Int32Array(new SharedArrayBuffer(8))

/** Waits, without blocking, until the number is no longer `value`. */
export async function changed(state: Int32Array<SharedArrayBuffer>, index: number, value: number): Promise<void> {
  await Atomics.waitAsync(state, index, value).value
}

/** What a promise rejects with, which is an error. */
export async function rejection(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (Error.isError(error)) return error as Error & { code?: unknown; errno?: unknown; errors?: readonly Error[] }
  throw new Error('it did not reject with an error')
}

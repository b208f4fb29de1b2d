/** Calls blocking code from asynchronous code: on a worker thread, so that the event loop does not wait. */
import { SignalboxError } from '../runtime/errors.ts'
import type { Place } from './messages.ts'
import { describe, placeOf } from './modules.ts'
import { currentPool, type BridgePool, type CallOptions } from './pool.ts'
import { workerThread } from './worker-thread.ts'

type AnyFunction = (...args: never[]) => unknown

export interface SyncToAsyncOptions extends CallOptions {
  /** Default: the gateway's. */
  readonly pool?: BridgePool
}

/**
 * The function that a module exports, as an asynchronous one. It runs on whichever worker thread is free; `signal` and
 * `timeout` ask it to stop (see `currentSignal`), and end its thread when it does not. Arguments and results are copied,
 * but for what `transfer` marks.
 *
 * @example
 * const shrink = syncToAsync<typeof import('./image.ts').shrink>(new URL('./image.ts', import.meta.url), 'shrink')
 * const small = await shrink(image, 200)
 *
 * @throws what the function throws; the signal's reason; SignalboxError `bridge_failed`, `queue_full`, `timed_out`,
 * `deadlock`, `worker_died`, `closing`.
 */
export function syncToAsync<F extends AnyFunction>(
  module: string | URL,
  name: string,
  options: SyncToAsyncOptions = {},
): (...args: Parameters<F>) => Promise<ReturnType<F>> {
  const place = placeOf(module, name)
  return (...args) => {
    if (workerThread()) return Promise.reject(inWorker(place))
    const pool = options.pool ?? currentPool()
    return pool.call(place, args, options) as Promise<ReturnType<F>> // it is what the function gives
  }
}

function inWorker(place: Place): SignalboxError {
  const message = `${describe(place)} is called in a worker thread already: call it itself`
  return new SignalboxError('bridge_failed', message)
}

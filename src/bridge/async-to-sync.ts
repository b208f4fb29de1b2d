/** Calls an asynchronous function of the main thread from blocking code, which waits for its answer. */
import { SignalboxError } from '../runtime/errors.ts'
import type { Place } from './messages.ts'
import { placeOf } from './modules.ts'
import { workerThread, type WorkerThread } from './worker-thread.ts'

type AsyncFunction = (...args: never[]) => unknown

export interface AsyncToSyncOptions {
  /** Milliseconds. Default: as long as the work itself may take. */
  readonly timeout?: number
}

type Blocking<F extends AsyncFunction> = (...args: Parameters<F>) => Awaited<ReturnType<F>>

/**
 * The function runs in the main thread, where timers, sockets and everything asynchronous live; the worker thread blocks
 * until it has an answer, and does meanwhile what that function calls by `syncToAsync`. It is named by its module and its
 * export, or given itself, when it is an export of the handler's own module. Arguments and results are copied.
 *
 * @example
 * const lookup = asyncToSync<typeof import('./dns.ts').lookup>(new URL('./dns.ts', import.meta.url), 'lookup')
 * const address = lookup('localhost')
 *
 * @throws what the function throws; SignalboxError `timed_out`; `bridge_failed`: in the main thread at once, which cannot
 * wait for itself.
 */
export function asyncToSync<F extends AsyncFunction>(fn: F, options?: AsyncToSyncOptions): Blocking<F>
export function asyncToSync<F extends AsyncFunction>(
  module: string | URL,
  name: string,
  options?: AsyncToSyncOptions,
): Blocking<F>
export function asyncToSync(
  what: AsyncFunction | string | URL,
  second?: string | AsyncToSyncOptions,
  third?: AsyncToSyncOptions,
): (...args: readonly unknown[]) => unknown {
  const { timeout } = (typeof second === 'string' ? third : second) ?? {}
  const name = typeof second === 'string' ? second : ''
  const label = `asyncToSync(${typeof what === 'function' ? what.name : name})`
  let place: Place | undefined
  return (...args) => {
    const thread = workerThread()
    if (!thread) throw new SignalboxError('bridge_failed', `${label} is called ${elsewhere}`)
    place ??= typeof what === 'function' ? exported(what, { label, thread }) : placeOf(what, name)
    return thread.call({ kind: 'function', place }, args, timeout)
  }
}

const elsewhere =
  'outside of blocking code: the main thread cannot wait for itself. There, await the function; or run the code that ' +
  'calls it on a worker thread, as a SyncConsumer or by syncToAsync'

interface Asking {
  readonly label: string
  readonly thread: WorkerThread
}

function exported(fn: AsyncFunction, { label, thread }: Asking): Place {
  const place = thread.modules.placeOf(fn)
  if (place) return place
  const message = `${label}: found a function that the handler's module does not export, expected one that it does`
  throw new SignalboxError('bridge_failed', `${message}, or asyncToSync(new URL('./file.ts', import.meta.url), 'name')`)
}

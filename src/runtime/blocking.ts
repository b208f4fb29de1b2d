/** What marks handlers that block, so that they run on worker threads. */
import type { Protocol } from '../asgi/protocol.ts'
import type { Lent, SyncApplication, SyncConsumerClass, SyncInstance } from '../asgi/sync.ts'
import { SignalboxError } from './errors.ts'

/** The key of the mark; the same in every copy of this package. */
export const blocking: unique symbol = Symbol.for('signalbox.bridge.blocking') as typeof blocking

/**
 * Marks an application that is a plain function as one that blocks, so that it runs on a worker thread.
 *
 * @example
 * export const report = syncHandler<HttpProtocol>((scope, receive, send) => {
 *   send({ type: 'http.response.start', status: 200 })
 *   send({ type: 'http.response.body', body: compute(scope.params) })
 * })
 */
export function syncHandler<P extends Protocol>(application: SyncApplication<P>): SyncApplication<P> {
  return Object.assign(application, { [blocking]: true })
}

interface Openable {
  open(lent: Lent<Protocol>): SyncInstance
}

export function isSyncConsumer(value: unknown): value is SyncConsumerClass & Openable {
  return isSyncHandler(value) && 'open' in value
}

/** Whether it is to run on a worker thread: a SyncConsumer, or a function that `syncHandler` has marked. */
export function isSyncHandler(value: unknown): value is SyncApplication | SyncConsumerClass {
  return typeof value === 'function' && blocking in value
}

/** Blocking code that is not: nobody would wait for it. @throws SignalboxError `bridge_failed`. */
export function refusePromise(result: unknown, what: () => string): void {
  if (typeof result !== 'object' || result === null || !('then' in result) || typeof result.then !== 'function') return
  // What becomes of it is nobody's any more.
  Promise.resolve(result).catch(() => undefined)
  throw new SignalboxError(
    'bridge_failed',
    `${what()} gave a promise, expected a plain function: one that blocks, not an async one`,
  )
}

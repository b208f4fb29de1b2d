/** What code that may run in any thread can ask: on whose behalf it runs, and whether it is still wanted. */
import type { SyncSignal } from '../asgi/sync.ts'
import { trail } from './trail.ts'
import { workerThread, type WorkerThread } from './worker-thread.ts'

/** The id of the scope on whose behalf this code runs, in whichever thread; undefined: of none. */
export function currentScope(): string | undefined {
  const thread = workerThread()
  return thread ? thread.task?.scope : trail.getStore()?.scope
}

const never: SyncSignal = Object.freeze({ aborted: false, reason: undefined, throwIfAborted: () => undefined })

/** Whether the caller of a blocking function still waits for it. Where nobody could tell, it does. */
export function currentSignal(): SyncSignal {
  const thread = workerThread()
  return thread ? workerSignal(thread) : never
}

/** Of what the thread does at the moment that it is asked. */
export function workerSignal(thread: WorkerThread): SyncSignal {
  return {
    get aborted() {
      return thread.isStopped
    },
    get reason() {
      return thread.stopReason
    },
    throwIfAborted() {
      const reason = thread.isStopped ? thread.stopReason : undefined
      if (reason) throw reason
    },
  }
}

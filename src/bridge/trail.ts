/** On whose behalf the main thread does what it does now: which scope, and which blocked worker. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Application, Protocol } from '../asgi/protocol.ts'
import { shared } from './shared.ts'
import type { Task } from './task.ts'

/** A call that a worker is blocked in. */
export interface BlockedCall {
  /** False once it is answered, or the worker no longer waits. */
  readonly open: boolean
  readonly thread: object
  lend(task: Task): void
}

export interface Trail {
  readonly scope: string | undefined
  readonly call?: BlockedCall
}

export const trail = shared('trail', () => new AsyncLocalStorage<Trail>())

/** The same application; what it calls on worker threads, and what they call back, is done in the name of its scope. */
export function withScope<P extends Protocol>(application: Application<P>): Application<P> {
  const named: Application<P> = (scope, receive, send, context) =>
    trail.run(onwards(scope.id), application, scope, receive, send, context)
  return withResolve(named, application)
}

/**
 * The same at half the cost, for whoever calls it in a microtask of its own, as an instance does: the name is not taken back
 * before that is over.
 */
export function withScopeFromHere<P extends Protocol>(application: Application<P>): Application<P> {
  const named: Application<P> = (scope, receive, send, context) => {
    trail.enterWith(onwards(scope.id))
    return application(scope, receive, send, context)
  }
  return withResolve(named, application)
}

/** The trail from here on, in the name of a scope. Most scopes are opened on nobody's behalf, and then there is nothing to copy. */
export function onwards(scope: string): Trail {
  const outer = trail.getStore()
  return outer ? { ...outer, scope } : { scope }
}

function withResolve<P extends Protocol>(named: Application<P>, { resolve }: Application<P>): Application<P> {
  return resolve ? Object.assign(named, { resolve }) : named
}

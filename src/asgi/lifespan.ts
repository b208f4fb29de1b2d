/** The lifespan protocol: one scope for the process, asked to start up before any port opens and to shut down at the end. */
import type { BaseScope, Protocol } from './protocol.ts'

export interface LifespanScope extends BaseScope {
  readonly type: 'lifespan'
}

/** Sent before any port opens; the gateway waits for the answer. */
export interface LifespanStartup {
  readonly type: 'lifespan.startup'
}
/** Sent when the last scope has ended. */
export interface LifespanShutdown {
  readonly type: 'lifespan.shutdown'
}
/** `state` is merged into every later scope's `state`; it must be plain data. */
export interface LifespanStartupComplete {
  readonly type: 'lifespan.startup.complete'
  readonly state?: Readonly<Record<string, unknown>>
}
/** The gateway says `message` and does not start. */
export interface LifespanStartupFailed {
  readonly type: 'lifespan.startup.failed'
  readonly message?: string
}
export interface LifespanShutdownComplete {
  readonly type: 'lifespan.shutdown.complete'
}
export interface LifespanShutdownFailed {
  readonly type: 'lifespan.shutdown.failed'
  readonly message?: string
}

export interface LifespanProtocol extends Protocol {
  readonly scope: LifespanScope
  readonly receive: LifespanStartup | LifespanShutdown
  readonly send: LifespanStartupComplete | LifespanStartupFailed | LifespanShutdownComplete | LifespanShutdownFailed
}

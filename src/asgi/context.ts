/** What the server lends to an application for the life of one scope. */
import type { ChannelLayer } from './channel-layer.ts'

/** Structured log lines, in pino's order: fields first, then the message. The scope's id is already on every line. */
export interface Log {
  trace(fields: object, message: string): void
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  /** A log that puts these fields on every line. */
  child(fields: object): Log
  /** Whether lines of this level are written; a log that does not say is given them all. */
  isLevelEnabled?(level: 'debug'): boolean
}

export interface Context {
  /** Aborted when the peer is gone or the gateway closes, also while a slow handler runs. */
  readonly signal: AbortSignal
  /** The channel layer of this gateway. */
  readonly layer: ChannelLayer
  /**
   * The name of this scope's own channel. Reading it opens the channel: from then on its messages arrive through
   * `receive()`. It is closed, and has left its groups, when the scope ends, however it ends.
   */
  readonly channel: string
  readonly log: Log
  /** Told by a router which of its rules (`file:line`) takes the scope: what is counted and logged from then on is that rule's. */
  routed?(route: string): void
  /** Milliseconds that the application may work on one event, where its rule says so. */
  readonly timeout?: number | undefined
}

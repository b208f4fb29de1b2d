/** What blocking code is lent for a scope: the same as asynchronous code, but every call returns when it is done. */
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { Event, Protocol } from '../asgi/protocol.ts'

/** What a worker may call on its scope's layer. */
export const layerMethods = ['send', 'groupAdd', 'groupDiscard', 'groupSend', 'groupMembers', 'groupSize'] as const

type Blocking<F> = F extends (...args: infer Args) => Promise<infer Result> ? (...args: Args) => Result : never

/** The channel layer, blocking; see `ChannelLayer` for each method. */
export type SyncLayer = { readonly [Name in (typeof layerMethods)[number]]: Blocking<ChannelLayer[Name]> }

/** Whether to go on. Looking at `aborted` now and then is what lets work stop in time: nothing interrupts blocking code. */
export interface SyncSignal {
  /** True when the peer is gone, the caller has given up, or the time is up. Cheap. */
  readonly aborted: boolean
  /** Why. */
  readonly reason: Error | undefined
  /** @throws the reason. */
  throwIfAborted(): void
}

export interface SyncContext {
  readonly signal: SyncSignal
  readonly layer: SyncLayer
  /** The name of the scope's own channel; see `Context.channel`. */
  readonly channel: string
  readonly log: Log
}

/** Blocks until the next event of the scope. */
export type SyncReceive<P extends Protocol> = () => P['receive']

/** Says something to the peer. */
export type SyncSend<P extends Protocol> = (event: P['send']) => void

/** An application as a plain function that blocks. */
export type SyncApplication<P extends Protocol = Protocol> = (
  scope: P['scope'],
  receive: SyncReceive<P>,
  send: SyncSend<P>,
  context: SyncContext,
) => void

/** What a consumer is made with. */
export interface Lent<P extends Protocol> {
  readonly scope: P['scope']
  readonly send: SyncSend<P>
  readonly context: SyncContext
  join(groups: readonly string[]): void
}

/** A consumer at work. */
export interface SyncInstance {
  /** True when that was the last event. */
  handle(event: Event): boolean
}

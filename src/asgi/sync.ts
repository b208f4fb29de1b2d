/** What handlers that block are lent for a scope: the same as asynchronous ones, but every call returns when it is done. */
import type { ChannelLayer, GroupSendResult, Message } from './channel-layer.ts'
import type { Context, Log } from './context.ts'
import type { Event, Protocol } from './protocol.ts'

/** What blocking code may call on its scope's layer. */
export type LayerMethod = 'send' | 'groupAdd' | 'groupDiscard' | 'groupSend' | 'groupMembers' | 'groupSize'

type Blocking<F> = F extends (...args: infer Args) => Promise<infer Result> ? (...args: Args) => Result : never

/** The channel layer, blocking; see `ChannelLayer` for each method. */
export type SyncLayer = {
  readonly [Name in Exclude<LayerMethod, 'send' | 'groupSend'>]: Blocking<ChannelLayer[Name]>
} & {
  send<M extends Message>(channel: string, message: M): void
  groupSend<M extends Message>(group: string, message: M): GroupSendResult
}

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

/** The two kinds of consumer, as what differs between them: what they are lent, and what saying something gives. */
export interface Kind {
  readonly context: Context | SyncContext
  /** Of `send`. */
  readonly sent: Promise<void> | void
  readonly groupSent: Promise<GroupSendResult> | GroupSendResult
}
export interface Async extends Kind {
  readonly context: Context
  readonly sent: Promise<void>
  readonly groupSent: Promise<GroupSendResult>
}
/** On a worker thread, where waiting is blocking. */
export interface Sync extends Kind {
  readonly context: SyncContext
  readonly sent: void
  readonly groupSent: GroupSendResult
}

/** For the compiler alone: says of which protocol a class is. */
export declare const ofProtocol: unique symbol

/** A consumer class for the worker threads. */
export interface SyncConsumerClass<P extends Protocol = Protocol> {
  new (): { readonly [ofProtocol]?: P; readonly context: SyncContext }
  readonly moveBytes: boolean
}

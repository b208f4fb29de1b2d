/** Delivery: when a peer gets its positive answer, and what becomes of its event until it is handled or dead. */
import type { Event, Protocol, Resolution } from './protocol.ts'

/**
 * When the peer gets its positive answer (250, PUBACK, 200):
 * - `stored`: when the event is in the journal, on disk; from then on the gateway tries until it is handled or dead.
 * - `handled`: when the application has handled it; the sender does the retrying.
 * - `none`: at once.
 */
export type DeliveryMode = 'stored' | 'handled' | 'none'

/** What a rule may say of its events' delivery; of nested rules the innermost that says something decides. */
export interface DeliveryOptions {
  /** Default: `stored` for e-mail, SMS and MQTT with QoS 1 and 2; `none` for MQTT with QoS 0. */
  readonly mode?: DeliveryMode
  /** How often a stored event is tried before it is a dead letter. */
  readonly attempts?: number
  /** Milliseconds before the second attempt; doubled for each further one. */
  readonly backoff?: number
  /** The longest wait between two attempts, in milliseconds. */
  readonly maxBackoff?: number
  /** How many stored events of the rule are handled at once. */
  readonly concurrency?: number
  /** The param or the field of the scope by which stored events are kept in order: those with one value come one after the other. */
  readonly key?: string
}

/** `in`: from a peer to the application. `out`: from the application to a peer. */
export type Direction = 'in' | 'out'

/** What comes into the journal. */
export interface NewRecord<P extends Protocol = Protocol> {
  readonly direction: Direction
  /** As the adapter makes it; what the server adds (`id`, `params`, `route`, `state`) is not kept. */
  readonly scope: UnroutedScope<P>
  readonly event: Event
  /** Bytes that records of one call may share, such as a whole mail: kept once. */
  readonly body?: Uint8Array | undefined
  /** Of the resolution of `in`: which rule takes it, and what that says of its delivery. */
  readonly resolution?: Pick<Resolution, 'route' | 'params' | 'delivery'>
  /**
   * Records of one lane are handled one after the other. Default: each has its own. One that waits for its next attempt lets the
   * others pass when it came `in`, and keeps them waiting when it goes `out`.
   */
  readonly lane?: string
  /** What the protocol knows the event by: a second one with this key is the same one come again, and is not stored. */
  readonly key?: string | undefined
  /** False: `key` is only noted, because the sender says that this is no repetition. Default true. */
  readonly mayRepeat?: boolean
  /** What only this process has of it, for the first attempt: the open connection, the parsed form. */
  readonly live?: unknown
}

/** A scope as the journal keeps it. */
export type UnroutedScope<P extends Protocol = Protocol> = Omit<
  P['scope'],
  'id' | 'params' | 'route' | 'state' | 'attempt' | 'redelivered'
>

/** One attempt at a stored record. */
export interface StoredRecord<P extends Protocol = Protocol> {
  readonly id: number
  /** The name of its journal: one gateway may deliver from several. */
  readonly journal: string
  readonly direction: Direction
  readonly scope: UnroutedScope<P>
  readonly event: Event
  readonly body?: Uint8Array | undefined
  readonly lane: string
  /** 1 the first time. */
  readonly attempt: number
  /** Whether an earlier process may have handled it, or part of it. */
  readonly redelivered: boolean
  /** See {@link NewRecord}; undefined after the first attempt, and when too many wait. */
  readonly live?: unknown
  /** Aborted when the gateway closes and waits no longer: what is not handled then is tried again at the next start. */
  readonly signal: AbortSignal
}

/**
 * Called once an attempt: the application has handled the event, or failed on it with this error. `scopeId`, for the log: of the
 * scope that failed.
 */
export type AttemptSettled = (error?: unknown, scopeId?: string) => void

/** What became of a record that was offered: it is on disk, or it was there before. */
export type Accepted =
  | { readonly id: number; readonly known: false }
  | { readonly id: number | undefined; readonly known: true }

/** Whoever waits for one record to be on disk: one of the two is called, once, and never before `put` has returned. */
export interface Depositor {
  /** It is on disk by this id, or with `known` was before; 0: another process of the data folder has it. */
  stored(id: number, known: boolean): void
  /** `journal_full`, `journal_failed`: it was not stored, and the sender is to come again later. */
  refused(error: unknown): void
}

/** Durable acceptance, as an adapter sees it. */
export interface DeliveryJournal<P extends Protocol = Protocol> {
  /**
   * Stores all of them or none; resolves when they are on disk, and then delivers them.
   * @throws SignalboxError `journal_full`, `journal_failed`: nothing was stored, and the sender is to come again later.
   */
  accept(records: readonly NewRecord<P>[]): Promise<readonly Accepted[]>
  /** Stores one record as `accept` does, without a promise: for those of whom there are many a second. Never throws. */
  put(record: NewRecord<P>, depositor: Depositor): void
  /** Keeps a record that nobody will try again, unless a person wants it. */
  bury(record: NewRecord<P>, error: unknown): void
  /** Resolves when this record's attempt under way, or its first, is over; at once when it is not known. */
  attempted(id: number): Promise<void>
}

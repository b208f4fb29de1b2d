/** What the journal keeps and tells, as both of its threads speak of it. */
import type { Direction } from '../asgi/delivery.ts'
import type { ErrorCode } from '../runtime/errors.ts'

/** A record with its scope and event as bytes; `encode` in codec.ts makes it. */
export interface EncodedRecord {
  readonly direction: Direction
  readonly protocol: string
  readonly route: string
  /** Records of one lane are handled one after the other. */
  readonly lane: string
  /** See `NewRecord` in src/asgi/delivery.ts. */
  readonly key?: string | undefined
  /** False: `key` is only noted, in the place of what was known by it. */
  readonly mayRepeat: boolean
  readonly scope: Uint8Array
  /** What the event begins with, where many of its scope begin alike: one object for all of them. */
  readonly start?: Uint8Array | undefined
  /** The event, or what comes after its start. */
  readonly event: Uint8Array
  /** Records of one call that have the same object here share one stored row. */
  readonly body?: Uint8Array | undefined
  /** The sender's address, for lists; of what goes out, the receiver's. */
  readonly peer: string
}

/** In the place of a time: it is being tried, and nobody knows yet what comes of it. */
export const underWay = -1

/** A record that waits, without its content. */
export interface WaitingRow {
  readonly id: number
  readonly direction: Direction
  readonly protocol: string
  readonly route: string
  readonly lane: string
  /** How often it was begun. */
  readonly attempts: number
  /** When it may be tried next, in milliseconds since 1970; 0 for at once; `underWay` when it was being tried when the process ended. */
  readonly due: number
  /** What its content takes of memory, the body that it may share with others included. */
  readonly bytes: number
}

/** A record's content. */
export interface LoadedRecord {
  readonly id: number
  readonly scope: Uint8Array
  readonly event: Uint8Array
  readonly body?: Uint8Array | undefined
}

export type RecordState = 'waiting' | 'dead'

/** Which records; what is not given does not matter. */
export interface RecordFilter {
  readonly state?: RecordState | undefined
  readonly direction?: Direction | undefined
  readonly protocol?: string | undefined
  readonly route?: string | undefined
  /** Accepted before this time, in milliseconds since 1970. */
  readonly olderThan?: number | undefined
  /** Accepted at this time or later, in milliseconds since 1970. */
  readonly newerThan?: number | undefined
}

/** A page of a list: the newest records first. */
export interface ListFilter extends RecordFilter {
  /** How many at most. Default 100. */
  readonly limit?: number | undefined
  /** Only those with a lower id: the last one of the page before. */
  readonly before?: number | undefined
}

/** Records by their ids, or by what they are. */
export type Selection = readonly number[] | RecordFilter

/** A record as a list shows it. */
export interface ListedRecord extends WaitingRow {
  readonly state: RecordState
  /** When it was accepted, in milliseconds since 1970. */
  readonly at: number
  /** When it became a dead letter, in milliseconds since 1970. */
  readonly died: number | undefined
  /** Why its last attempt failed; empty when none has. */
  readonly error: string
  readonly peer: string
  /** Bytes that it takes of `maxSize`; a shared body is not in it. */
  readonly size: number
}

/** A record with everything. */
export interface ShownRecord extends ListedRecord, LoadedRecord {}

/** What became of records. At every moment accepted = handled + waiting + dead + discarded + expired. */
export interface Tally {
  readonly accepted: number
  readonly handled: number
  readonly waiting: number
  readonly dead: number
  /** Taken out by a person. */
  readonly discarded: number
  /** Dead letters that were older than `deadLetterAge`. */
  readonly expired: number
  /** Dead letters that were never accepted, because there was no room. */
  readonly dropped: number
}

/** The tally of one rule. */
export interface PlaceTally extends Tally {
  readonly direction: Direction
  readonly protocol: string
  /** Rules that have nothing waiting or dead may stand together as `(others)`. */
  readonly route: string
}

export interface Counts extends Tally {
  /** What waits and what is dead, in bytes as `maxSize` counts them. */
  readonly bytes: number
  /** At most 1000. */
  readonly byProtocolAndRoute: readonly PlaceTally[]
}

/** An attempt that failed, and when the next may begin (milliseconds since 1970). */
export interface FailedAttempt {
  readonly attempts: number
  readonly due: number
  readonly error: string
}

/** The attempt that was the last. */
export interface LastAttempt {
  readonly attempts: number
  readonly error: string
}

/** An error on its way between the threads. */
export interface Failure {
  readonly code: ErrorCode
  readonly message: string
}

/** A note of the main thread: written with the next commit, and kept until it is. */
export type Note =
  | { readonly kind: 'handled'; readonly ids: number[] }
  | ({ readonly kind: 'failed'; readonly id: number } & FailedAttempt)
  | ({ readonly kind: 'dead'; readonly id: number } & LastAttempt)
  /** By 1: attempts that begin; by -1: the gateway has cut them off, and they do not count. */
  | { readonly kind: 'begun'; readonly ids: readonly number[]; readonly by: 1 | -1 }
  | { readonly kind: 'letter'; readonly record: EncodedRecord; readonly error: string }

/** A question, or what a person wants done. */
export type Ask =
  | { readonly kind: 'waiting'; readonly after: number; readonly limit: number }
  | { readonly kind: 'rows'; readonly ids: readonly number[] }
  | { readonly kind: 'load'; readonly ids: readonly number[] }
  | { readonly kind: 'list'; readonly filter: ListFilter }
  | { readonly kind: 'show'; readonly id: number }
  | { readonly kind: 'retry'; readonly selection: Selection }
  | { readonly kind: 'discard'; readonly selection: Selection }
  | { readonly kind: 'counts' }

/** The calls of `accept` of one turn, flat: see parcel.ts. */
export interface Parcel {
  /** How many records each call has. */
  readonly calls: readonly number[]
  /** Three texts a place: direction, protocol, route. */
  readonly places: readonly string[]
  /** What records of one connection have in common is their head. Two texts a head: lane and peer. */
  readonly texts: readonly string[]
  /**
   * Five numbers a head: its place, the bytes of its scope, and of the start of its events; where the body of its records begins, or
   * -1 when they have none, and its bytes.
   */
  readonly heads: readonly number[]
  /** Two numbers a record: its head, and the bytes of its event after the start. */
  readonly rows: Uint32Array<ArrayBuffer>
  readonly keys: readonly string[]
  /** Two numbers a key: its record, and 1 where that may repeat. */
  readonly keyed: readonly number[]
  /** Each event, and before the first of a head its scope, start and body, unless another head has had that body. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** What the main thread tells the worker at the end of a turn. */
export interface Batch {
  readonly parcel?: Parcel
  /** Numbered, so that notes whose answer was lost with a worker are not written twice. */
  readonly notes?: { readonly number: number; readonly list: readonly Note[] }
  readonly asks?: readonly { readonly number: number; readonly ask: Ask }[]
  /** Tells whether the journal can be written, when nothing else does. */
  readonly probe?: true
  readonly close?: true
}

/** What the worker answers after a commit. */
export interface Answer {
  /** How many batches it is for. */
  readonly batches: number
  /** What became of each parcel. */
  readonly outcomes: readonly Outcome[]
  readonly notes?: { readonly number: number; readonly failure?: Failure | undefined }
  readonly replies?: readonly Reply[]
  /** Dead letters that found no room. */
  readonly dropped?: readonly { readonly route: string; readonly peer: string; readonly error: string }[]
  /** Why notes could not be written that nobody could write. */
  readonly faults?: readonly string[]
  readonly retried?: readonly WaitingRow[]
  readonly discarded?: readonly number[]
  /** The highest id so far: what is above it was never answered. */
  readonly lastId: number
  readonly bytes: number
  /** How the last commit went; undefined when there was none. */
  readonly written?: { readonly failure?: Failure | undefined }
}

/** Of a parcel: the id of its first record when all of them are stored, with ids that follow; or what became of each call. */
export type Outcome = number | CallOutcomes

export interface CallOutcomes {
  /** For each call in order: its records' ids, negative where it was known; or one 0, for the next of `failures`. */
  readonly results: readonly number[]
  readonly failures: readonly Failure[]
}

export type Reply =
  | { readonly number: number; readonly value: unknown }
  | { readonly number: number; readonly failure: Failure }

/** Which of several processes has this journal. */
export interface SiblingPlace {
  /** The data folder of all of them. */
  readonly data: string
  /** From 1. */
  readonly number: number
}

/** The journal is open. */
export interface Ready {
  readonly kind: 'ready'
  /** The number of the last notes that are on disk. */
  readonly notes: number
  readonly lastId: number
  /** The damaged file that was set aside, and what is wrong with it. */
  readonly damaged?: { readonly file: string; readonly reason: string } | undefined
  /** What was never answered and is kept, because another process may have answered for it. */
  readonly kept?: readonly WaitingRow[]
}

/** How a worker begins: what it found, or why it could not open the journal. */
export type Hello = Ready | { readonly kind: 'failed'; readonly failure: Failure }

/** Who is told what people do. */
export interface JournalWatcher {
  /** These are to be tried, and wait now: a person has dead letters tried again, or they were stored when the worker ended. */
  retried(rows: readonly WaitingRow[]): void
  /** A person has taken these out: they are not to be tried. */
  discarded(ids: readonly number[]): void
}

/** What a worker is started with. */
export interface Start {
  readonly folder: string
  readonly limits: Limits
  /** Records above this id were never answered, and so they are no records: undefined at the first start. */
  readonly answered?: number | undefined
  /** Undefined: there are no other processes. */
  readonly sibling?: SiblingPlace | undefined
}

export interface Limits {
  /** Bytes. */
  readonly maxSize: number
  /** Milliseconds. */
  readonly deadLetterAge: number
  /** Milliseconds. */
  readonly dedupeWindow: number
}

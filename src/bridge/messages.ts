/** What the main thread and a worker thread say to each other: types only. */
import type { MessagePort } from 'node:worker_threads'
import type { BaseScope, Event } from '../asgi/protocol.ts'
import type { EncodedError } from './envelope.ts'

/** Where a function or class is: the URL of its module, and the name that it is exported by. */
export interface Place {
  /** The same for the same place, for as long as this thread lives: it is shorter than a path. */
  readonly id: number
  readonly module: string
  readonly name: string
}

interface AnyJob {
  readonly task: number
  /** The id of the scope on whose behalf it is done. */
  readonly scope: string | undefined
}

/** Call a function. */
export interface CallJob extends AnyJob {
  readonly kind: 'call'
  readonly place: Place
  readonly args: readonly unknown[]
}

/** Give a consumer its next event. The answer is whether it was the last one. */
export interface EventJob extends AnyJob {
  readonly kind: 'event'
  readonly seat: number
  readonly event: Event
  /** With the first event: the consumer is to be made. */
  readonly open: Opening | undefined
  /** Why the scope's signal is aborted, when the worker has not been told yet. */
  readonly aborted: EncodedError | undefined
}

/** Run a plain function for the whole of a scope. */
export interface ScopeJob extends AnyJob {
  readonly kind: 'scope'
  readonly seat: number
  readonly open: Opening
  readonly aborted: EncodedError | undefined
}

/** Forget the consumers of scopes that are over. */
export interface ForgetJob extends AnyJob {
  readonly kind: 'forget'
  readonly seats: readonly number[]
}

/** Load modules, and call nothing. */
export interface LoadJob extends AnyJob {
  readonly kind: 'load'
  readonly modules: readonly string[]
}

export type Job = CallJob | EventJob | ScopeJob | ForgetJob | LoadJob

export interface Opening {
  readonly place: Place
  readonly scope: BaseScope
}

/**
 * A job on its way. Calls are the most frequent, and what has no names in it is read and written fastest; a number stands for
 * a place that the worker has seen.
 */
export type Parcel = Exclude<Job, CallJob> | PackedCall
export type PackedCall = readonly [
  task: number,
  place: Place | number,
  args: readonly unknown[],
  scope: string | undefined,
]

/**
 * What became of a job: its value, as it is or, when it is an object, alone in an array; or an error; or the value was said
 * before, as a message of its own.
 */
export type Reply =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | readonly [value: unknown]
  | { readonly kind: 'error'; readonly error: EncodedError }
  | { readonly kind: 'elsewhere' }

/** What a blocked worker waits for: a function of the main thread, or something that its scope was lent. */
export type Target =
  | { readonly kind: 'function'; readonly place: Place }
  | { readonly kind: 'seat'; readonly seat: number; readonly method: string }

export type ToWorker =
  | { readonly kind: 'answer'; readonly call: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly call: number; readonly error: EncodedError }
  /** While the worker is blocked in this call: do this as well. */
  | { readonly kind: 'lend'; readonly call: number; readonly parcel: Parcel }
  /** This task is to stop. */
  | { readonly kind: 'cancel'; readonly task: number; readonly error: EncodedError }
  /** The signal of this scope is aborted. */
  | { readonly kind: 'abort'; readonly seat: number; readonly error: EncodedError }

interface AnyCall {
  readonly call: number
  /** The task that makes it. */
  readonly task: number
  readonly args: readonly unknown[]
}

export type ToMain =
  /** What is called by its number from now on. */
  | { readonly kind: 'name'; readonly place: Place }
  | (AnyCall & { readonly kind: 'call'; readonly place: number })
  | (AnyCall & { readonly kind: 'ask'; readonly seat: number; readonly method: string })
  /** What became of a job that was lent. */
  | { readonly kind: 'done'; readonly task: number; readonly reply: Reply }
  /** The value of a job whose reply says `elsewhere`. */
  | { readonly kind: 'value'; readonly task: number; readonly value: unknown }
  /** The worker no longer waits for this call. */
  | { readonly kind: 'leave'; readonly call: number }
  | LogLine

export interface LogLine {
  readonly kind: 'log'
  readonly seat: number | undefined
  readonly scope: string | undefined
  readonly level: LogLevel
  readonly fields: Readonly<Record<string, unknown>>
  readonly message: string
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'

/** A worker's first message: its end of the line, the counter of what was written on it, and whether the line is closed. */
export interface Hello {
  readonly kind: 'signalbox.bridge'
  readonly port: MessagePort
  readonly counter: Int32Array<SharedArrayBuffer>
}

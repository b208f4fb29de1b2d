/** One job for a worker thread, from the moment it is asked for until it is answered. */
import type { Transferable } from 'node:worker_threads'
import { SignalboxError } from '../runtime/errors.ts'
import type { EncodedError } from './envelope.ts'
import type { Parcel, Place } from './messages.ts'
import { describe } from './modules.ts'

export interface TaskOptions {
  /** Names it in errors, where its place does not. */
  readonly label?: () => string
  /** The id of the scope on whose behalf it is done. The tasks of each scope take turns with those of others. */
  readonly scope: string | undefined
  /** Milliseconds that it may run. */
  readonly timeout: number
  /** Called when it starts: only now does it say what is to be done. */
  readonly prepare: (id: number, host: Host) => Prepared
  /** What it calls. */
  readonly place?: Place
  /** It is refused when too much waits. */
  readonly bounded?: boolean
  /** It can only be done where its scope lives. */
  readonly resident?: boolean
}

export interface Prepared {
  readonly parcel: Parcel
  readonly transfer: Transferable[]
}

/** What has the task now: a queue or a thread. It is told when the task is not wanted any more. */
export interface Holder {
  drop(task: Task, error: Error): void
  /** Why the task is late, if that is known. */
  whyLate(task: Task): Error | undefined
}

/** A thread, as far as a task and its scope have to do with it. */
export interface Host extends Holder {
  /** Tells the worker that the signal of a scope is aborted. */
  abort(seat: number, why: EncodedError | undefined): void
  /** The place, or its number if the worker has seen it. */
  short(place: Place): Place | number
}

let nextId = 1

export class Task {
  readonly id = nextId++
  readonly options: TaskOptions
  readonly promise: Promise<unknown>
  holder: Holder | undefined
  /** When it is late, by `performance.now()`; its holder sees to that. */
  deadline = Infinity
  #over = false
  readonly #resolve: (value: unknown) => void
  readonly #reject: (error: unknown) => void

  constructor(options: TaskOptions) {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.options = options
    this.promise = promise
    this.#resolve = resolve
    this.#reject = reject
  }

  get label(): string {
    const { label, place } = this.options
    return label?.() ?? (place ? describe(place) : 'the work')
  }

  /** Whoever asked has been answered: with a value, an error, or that it was given up. */
  get over(): boolean {
    return this.#over
  }

  settle(value: unknown): void {
    this.#over = true
    this.#resolve(value)
  }

  fail(error: unknown): void {
    this.#over = true
    this.#reject(error)
  }

  /** Answers with `error` at once, and sees to it that the work stops. */
  cancel(error: Error): void {
    if (this.#over) return
    this.fail(error)
    this.holder?.drop(this, error)
  }

  /** Its time is up. */
  expire(): void {
    const late = new SignalboxError('timed_out', `${this.label} was not done within ${this.options.timeout} ms`)
    this.cancel(this.holder?.whyLate(this) ?? late)
  }
}

/** The calls that a worker is blocked in: what the main thread does for it, and how it is told. */
import { SignalboxError, reason } from '../runtime/errors.ts'
import { encodeError } from './envelope.ts'
import type { Line } from './line.ts'
import type { Place, Target, ToMain } from './messages.ts'
import { describeTarget } from './modules.ts'
import { pack } from './pack.ts'
import { trail, type BlockedCall } from './trail.ts'
import type { Task } from './task.ts'

type CallMessage = Extract<ToMain, { readonly kind: 'call' | 'ask' }>

/** Does what a worker waits for. */
export type Perform = (target: Target, args: readonly unknown[]) => Promise<unknown>

export interface CallsOwner {
  readonly perform: Perform
  /** How many tasks are done, on all threads. */
  readonly done: number
  lend(task: Task, call: Call): void
  /** It is answered, or not waited for any more. */
  onClosed(call: Call): void
}

/** One call. */
export class Call implements BlockedCall {
  open = true
  /** The thread that waits. */
  readonly thread: CallsOwner
  readonly id: number
  /** The task that made it. */
  readonly task: number
  readonly target: Target
  /** How many tasks were done when it began. */
  readonly doneBefore: number

  constructor(thread: CallsOwner, { call, task }: CallMessage, target: Target) {
    this.thread = thread
    this.id = call
    this.task = task
    this.target = target
    this.doneBefore = thread.done
  }

  /** Whether a scope waits for its own peer. */
  get isReceive(): boolean {
    return this.target.kind === 'seat' && this.target.method === 'receive'
  }

  get label(): string {
    return describeTarget(this.target)
  }

  lend(task: Task): void {
    this.thread.lend(task, this)
  }
}

export class Calls {
  readonly #owner: CallsOwner
  readonly #line: Line
  readonly #open = new Map<number, Call>()
  /** What the worker calls by number. */
  readonly #places = new Map<number, Place>()

  constructor(owner: CallsOwner, line: Line) {
    this.#owner = owner
    this.#line = line
  }

  get size(): number {
    return this.#open.size
  }

  /** The innermost: the others cannot go on before it has its answer. */
  get last(): Call | undefined {
    return [...this.#open.values()].at(-1)
  }

  name(place: Place): void {
    this.#places.set(place.id, place)
  }

  open(message: CallMessage): Call {
    const call = new Call(this.#owner, message, this.#targetOf(message))
    this.#open.set(call.id, call)
    return call
  }

  /** Does what the call is for, in the name of the scope, and answers. */
  serve(call: Call, args: readonly unknown[], scope: string | undefined): void {
    // Nothing is done on behalf of who waits for its peer: whatever begins in a `receive()` is somebody else's.
    const here = call.isReceive ? { scope } : { scope, call }
    trail.run(here, this.#owner.perform, call.target, args).then(
      (value) => this.#answer(call, value),
      (error: unknown) => this.#refuse(call, error),
    )
  }

  /** The worker does not wait any more. */
  leave(id: number): void {
    const call = this.#open.get(id)
    if (call) this.#close(call)
  }

  /** There is no worker any more. */
  closeAll(): void {
    for (const call of this.#open.values()) call.open = false
    this.#open.clear()
  }

  #targetOf(message: CallMessage): Target {
    if (message.kind === 'ask') return { kind: 'seat', seat: message.seat, method: message.method }
    const place = this.#places.get(message.place)
    if (place) return { kind: 'function', place }
    throw new TypeError('a worker called a function that it had not named')
  }

  #answer(call: Call, result: unknown): void {
    if (!call.open) return
    try {
      const { value, transfer } = pack(result)
      this.#line.post({ kind: 'answer', call: call.id, value }, transfer)
      this.#close(call)
    } catch (error) {
      const message = `the result of ${call.label} cannot go to another thread: ${reason(error)}`
      this.#refuse(call, new SignalboxError('bridge_failed', message, { cause: error }))
    }
  }

  #refuse(call: Call, error: unknown): void {
    if (!call.open) return
    this.#line.post({ kind: 'refusal', call: call.id, error: encodeError(error, call.label) })
    this.#close(call)
  }

  #close(call: Call): void {
    call.open = false
    this.#open.delete(call.id)
    this.#owner.onClosed(call)
  }
}

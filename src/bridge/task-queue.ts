/** Tasks that wait for a thread, those of each scope in turn. */
import { SignalboxError } from '../runtime/errors.ts'
import { Deadlines } from './deadlines.ts'
import { FairQueue } from './fair-queue.ts'
import type { Holder, Task } from './task.ts'

export class TaskQueue implements Holder {
  readonly #tasks = new FairQueue<Task>()
  readonly #patience: number
  readonly #deadlines = new Deadlines(() => this.#tasks)

  /** How many of them count for the limit of what may wait. */
  bounded = 0

  /** Nothing waits longer than `patience` milliseconds. */
  constructor(patience = Infinity) {
    this.#patience = patience
  }

  get length(): number {
    return this.#tasks.length
  }

  push(task: Task): void {
    task.holder = this
    this.#tasks.push(keyOf(task), task)
    if (task.options.bounded) this.bounded++
    if (this.#patience === Infinity) return
    task.deadline = performance.now() + this.#patience
    this.#deadlines.note(task)
  }

  shift(): Task | undefined {
    const task = this.#tasks.shift()
    if (!task) return undefined
    task.deadline = Infinity
    if (task.options.bounded) this.bounded--
    return task
  }

  drop(task: Task): void {
    task.holder = undefined
    this.#tasks.remove(keyOf(task), task)
    if (task.options.bounded) this.bounded--
  }

  whyLate({ label }: Task): Error {
    return new SignalboxError('timed_out', `${label} found no free thread within ${this.#patience} ms`)
  }

  failAll(error: Error): void {
    this.#deadlines.stop()
    this.bounded = 0
    for (const task of this.#tasks.clear()) {
      task.holder = undefined
      task.fail(error)
    }
  }
}

const keyOf = ({ options }: Task): string => options.scope ?? ''

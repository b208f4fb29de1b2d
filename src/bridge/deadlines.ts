/** One timer for the deadlines of many tasks: it is looked at when the earliest may have passed, not set anew for each. */
import type { Task } from './task.ts'

export class Deadlines {
  readonly #tasks: () => Iterable<Task>
  #timer: NodeJS.Timeout | undefined
  #due = Infinity

  /** `tasks` are those that there are when it is looked. */
  constructor(tasks: () => Iterable<Task>) {
    this.#tasks = tasks
  }

  /** A task has got a deadline. */
  note({ deadline }: Task): void {
    if (deadline >= this.#due) return
    this.#due = deadline
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#look(), Math.max(0, Math.ceil(deadline - performance.now())))
    // Whatever is waited for keeps the process alive by itself.
    this.#timer.unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#due = Infinity
  }

  #look(): void {
    this.#due = Infinity
    const now = performance.now()
    const late: Task[] = []
    for (const task of this.#tasks()) {
      if (task.deadline <= now) late.push(task)
      else this.note(task)
    }
    for (const task of late) task.expire()
  }
}

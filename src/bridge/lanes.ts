/** The places for threads: which one does what, what waits, and what becomes of it when a thread ends. */
import type { Perform } from './calls.ts'
import type { LogLine } from './messages.ts'
import type { Task } from './task.ts'
import { TaskQueue } from './task-queue.ts'
import { Thread, type ThreadOptions, type ThreadOwner } from './thread.ts'

/** A place for one thread, with what waits for it alone. */
export interface Lane {
  thread: Thread | undefined
  /** How many scopes live here. */
  seats: number
  readonly queue: TaskQueue
  /** Which queue is looked at first: each in its turn. */
  turn: number
}

/** Where a task may run. */
export interface Need {
  /** Only here: that is where its scope lives. */
  readonly lane?: Lane | undefined
  /** It lasts as long as a scope does, and so it keeps a thread for itself. */
  readonly holds?: boolean
}

export interface LanesOptions extends ThreadOptions {
  readonly threads: number
  /** How long, in milliseconds, a scope waits for a thread. */
  readonly patience: number
}

export interface LanesOwner {
  readonly perform: Perform
  log(line: LogLine): void
  onDeath(thread: Thread, error: Error): void
}

/** A lane that has room has nothing to wait for: whatever could run on it does. */
export class Lanes {
  readonly #options: LanesOptions
  readonly #owner: LanesOwner
  readonly #lanes: readonly Lane[]
  /** What any thread may do. */
  readonly #calls = new TaskQueue()
  /** What keeps a thread for itself. */
  readonly #holds: TaskQueue

  #done = 0

  constructor(options: LanesOptions, owner: LanesOwner) {
    const { threads, patience } = options
    this.#options = options
    this.#owner = owner
    this.#holds = new TaskQueue(patience)
    const lane = () => ({ thread: undefined, seats: 0, queue: new TaskQueue(patience), turn: 0 })
    this.#lanes = Array.from({ length: threads }, lane)
  }

  get queued(): number {
    return this.#queues.reduce((sum, { length }) => sum + length, 0)
  }

  /** Of what waits, what counts for the limit. */
  get bounded(): number {
    return this.#queues.reduce((sum, { bounded }) => sum + bounded, 0)
  }

  get threads(): readonly Thread[] {
    return this.#lanes.flatMap(({ thread }) => thread ?? [])
  }

  laneOf(thread: object): Lane | undefined {
    return this.#lanes.find((lane) => lane.thread === thread)
  }

  /** Where the fewest scopes live, and the least is to be done. */
  quietest(): Lane {
    return this.#lanes.reduce((best, lane) => (load(lane) < load(best) ? lane : best))
  }

  /** Runs the task if it can run now. */
  tryToRun(task: Task, { lane = this.#roomiest(), holds = false }: Need): boolean {
    const room = roomOf(lane)
    if (room !== 'any' && (room === 'none' || holds)) return false
    this.#run(lane, task)
    return true
  }

  enqueue(task: Task, { lane, holds = false }: Need): void {
    const common = holds ? this.#holds : this.#calls
    const queue = lane?.queue ?? common
    queue.push(task)
  }

  async close(error: Error): Promise<void> {
    for (const queue of this.#queues) queue.failAll(error)
    await Promise.all(this.threads.map((thread) => thread.close(error)))
  }

  get #queues(): readonly TaskQueue[] {
    return [this.#calls, this.#holds, ...this.#lanes.map(({ queue }) => queue)]
  }

  /** A thread that does nothing before one that must be started, and that before one that must do it in between. */
  #roomiest(): Lane {
    return this.#lanes.reduce((best, lane) => (reluctance(lane) < reluctance(best) ? lane : best))
  }

  #run(lane: Lane, task: Task): void {
    lane.thread ??= this.#start(lane)
    lane.thread.run(task)
  }

  #feed(lane: Lane): void {
    for (let room = roomOf(lane); room !== 'none'; room = roomOf(lane)) {
      const task = this.#next(lane, room === 'any')
      if (!task) return
      this.#run(lane, task)
    }
  }

  #next(lane: Lane, any: boolean): Task | undefined {
    const queues = any ? [lane.queue, this.#calls, this.#holds] : [lane.queue, this.#calls]
    for (const offset of queues.keys()) {
      const index = (lane.turn + offset) % queues.length
      const task = queues[index]?.shift()
      if (!task) continue
      lane.turn = index + 1
      return task
    }
    return undefined
  }

  #start(lane: Lane): Thread {
    const done = () => this.#done
    const owner: ThreadOwner = {
      perform: this.#owner.perform,
      log: (line) => this.#owner.log(line),
      onRoom: () => this.#feed(lane),
      onReturned: (task) => this.#reschedule(task, lane),
      onDeath: (thread, error) => {
        lane.thread = undefined
        this.#owner.onDeath(thread, error)
        this.#feed(lane)
      },
      get done() {
        return done()
      },
      onDone: () => this.#done++,
      isStuck: () => this.queued > 0 && this.#lanes.every(({ thread }) => thread?.blocked),
    }
    return new Thread(this.#options, owner)
  }

  #reschedule(task: Task, lane: Lane): void {
    const need = { lane: task.options.resident ? lane : undefined }
    if (!this.tryToRun(task, need)) this.enqueue(task, need)
  }
}

const roomOf = ({ thread }: Lane) => (thread ? thread.room : 'any')
const load = ({ seats, queue, thread }: Lane): number => seats + queue.length + (thread?.running ?? 0)

function reluctance(lane: Lane): number {
  const room = roomOf(lane)
  if (room === 'none') return Infinity
  if (room === 'short') return 2e9 + load(lane)
  return (lane.thread ? 0 : 1e9) + load(lane)
}

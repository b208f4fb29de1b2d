/** One worker thread as the main thread sees it: the tasks that run on it, one on top of the other, and its end. */
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Piscina } from 'piscina'
import { SignalboxError, hasCode, reason } from '../runtime/errors.ts'
import { type Call, Calls, type CallsOwner, type Perform } from './calls.ts'
import { Deadlines } from './deadlines.ts'
import { RemoteError, encodeError, type EncodedError } from './envelope.ts'
import { Line } from './line.ts'
import type { LogLine, Place, Reply, ToMain } from './messages.ts'
import type { Host, Prepared, Task } from './task.ts'

export interface ThreadOptions {
  /** MiB of objects that the worker may hold. */
  readonly memory: number | undefined
  /** Milliseconds that work may take to stop when it is told to. */
  readonly grace: number
}

/** Whom a thread serves, and who is told how it fares. */
export interface ThreadOwner {
  readonly perform: Perform
  log(line: LogLine): void
  /** It can take something. */
  onRoom(): void
  /** This was lent to the worker, which did not come to it. */
  onReturned(task: Task): void
  onDeath(thread: Thread, error: Error): void
  /** How many tasks are done, on all threads. */
  readonly done: number
  /** Another one is. */
  onDone(): void
  /** Whether work waits for a thread, and none can take it before what it waits for itself is done. */
  isStuck(): boolean
}

/** How long, in milliseconds, the end of a worker is waited for. */
const longestEnd = 5000

/** How much a thread can take: any work, only work that ends by itself, or none. */
export type Room = 'any' | 'short' | 'none'

const require = createRequire(import.meta.url)
const workerFile = fileURLToPath(new URL(`./worker${path.extname(import.meta.url)}`, import.meta.url))

export class Thread implements Host, CallsOwner {
  readonly perform: Perform
  readonly #options: ThreadOptions
  readonly #owner: ThreadOwner
  readonly #piscina: Piscina
  readonly #line = new Line((message) => this.#hear(message))
  readonly #calls: Calls
  readonly #tasks = new Map<number, Task>()
  readonly #deadlines = new Deadlines(() => this.#tasks.values())
  /** What was lent, and to which call. */
  readonly #lent = new Map<Task, Call>()
  /** Values that came before the replies that they belong to. */
  readonly #values = new Map<number, unknown>()
  /** The numbers of places that the worker has seen. */
  readonly #seen = new Set<number>()
  /** What ends the worker unless the task does stop. */
  readonly #killers = new Map<Task, NodeJS.Timeout>()
  /** What Piscina runs; everything else is on top of it. */
  #base: Task | undefined
  /** The call in which a function waits for its peer, when that is all that the thread does. */
  #parked: Call | undefined
  /** What was lent to a parked thread. */
  #guest: Task | undefined
  #state: 'alive' | 'dying' | 'dead' = 'alive'
  #cause: Error | undefined
  readonly #ended = Promise.withResolvers<void>()
  #onIdle: () => void = () => undefined

  constructor(options: ThreadOptions, owner: ThreadOwner) {
    this.#options = options
    this.#owner = owner
    this.perform = owner.perform
    this.#calls = new Calls(this, this.#line)
    // Loaded with the first thread.
    const { Piscina } = require('piscina') as typeof import('piscina')
    this.#piscina = new Piscina({
      filename: workerFile,
      name: 'run',
      // Its one worker comes with the first task, stays, and is never replaced: what lived on it is lost with it.
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: Infinity,
      recordTiming: false,
      ...(options.memory !== undefined && { resourceLimits: { maxOldGenerationSizeMb: options.memory } }),
    })
    this.#piscina.on('message', (message: unknown) => {
      if (!this.#line.greet(message)) return
      // That a thread takes its time to begin is not the task's fault.
      if (this.#state === 'alive') this.#startClock(this.#base)
      else this.#end()
    })
    this.#piscina.on('error', (error: Error) => (this.#cause ??= error))
    this.#piscina.on('workerDestroy', () => this.#collapse())
  }

  get room(): Room {
    if (this.#state !== 'alive') return 'none'
    if (!this.#base) return 'any'
    return this.#parked && !this.#guest ? 'short' : 'none'
  }

  get done(): number {
    return this.#owner.done
  }

  /** How many tasks run here, one on top of the other. */
  get running(): number {
    return this.#tasks.size
  }

  /** Whether the worker is blocked in a call, and not just because a function there waits for its peer. */
  get blocked(): boolean {
    return this.#calls.size > (this.#parked ? 1 : 0)
  }

  /** Runs a task that there is room for. */
  run(task: Task): void {
    if (this.#base) return this.#runAsGuest(task)
    this.#base = task
    const prepared = this.#begin(task)
    if (!prepared) return this.#finishBase()
    // It is Piscina's to clone; what cannot be cloned comes back as a rejection, as a worker's death does.
    this.#piscina.run(prepared.parcel, { transferList: prepared.transfer }).then(this.#done, this.#broken)
    return undefined
  }

  /** Runs a task in a worker that is blocked in this call. */
  lend(task: Task, call: Call): void {
    const prepared = this.#begin(task)
    if (!prepared) return
    this.#lent.set(task, call)
    try {
      this.#line.post({ kind: 'lend', call: call.id, parcel: prepared.parcel }, prepared.transfer)
    } catch (error) {
      this.#leave(task)
      task.fail(cannotSend(task, error))
    }
  }

  abort(seat: number, error: EncodedError | undefined): void {
    if (error) this.#line.post({ kind: 'abort', seat, error })
  }

  short(place: Place): Place | number {
    return this.#seen.has(place.id) ? place.id : place
  }

  /** The task's answer is not awaited any more: it is to stop, and when it does not, the worker ends. */
  drop(task: Task, error: Error): void {
    task.deadline = Infinity
    this.#line.post({ kind: 'cancel', task: task.id, error: encodeError(error, 'the cancellation') })
    this.#killers.set(
      task,
      setTimeout(() => this.#die(error), this.#options.grace),
    )
  }

  whyLate({ label }: Task): Error | undefined {
    const call = this.#calls.last
    // Slow is not stuck: something was done meanwhile, or could have been.
    if (!call || call.doneBefore !== this.done || !this.#owner.isStuck()) return undefined
    const message = `${label} waited in ${call.label} until its time was up, and every thread waits, while work needs one`
    return new SignalboxError('deadlock', `${message}: perhaps what it waits for`)
  }

  onClosed(call: Call): void {
    if (this.#parked === call) this.#parked = undefined
    // A guest that still runs is in its way: its clock starts when it can go on.
    if (!this.#guest) this.#startClock(this.#tasks.get(call.task))
  }

  /** Stops what runs, with this error, and ends the worker. */
  async close(error: Error): Promise<void> {
    if (this.#base && this.#state === 'alive') {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#onIdle = resolve
      for (const task of this.#tasks.values()) task.cancel(error)
      await promise
    }
    this.#die(error)
    await this.#ended.promise
  }

  #runAsGuest(task: Task): void {
    const call = this.#parked
    if (!call || this.#guest) throw new TypeError('a thread was given a task that it has no room for')
    this.lend(task, call)
    if (this.#lent.has(task)) this.#guest = task
  }

  #begin(task: Task): Prepared | undefined {
    this.#tasks.set(task.id, task)
    task.holder = this
    try {
      const prepared = task.options.prepare(task.id, this)
      if (this.#line.open) this.#startClock(task)
      return prepared
    } catch (error) {
      this.#leave(task)
      task.fail(cannotSend(task, error))
      return undefined
    }
  }

  /** Of a task that has just begun, or that has waited for its peer. */
  #startClock(task: Task | undefined): void {
    if (!task || task.over || task.deadline !== Infinity) return
    task.deadline = performance.now() + task.options.timeout
    this.#deadlines.note(task)
  }

  #hear(message: ToMain): void {
    switch (message.kind) {
      case 'name':
        return this.#calls.name(message.place)
      case 'call':
      case 'ask':
        return this.#serve(message)
      case 'done':
        return this.#doneOnTop(message.task, message.reply)
      case 'value':
        this.#values.set(message.task, message.value)
        return
      case 'leave':
        return this.#takeBack(message.call)
      case 'log':
        return this.#owner.log(message)
      default:
        message satisfies never
    }
  }

  #serve(message: Extract<ToMain, { readonly kind: 'call' | 'ask' }>): void {
    // Nobody is there for the answer.
    if (this.#state !== 'alive') return
    const call = this.#calls.open(message)
    const task = this.#tasks.get(call.task)
    if (call.isReceive) this.#park(call, task)
    this.#calls.serve(call, message.args, task?.options.scope)
  }

  #park(call: Call, task: Task | undefined): void {
    if (task) task.deadline = Infinity
    // A function on top of others must come to its end first: they cannot go on below a guest.
    if (!task || task !== this.#base) return
    this.#parked = call
    this.#owner.onRoom()
  }

  /** The worker does not wait in this call any more. It has done what it says it has done, and nothing else that was lent. */
  #takeBack(id: number): void {
    this.#calls.leave(id)
    for (const [task, call] of this.#lent) {
      if (call.id !== id) continue
      this.#leave(task)
      if (this.#guest === task) this.#guest = undefined
      if (!task.over) this.#owner.onReturned(task)
    }
  }

  #doneOnTop(id: number, reply: Reply): void {
    const task = this.#tasks.get(id)
    if (!task) return
    this.#settle(task, reply)
    if (this.#guest !== task) return
    this.#guest = undefined
    if (this.#parked) this.#owner.onRoom()
    else this.#startClock(this.#base)
  }

  readonly #done = (reply: Reply): void => {
    const task = this.#base
    if (this.#state !== 'alive' || !task) return
    // What the worker said before it was done, on a line of its own, comes first.
    this.#line.catchUp()
    this.#settle(task, reply)
    this.#finishBase()
  }

  readonly #broken = (error: unknown): void => {
    const task = this.#base
    if (this.#state !== 'alive' || !task) {
      this.#cause ??= Error.isError(error) ? error : new Error(reason(error))
      return
    }
    // The worker has never heard of it.
    this.#leave(task)
    task.fail(cannotSend(task, error))
    this.#finishBase()
  }

  #finishBase(): void {
    this.#base = undefined
    this.#onIdle()
    this.#owner.onRoom()
  }

  #settle(task: Task, reply: Reply): void {
    const { place } = task.options
    const value = this.#values.get(task.id)
    this.#leave(task)
    this.#owner.onDone()
    if (typeof reply === 'object' && reply !== null && 'kind' in reply) {
      if (reply.kind === 'error') return task.fail(new RemoteError(reply.error))
      task.settle(value)
    } else task.settle(typeof reply === 'object' && reply !== null ? reply[0] : reply)
    if (place) this.#seen.add(place.id)
    return undefined
  }

  #leave(task: Task): void {
    this.#tasks.delete(task.id)
    this.#values.delete(task.id)
    this.#lent.delete(task)
    task.holder = undefined
    task.deadline = Infinity
    clearTimeout(this.#killers.get(task))
    this.#killers.delete(task)
  }

  /** The worker has ended by itself. Why, is said a moment later: by a task's rejection or by an event. */
  #collapse(): void {
    if (this.#state === 'alive') this.#state = 'dying'
    setImmediate(() => this.#die())
  }

  #die(cause?: Error): void {
    if (this.#state === 'dead') return
    this.#cause ??= cause
    const isGone = this.#state === 'dying'
    this.#state = 'dying'
    // Its last words may say why.
    this.#line.catchUp()
    this.#state = 'dead'
    this.#deadlines.stop()
    // A worker that has just begun is interrupted by its end in what must not be interrupted.
    if (this.#line.open || isGone) this.#end()
    for (const task of this.#tasks.values()) {
      this.#leave(task)
      task.fail(this.#death(task.label))
    }
    this.#calls.closeAll()
    this.#onIdle()
    this.#owner.onDeath(this, this.#death('this scope'))
  }

  #end(): void {
    this.#line.close()
    const timer = setTimeout(this.#ended.resolve, longestEnd)
    void this.#piscina.destroy().then(() => {
      clearTimeout(timer)
      this.#ended.resolve()
    })
  }

  #death(label: string): Error {
    const cause = this.#cause
    if (cause && hasCode(cause, 'closing')) return cause
    const message = `the worker thread of ${label} ended: ${reason(cause ?? 'nobody knows why')}`
    return new SignalboxError('worker_died', message, { cause })
  }
}

function cannotSend({ label }: Task, error: unknown): SignalboxError {
  const message = `${label} cannot go to another thread: ${reason(error)}`
  return new SignalboxError('bridge_failed', message, { cause: error })
}

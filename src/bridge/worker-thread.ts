/** A worker thread as seen from inside: what it does now, and how it waits for the main thread without an event loop. */
import { receiveMessageOnPort, type MessagePort, type Transferable } from 'node:worker_threads'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { decodeError, encodeError, type EncodedError } from './envelope.ts'
import type { Job, Place, Reply, Target, ToMain, ToWorker } from './messages.ts'
import { Modules, describeJob, describeTarget } from './modules.ts'
import { pack, packAll } from './pack.ts'
import { shared } from './shared.ts'

/** What the thread does now; on top of `parent`, if that is what waits for it. */
export interface RunningTask {
  readonly id: number
  readonly scope: string | undefined
  readonly seat: number | undefined
  readonly parent: RunningTask | undefined
  cancelled: Error | undefined
}

interface LentJob {
  readonly call: number
  readonly job: Job
}

type Answer = Extract<ToWorker, { readonly kind: 'answer' | 'refusal' }>

const side = 'in the main thread'

export class WorkerThread {
  readonly modules = new Modules()
  task: RunningTask | undefined
  /** Why a scope's signal is aborted, by seat. */
  readonly #aborted = new Map<number, EncodedError>()
  readonly #port: MessagePort
  /** What the main thread has written to the line, counted; and whether the line is closed. */
  readonly #counter: Int32Array<SharedArrayBuffer>
  readonly #perform: (job: Job) => unknown
  readonly #tasks = new Map<number, RunningTask>()
  /** The calls that the thread waits in, the innermost last, and the tasks that a job lent to them works for. */
  readonly #calls = new Map<number, RunningTask | undefined>()
  readonly #answers = new Map<number, Answer>()
  /** The numbers of places that the main thread has been told. */
  readonly #named = new Set<number>()
  #lent: LentJob[] = []
  #seen = 0
  #nextCall = 1

  constructor(port: MessagePort, counter: Int32Array<SharedArrayBuffer>, perform: (job: Job) => unknown) {
    this.#port = port
    this.#counter = counter
    this.#perform = perform
  }

  /** The task is on top until `leave`. */
  enter(job: Job, parent?: RunningTask): RunningTask {
    const seat = 'seat' in job ? job.seat : parent?.seat
    const task: RunningTask = { id: job.task, scope: job.scope, seat, parent, cancelled: undefined }
    this.#tasks.set(task.id, task)
    this.task = task
    return task
  }

  leave(task: RunningTask, before?: RunningTask): void {
    this.#tasks.delete(task.id)
    this.task = before
  }

  /**
   * Blocks until the main thread has answered, and does meanwhile what it lends.
   * @throws what the main thread's function threw; SignalboxError `timed_out`, `bridge_failed`; why the task was cancelled.
   */
  call(target: Target, args: readonly unknown[], timeout = Infinity): unknown {
    const { task } = this
    if (!task) throw idle(target)
    const call = this.#nextCall++
    // A scope that waits for its own peer is in nobody's name: what is lent to it then is somebody else's.
    this.#calls.set(call, target.kind === 'seat' && target.method === 'receive' ? undefined : task)
    try {
      this.#ask({ call, task: task.id }, target, args)
      const answer = this.#wait(call, task, timeout)
      if (!answer)
        throw new SignalboxError('timed_out', `${describeTarget(target)} was not answered within ${timeout} ms`)
      if (answer.kind === 'refusal') throw decodeError(answer.error, side)
      return answer.value
    } finally {
      this.#calls.delete(call)
      // Whoever does not wait any more says so: what was lent meanwhile must be done elsewhere.
      if (!this.#answers.delete(call)) this.#port.postMessage({ kind: 'leave', call } satisfies ToMain)
    }
  }

  /** Whether the thread is to end: nothing that it does reaches anybody. */
  get over(): boolean {
    return Atomics.load(this.#counter, 1) === 1
  }

  stop(): void {
    Atomics.store(this.#counter, 1, 1)
  }

  /** Whether the task on top is to stop. */
  get isStopped(): boolean {
    this.#read()
    const { task } = this
    return cancelled(task) !== undefined || (task?.seat !== undefined && this.#aborted.has(task.seat))
  }

  /** Why. */
  get stopReason(): Error | undefined {
    const { task } = this
    const aborted = task?.seat === undefined ? undefined : this.#aborted.get(task.seat)
    return cancelled(task) ?? (aborted && decodeError(aborted, side))
  }

  /** The signal of this scope is aborted. */
  abort(seat: number, why: EncodedError): void {
    this.#aborted.set(seat, why)
  }

  forget(seat: number): void {
    this.#aborted.delete(seat)
  }

  /** Says something that needs no answer. @throws SignalboxError `bridge_failed`. */
  tell(message: ToMain, transfer: readonly Transferable[], what: () => string): void {
    try {
      this.#port.postMessage(message, transfer)
    } catch (error) {
      throw new SignalboxError('bridge_failed', `${what()} cannot go to the main thread: ${reason(error)}`, {
        cause: error,
      })
    }
  }

  #ask(ids: { readonly call: number; readonly task: number }, target: Target, args: readonly unknown[]): void {
    const { value, transfer } = packAll(args)
    const message: ToMain =
      target.kind === 'function'
        ? { kind: 'call', ...ids, place: this.#numberOf(target.place), args: value }
        : { kind: 'ask', ...ids, seat: target.seat, method: target.method, args: value }
    this.tell(message, transfer, () => describeTarget(target))
  }

  /** Said once: it is as long as its path. */
  #numberOf(place: Place): number {
    if (!this.#named.has(place.id)) {
      this.#port.postMessage({ kind: 'name', place } satisfies ToMain)
      this.#named.add(place.id)
    }
    return place.id
  }

  /** Undefined: it did not come in time. @throws why the task was cancelled. */
  #wait(call: number, task: RunningTask, timeout: number): Answer | undefined {
    const end = timeout === Infinity ? Infinity : performance.now() + timeout
    for (;;) {
      this.#read()
      while (this.#lent.length > 0) this.#doLent()
      const answer = this.#answers.get(call)
      if (answer) return answer
      const stop = this.over ? new SignalboxError('closing', 'this worker thread ends') : cancelled(task)
      if (stop) throw stop
      const left = end === Infinity ? Infinity : end - performance.now()
      if (left <= 0) return undefined
      // Returns at once when something was written since it was read.
      Atomics.wait(this.#counter, 0, this.#seen, left)
    }
  }

  /** Takes what is on the line. The counter is looked at first: what comes in between is found by the next look. */
  #read(): void {
    const written = Atomics.load(this.#counter, 0)
    if (written === this.#seen) return
    this.#seen = written
    for (let got = receiveMessageOnPort(this.#port); got; got = receiveMessageOnPort(this.#port)) {
      this.#take(got.message as ToWorker)
    }
  }

  #take(message: ToWorker): void {
    switch (message.kind) {
      case 'answer':
      case 'refusal':
        // One to a call that is not waited for any more is dropped.
        if (this.#calls.has(message.call)) this.#answers.set(message.call, message)
        return
      case 'lend':
        this.#lent.push({ call: message.call, job: this.modules.unpack(message.parcel) })
        return
      case 'cancel':
        return this.#cancel(message.task, decodeError(message.error, side))
      case 'abort':
        return this.abort(message.seat, message.error)
      default:
        message satisfies never
    }
  }

  #cancel(id: number, error: Error): void {
    const task = this.#tasks.get(id)
    if (task) task.cancelled = error
    const waiting = this.#lent.findIndex(({ job }) => job.task === id)
    const [lent] = waiting < 0 ? [] : this.#lent.splice(waiting, 1)
    if (lent) this.#done(lent.job, { kind: 'error', error: encodeError(error, 'the cancellation') }, [])
  }

  #doLent(): void {
    const lent = this.#lent.shift()
    // The main thread knows when the call is over, and sees to the job in another way.
    if (!lent || !this.#calls.has(lent.call)) return
    const { call, job } = lent
    const before = this.task
    const task = this.enter(job, this.#calls.get(call))
    try {
      const { value, transfer } = pack(this.#perform(job))
      this.#done(job, [value], transfer)
    } catch (error) {
      this.#done(job, { kind: 'error', error: encodeError(error, describeJob(job)) }, [])
    } finally {
      this.leave(task, before)
    }
  }

  #done(job: Job, reply: Reply, transfer: readonly Transferable[]): void {
    this.tell({ kind: 'done', task: job.task, reply }, transfer, () => `the result of ${describeJob(job)}`)
  }
}

const current = shared('worker', (): { thread: WorkerThread | undefined } => ({ thread: undefined }))

/** The worker thread that this code runs in; undefined in the main thread, and in workers that are no part of the bridge. */
export function workerThread(): WorkerThread | undefined {
  return current.thread
}

export function becomeWorker(thread: WorkerThread): void {
  current.thread = thread
}

/** Whoever waits for the task has given up, or for what waits for it. */
function cancelled(task: RunningTask | undefined): Error | undefined {
  for (let each = task; each; each = each.parent) if (each.cancelled) return each.cancelled
  return undefined
}

function idle(target: Target): SignalboxError {
  const what = describeTarget(target)
  return new SignalboxError('bridge_failed', `${what} is called while this thread does nothing for the main thread`)
}

/** The worker threads: who works where, who waits, and what becomes of it when a thread ends. */
import os from 'node:os'
import { setImmediate as immediate } from 'node:timers/promises'
import type { Log } from '../asgi/context.ts'
import { SignalboxError, hasCode, reason } from '../runtime/errors.ts'
import { silentLog } from '../runtime/log.ts'
import { once } from '../runtime/options.ts'
import { thrown } from './envelope.ts'
import { Lanes, type Lane, type Need } from './lanes.ts'
import { decodeFields, logTo } from './log.ts'
import type { LogLine, Place, Target } from './messages.ts'
import { Modules, describe } from './modules.ts'
import { type BridgeOptions, bridgeOptions } from './options.ts'
import { packAll } from './pack.ts'
import { shared } from './shared.ts'
import { Task, type Host } from './task.ts'
import { trail } from './trail.ts'

/** The main thread's side of a scope whose application lives on a worker. */
export interface Resident {
  /** The thread that it lives on, once it does. */
  readonly host: Host | undefined
  readonly log: Log
  call(method: string, args: readonly unknown[]): Promise<unknown>
  /** The worker has ended. */
  die(error: Error): void
}

export interface BridgeStats {
  /** Worker threads that there are now. */
  readonly threads: number
  /** What waits for a thread. */
  readonly queued: number
  /** What runs, with what waits in a thread for something else that runs there. */
  readonly running: number
  /** Scopes that live on a thread. */
  readonly scopes: number
  /** Threads that ended before their time. */
  readonly died: number
}

export interface CallOptions {
  /** Milliseconds. Default: the pool's. */
  readonly timeout?: number | undefined
  readonly signal?: AbortSignal | undefined
}

const anywhere: Need = {}

/** One a core. Fewer than two would put everything behind whatever blocks that one. */
const defaultThreads = () => Math.max(2, os.availableParallelism())

const pools = shared('pools', (): BridgePool[] => [])

/** The pool of whoever names none: the newest that is open, which is the gateway's, or one with the defaults. */
export function currentPool(): BridgePool {
  return pools.at(-1) ?? new BridgePool()
}

/** Worker threads for blocking code. They start when they are needed, and keep no process alive while they do nothing. */
export class BridgePool implements AsyncDisposable {
  readonly options: BridgeOptions
  readonly log: Log
  readonly residents = new Map<number, Resident>()
  readonly #modules = new Modules()
  readonly #lanes: Lanes
  /** Scopes that are over, and that their workers still know. */
  readonly #over = new Map<Lane, number[]>()
  /** What tells them, by thread. */
  readonly #forgetting = new Map<object, Task>()
  #died = 0
  #closing: Promise<void> | undefined

  /** Every setting has a default. */
  constructor(options: Partial<BridgeOptions> = {}, log: Log = silentLog) {
    this.options = Object.freeze({ ...bridgeOptions.parse({}, once), ...options })
    this.log = log
    const { threads = defaultThreads(), timeout: patience, memory, grace } = this.options
    this.#lanes = new Lanes(
      { threads, patience, grace, memory: memory === undefined ? undefined : Math.ceil(memory / 2 ** 20) },
      {
        perform: (target, args) => this.#perform(target, args),
        log: (line) => this.#write(line),
        onDeath: (thread, error) => this.#mourn(thread, error),
      },
    )
    logTo(log)
    pools.push(this)
  }

  /** Starts a thread, and loads these modules there before there is work for it. Never rejects: that work says what is wrong. */
  async prepare(modules: readonly string[]): Promise<void> {
    const task = new Task({
      label: () => 'loading modules',
      scope: undefined,
      timeout: this.options.timeout,
      prepare: (task) => ({ parcel: { kind: 'load', task, scope: undefined, modules }, transfer: [] }),
    })
    await this.submit(task, anywhere).catch(() => undefined)
  }

  /** Calls a blocking function; rejects as `syncToAsync` says. */
  call(place: Place, args: readonly unknown[], options: CallOptions = {}): Promise<unknown> {
    const { signal, timeout = this.options.timeout } = options
    if (signal?.aborted) return Promise.reject(abortError(signal.reason))
    const scope = trail.getStore()?.scope
    const task = new Task({
      scope,
      timeout,
      place,
      bounded: true,
      prepare: (task, host) => {
        const { value, transfer } = packAll(args)
        return { parcel: [task, host.short(place), value, scope], transfer }
      },
    })
    const answer = this.submit(task, anywhere)
    return signal ? cancelOn(signal, task, answer) : answer
  }

  /** Sees to it that a task runs, and gives its result. */
  async submit(task: Task, need: Need): Promise<unknown> {
    if (this.#closing) throw closingError()
    const call = trail.getStore()?.call
    // The worker that waits for this does it itself: it needs no thread that could be waiting too. (Not what goes on as long
    // as a scope: that worker could not go on.)
    if (call?.open && !need.holds && (!need.lane || need.lane.thread === call.thread)) call.lend(task)
    else if (!this.#lanes.tryToRun(task, need)) {
      if (task.options.bounded && this.#lanes.bounded >= this.options.queue) throw fullError(task, this.options.queue)
      this.#lanes.enqueue(task, need)
    }
    try {
      return await task.promise
    } catch (error) {
      throw thrown(error, 'in a worker thread')
    }
  }

  /** Where a new scope is to live; with the worker that waits for it, if there is one. */
  lane(): Lane {
    const call = trail.getStore()?.call
    const blocked = call?.open ? this.#lanes.laneOf(call.thread) : undefined
    return blocked ?? this.#lanes.quietest()
  }

  /** A scope is over. Its worker is told together with all that end in the meantime. */
  forget(host: Host, seat: number): void {
    const lane = this.#lanes.laneOf(host)
    if (!lane) return
    const over = this.#over.get(lane)
    if (over) over.push(seat)
    else void this.#forgetAll(lane, [seat])
  }

  stats(): BridgeStats {
    const { threads, queued } = this.#lanes
    return {
      threads: threads.length,
      queued,
      running: threads.reduce((sum, { running }) => sum + running, 0),
      scopes: this.residents.size,
      died: this.#died,
    }
  }

  /** Refuses what waits, stops what runs, and ends the threads. */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #forgetAll(lane: Lane, over: number[]): Promise<void> {
    this.#over.set(lane, over)
    // Those that end in the same turn go together.
    await immediate()
    for (let { thread } = lane; over.length > 0 && thread && !this.#closing; thread = lane.thread) {
      const seats = over.splice(0)
      const task = new Task({
        label: () => 'forgetting scopes',
        scope: undefined,
        resident: true,
        timeout: this.options.timeout,
        prepare: (task) => ({ parcel: { kind: 'forget', task, scope: undefined, seats }, transfer: [] }),
      })
      this.#forgetting.set(thread, task)
      // A thread that was too busy is asked again; one that has ended has forgotten them.
      await this.submit(task, { lane }).catch(() => over.push(...seats))
      this.#forgetting.delete(thread)
    }
    this.#over.delete(lane)
  }

  async #perform(target: Target, args: readonly unknown[]): Promise<unknown> {
    if (target.kind === 'seat') {
      const resident = this.residents.get(target.seat)
      if (resident) return resident.call(target.method, args)
      throw new SignalboxError('scope_ended', `the scope of this ${target.method}() is over`)
    }
    const { place } = target
    const loading = this.#modules.load(place)
    if (loading) await loading
    const found = this.#modules.get(place)
    if (typeof found === 'function') return Reflect.apply(found, undefined, args) as unknown
    throw new SignalboxError(
      'bridge_failed',
      `found ${describe(place)}, which is a ${typeof found}, expected a function`,
    )
  }

  #write({ seat, scope, level, fields, message }: LogLine): void {
    const resident = seat === undefined ? undefined : this.residents.get(seat)
    const said = decodeFields(fields)
    if (resident) resident.log[level](said, message)
    else this.log[level](scope === undefined ? said : { scope, ...said }, message)
  }

  #mourn(thread: Host, error: Error): void {
    // That is the pool's own end.
    if (!hasCode(error, 'closing')) {
      this.#died++
      this.log.error({ err: error }, 'a worker thread ended before its time')
    }
    for (const resident of this.residents.values()) if (resident.host === thread) resident.die(error)
    this.#forgetting.get(thread)?.cancel(error)
  }

  async #closeAll(): Promise<void> {
    pools.splice(pools.indexOf(this), 1)
    await this.#lanes.close(closingError())
  }
}

async function cancelOn(signal: AbortSignal, task: Task, answer: Promise<unknown>): Promise<unknown> {
  const cancel = () => task.cancel(abortError(signal.reason))
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await answer
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

function fullError({ label }: Task, limit: number): SignalboxError {
  return new SignalboxError('queue_full', `${label} is refused: ${limit} calls and scopes wait for a thread`)
}

function closingError(): SignalboxError {
  return new SignalboxError('closing', 'the worker threads are closing')
}

/** What a caller is told is what `fetch` would tell: the reason itself. */
function abortError(why: unknown): Error {
  return Error.isError(why) ? why : new DOMException(reason(why), 'AbortError')
}

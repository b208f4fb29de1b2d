/** The consumers that live on this worker, and how each kind of job is done. */
import type { Event, Protocol } from '../asgi/protocol.ts'
import type { Lent, SyncInstance, SyncLayer } from '../asgi/sync.ts'
import { isSyncConsumer, refusePromise } from '../runtime/blocking.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { workerSignal } from './current.ts'
import { layerMethods } from './layer-methods.ts'
import { workerLog } from './log.ts'
import type { CallJob, EventJob, Job, Opening, ScopeJob } from './messages.ts'
import { describe } from './modules.ts'
import type { WorkerThread } from './worker-thread.ts'

/** By seat, which is the number of a scope on the bridge: two scopes may have one id. */
const instances = new Map<number, SyncInstance>()

/** How many there are. */
export function residents(): number {
  return instances.size
}

/** Does a job; its module is loaded, or can be at once. @throws whatever the handler throws. */
export function perform(job: Job, thread: WorkerThread): unknown {
  switch (job.kind) {
    case 'call':
      return call(job, thread)
    case 'event':
      return handle(job, thread)
    case 'scope':
      return hold(job, thread)
    case 'forget':
      for (const seat of job.seats) forget(seat, thread)
      return undefined
    case 'load':
      return undefined
    default:
      return job satisfies never
  }
}

function call({ place, args }: CallJob, { modules }: WorkerThread): unknown {
  const found = modules.get(place)
  if (typeof found !== 'function') throw wrong(place, found, 'a function')
  const result: unknown = Reflect.apply(found, undefined, args)
  refusePromise(result, () => describe(place))
  return result
}

function handle(job: EventJob, thread: WorkerThread): boolean {
  const { seat, event, open, aborted } = job
  if (aborted) thread.abort(seat, aborted)
  try {
    if (open) instances.set(seat, openConsumer(open, seat, thread))
    const instance = instances.get(seat)
    if (!instance) throw new SignalboxError('scope_ended', `the consumer of this ${event.type} has ended`)
    const over = instance.handle(event)
    if (over) forget(seat, thread)
    return over
  } catch (error) {
    forget(seat, thread)
    throw error
  }
}

function openConsumer({ place, scope }: Opening, seat: number, thread: WorkerThread): SyncInstance {
  const found = thread.modules.get(place)
  if (!isSyncConsumer(found)) throw wrong(place, found, 'a SyncConsumer')
  return found.open(lend(scope, seat, thread))
}

function hold({ seat, open, aborted }: ScopeJob, thread: WorkerThread): void {
  const { place, scope } = open
  const found = thread.modules.get(place)
  if (typeof found !== 'function') throw wrong(place, found, 'a function')
  if (aborted) thread.abort(seat, aborted)
  const { send, context } = lend(scope, seat, thread)
  const receive = () => thread.call({ kind: 'seat', seat, method: 'receive' }, []) as Event // from the scope's own `receive`
  try {
    const result: unknown = Reflect.apply(found, undefined, [scope, receive, send, context])
    refusePromise(result, () => describe(place))
  } finally {
    forget(seat, thread)
  }
}

function forget(seat: number, thread: WorkerThread): void {
  instances.delete(seat)
  thread.forget(seat)
}

/** What the scope lends; all of it is done by the main thread, while this one waits. */
function lend(scope: Protocol['scope'], seat: number, thread: WorkerThread): Lent<Protocol> {
  const ask = (method: string, args: readonly unknown[]) => thread.call({ kind: 'seat', seat, method }, args)
  const methods = layerMethods.map((method) => [method, (...args: readonly unknown[]) => ask(`layer.${method}`, args)])
  let channel: string | undefined
  return {
    scope,
    send: (event) => void ask('send', [event]),
    join: (groups) => void ask('join', groups),
    context: {
      signal: workerSignal(thread),
      layer: Object.fromEntries(methods) as SyncLayer, // one method for each of the names
      log: workerLog(thread, seat),
      get channel() {
        channel ??= String(ask('channel', []))
        return channel
      },
    },
  }
}

function wrong(place: Opening['place'], found: unknown, expected: string): SignalboxError {
  return new SignalboxError(
    'bridge_failed',
    `found ${describe(place)}, which is a ${typeof found}, expected ${expected}`,
  )
}

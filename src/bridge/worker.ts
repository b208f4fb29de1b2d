/** Where a worker thread begins: Piscina runs each job here. */
import { MessageChannel, parentPort } from 'node:worker_threads'
import { encodeError } from './envelope.ts'
import { workerLog } from './log.ts'
import type { Hello, Job, Parcel, Reply } from './messages.ts'
import { followVersions } from './module-versions.ts'
import { describeJob } from './modules.ts'
import { pack } from './pack.ts'
import { perform } from './residents.ts'
import { WorkerThread, becomeWorker } from './worker-thread.ts'

followVersions()
const thread = start()
becomeWorker(thread)

// As in the main thread: what nobody caught is logged, and ends nothing. (Node would end the thread, with everything that
// lives on it, and Piscina may put it to sleep before it has ended: for ever, and the process with it.)
process.on('uncaughtException', (error) => {
  workerLog(thread, undefined).error({ err: error }, 'an error that nobody caught in a worker thread')
})

function start(): WorkerThread {
  const { port1, port2 } = new MessageChannel()
  const counter = new Int32Array(new SharedArrayBuffer(8))
  const hello: Hello = { kind: 'signalbox.bridge', port: port2, counter }
  parentPort?.postMessage(hello, [port2])
  port1.unref()
  return new WorkerThread(port1, counter, (job) => perform(job, thread))
}

// An end that comes while a module loads, or from `process.exit`, is forgotten by Node when what it interrupts catches it.
// Piscina would put the thread to sleep then: for ever, and the process with it.
process.on('exit', () => thread.stop())

/** Does one job. It never rejects: Piscina would lose half of the error. */
export async function run(parcel: Parcel): Promise<Reply> {
  const job = thread.modules.unpack(parcel)
  const task = thread.enter(job)
  let result: Reply
  try {
    const loading = load(job)
    if (loading) await loading
    result = reply(job, perform(job, thread))
  } catch (error) {
    result = { kind: 'error', error: encodeError(error, describeJob(job)) }
  }
  thread.leave(task)
  // What never answers is never put to sleep, and so it comes to its end.
  return thread.over ? new Promise(() => undefined) : result
}

function load(job: Job): Promise<unknown> | undefined {
  if (job.kind === 'call') return thread.modules.load(job.place)
  // One that fails is told by the work that needs it.
  if (job.kind === 'load') return Promise.allSettled(job.modules.map(async (module) => thread.modules.load({ module })))
  return job.kind !== 'forget' && job.open ? thread.modules.load(job.open.place) : undefined
}

/** Piscina ends the worker when a result cannot be cloned. What is not surely plain goes another way, which says so. */
function reply(job: Job, result: unknown): Reply {
  const { value, transfer, sure } = pack(result)
  if (sure) return typeof value === 'object' && value !== null ? [value] : (value as Reply) // sure, and so no function
  thread.tell({ kind: 'value', task: job.task, value }, transfer, () => `the result of ${describeJob(job)}`)
  return { kind: 'elsewhere' }
}

/** The log of blocking code: its lines go to the main thread and are written there, with the scope's id. */
import { inspect } from 'node:util'
import type { Log } from '../asgi/context.ts'
import { hasCode } from '../runtime/errors.ts'
import { decodeError, encodeError, type EncodedError } from './envelope.ts'
import type { LogLevel } from './messages.ts'
import { pack } from './pack.ts'
import { shared } from './shared.ts'
import { currentScope } from './current.ts'
import { workerThread, type WorkerThread } from './worker-thread.ts'

type Fields = Readonly<Record<string, unknown>>

/** A log for a worker's scope, or for what it does in nobody's name. Nothing waits for a line to be written. */
export function workerLog(thread: WorkerThread, seat: number | undefined, bound: Fields = {}): Log {
  const write = (level: LogLevel) => (fields: object, message: string) => {
    const all = encodeFields({ ...bound, ...fields })
    const line = { kind: 'log', seat, scope: thread.task?.scope, level, message } as const
    try {
      thread.tell({ ...line, fields: all }, [], () => 'a log line')
    } catch (error) {
      if (!hasCode(error, 'bridge_failed')) throw error
      // A line with something in it that cannot go over is better than none.
      thread.tell({ ...line, fields: sendable(all) }, [], () => 'a log line')
    }
  }
  return {
    trace: write('trace'),
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => workerLog(thread, seat, { ...bound, ...fields }),
  }
}

const main = shared('log', (): { log: Log | undefined } => ({ log: undefined }))

/** The log of code that may run in any thread, with the id of the scope on whose behalf it runs. */
export function currentLog(): Log {
  const thread = workerThread()
  if (thread) return workerLog(thread, undefined)
  const scope = currentScope()
  return scope === undefined ? (main.log ?? nowhere) : (main.log ?? nowhere).child({ scope })
}

/** Where that log is written: the newest pool's. */
export function logTo(log: Log): void {
  main.log = log
}

const say = () => undefined
const nowhere: Log = { trace: say, debug: say, info: say, warn: say, error: say, child: () => nowhere }

const errorKey = 'signalbox.bridge.error'

function encodeFields(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key,
      Error.isError(value) ? { [errorKey]: encodeError(value, 'a log line') } : value,
    ]),
  )
}

/** What the main thread writes: errors are errors again. */
export function decodeFields(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, decodeField(value)]))
}

function decodeField(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !(errorKey in value)) return value
  return decodeError(value[errorKey] as EncodedError, 'in a worker thread') // only `encodeFields` writes this key
}

function sendable(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, pack(value).sure ? value : inspect(value)]),
  )
}

/** The gateway's log: pino, as JSON lines, or readable where a person watches; without secrets, and above debug without addresses. */
import { createRequire } from 'node:module'
import type { DestinationStream, Logger } from 'pino'
import type { Log } from '../asgi/context.ts'
import { reason, toldBy } from './errors.ts'
import { redactLine } from './redact.ts'

const require = createRequire(import.meta.url)
/** Loaded by whoever writes a log, which no worker thread does. */
const loadPino = () => require('pino') as typeof import('pino')

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface LogOptions {
  readonly level: LogLevel
  /** Readable lines instead of JSON ones. */
  readonly pretty: boolean
}

/** Writes to standard error, so that standard output stays the commands' own. */
export async function createLog({ level, pretty }: LogOptions): Promise<Logger> {
  if (!pretty) return logTo(loadPino().destination({ fd: 2, sync: true }), level)
  const { PinoPretty } = await import('pino-pretty')
  const format = { ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss', singleLine: true }
  return logTo(PinoPretty({ ...format, destination: 2, sync: true }), level)
}

/** A log that writes there. */
export function logTo(destination: DestinationStream, level: LogLevel): Logger {
  const options = { level, serializers: { err: errorFields, error: errorFields }, hooks: { streamWrite: redactLine } }
  return loadPino().pino(options, destination)
}

/** Says nothing: for tests and for commands that only look. */
export const silentLog: Log = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
  isLevelEnabled: () => false,
}

/** How many causes of an error are told. */
const deepest = 5

/**
 * What is known of errors, and nothing else: libraries hang requests with their headers on them, and passwords. Something else
 * than an error stays as it is.
 */
function errorFields(error: unknown, depth = 0): unknown {
  if (!Error.isError(error)) return error
  const code = toldBy(error, 'code')
  const cause = toldBy(error, 'cause')
  return {
    type: toldBy(error, 'name'),
    message: reason(error),
    stack: toldBy(error, 'stack'),
    ...((typeof code === 'string' || typeof code === 'number') && { code }),
    ...(cause !== undefined && depth < deepest && { cause: errorFields(cause, depth + 1) }),
  }
}

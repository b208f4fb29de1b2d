/** The gateway's log: pino, as JSON lines, or readable where a person watches. */
import { pino, type Logger } from 'pino'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface LogOptions {
  readonly level: LogLevel
  /** Readable lines instead of JSON ones. */
  readonly pretty: boolean
}

/** Writes to standard error, so that standard output stays the commands' own. */
export async function createLog({ level, pretty }: LogOptions): Promise<Logger> {
  if (!pretty) return pino({ level }, pino.destination({ fd: 2, sync: true }))
  const { PinoPretty } = await import('pino-pretty')
  return pino(
    { level },
    PinoPretty({ destination: 2, sync: true, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss' }),
  )
}

/** Says nothing: for tests and for commands that only look. */
export const silentLog: Logger = pino({ level: 'silent' })

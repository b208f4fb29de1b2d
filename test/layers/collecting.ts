/** A log whose lines a test reads: `LEVEL MESSAGE`. */
import type { Log } from '../../src/asgi/context.ts'

export function collecting(lines: string[]): Log {
  const at = (level: string) => (_: object, message: string) => void lines.push(`${level} ${message}`)
  const log: Log = {
    trace: () => {},
    debug: () => {},
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => log,
  }
  return log
}

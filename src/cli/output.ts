/** Standard output and standard error as the commands write to them. */
import type { Output } from './parts.ts'

/** A reader that left (`signalbox routes | head -1`) is no reason to fail: what it does not read is not written. */
export function processOutput(): Output {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
  return {
    out: (text) => void process.stdout.write(`${text}\n`),
    error: (text) => void process.stderr.write(`${text}\n`),
  }
}

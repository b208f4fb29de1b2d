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

/** Resolves when what was written is out: a pipe takes 64 KiB at once, and the rest only when its reader has read. */
export async function outputWritten(): Promise<void> {
  const written = [process.stdout, process.stderr].map((stream) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    // Called with an error too: a reader that has left gets no more.
    stream.write('', () => resolve())
    return promise
  })
  await Promise.all(written)
}

/** Keeps the events that an application failed on, with nobody left to ask the sender again, where a person can see them. */
import { appendFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../asgi/context.ts'
import type { Event, Protocol } from '../asgi/protocol.ts'
import { reason } from '../runtime/errors.ts'

/** Beyond this many bytes a dead letter is logged and counted, but no longer written. */
const largestFile = 64 * 1024 * 1024

/** One JSON object a line in `dead-letters.jsonl` of the data folder: when, scope, event (bytes in base64), error. */
export class DeadLetters {
  readonly #file: string
  readonly #log: Log
  #writes: Promise<void> = Promise.resolve()
  count = 0

  constructor(data: string, log: Log) {
    this.#file = join(data, 'dead-letters.jsonl')
    this.#log = log
  }

  add(scope: Protocol['scope'], event: Event, error: unknown): void {
    this.count++
    const { id, type, route } = scope
    this.#log.error({ scope: id, protocol: type, route, event: event.type, err: error }, `an event failed: ${reason(error)}`)
    const letter = { at: new Date().toISOString(), error: reason(error), scope, event }
    this.#writes = this.#writes.then(() => this.#write(`${JSON.stringify(letter, bytesAsBase64)}\n`))
  }

  /** Resolves when everything that was added is on disk. */
  async close(): Promise<void> {
    await this.#writes
  }

  async #write(line: string): Promise<void> {
    try {
      const { size } = await stat(this.#file).catch(() => ({ size: 0 }))
      if (size + line.length > largestFile) {
        this.#log.error({ file: this.#file }, 'the dead letter file is full: this one was not written')
        return
      }
      await appendFile(this.#file, line, { mode: 0o600 })
    } catch (error) {
      this.#log.error({ err: error }, 'a dead letter could not be written')
    }
  }
}

function bytesAsBase64(this: unknown, key: string, value: unknown): unknown {
  const original: unknown = Reflect.get(Object(this), key)
  if (!ArrayBuffer.isView(original)) return value
  return { base64: Buffer.from(original.buffer, original.byteOffset, original.byteLength).toString('base64') }
}

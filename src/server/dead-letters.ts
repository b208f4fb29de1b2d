/** Keeps the events that an application failed on, with nobody left to ask the sender again, where a person can see them. */
import { appendFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../asgi/context.ts'
import type { Event, Protocol } from '../asgi/protocol.ts'
import type { DeadLetter } from '../layers/limits.ts'
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
    this.#log.error(
      { scope: id, protocol: type, route, event: event.type, err: error },
      `an event failed: ${reason(error)}`,
    )
    this.#keep({ error: reason(error), scope, event })
  }

  /** A message of a named channel that no worker will try again. The layer has logged it. */
  addMessage({ channel, message, attempts, error }: DeadLetter): void {
    this.count++
    this.#keep({ error, scope: { type: 'channel', channel }, event: parsed(message), attempts })
  }

  /** Resolves when everything that was added is on disk. */
  async close(): Promise<void> {
    await this.#writes
  }

  #keep(letter: object): void {
    const line = JSON.stringify({ at: new Date().toISOString(), ...letter }, bytesAsBase64)
    this.#writes = this.#writes.then(() => this.#write(`${line}\n`))
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

/** What came may have been no message at all: then it is kept as the text that it was. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function bytesAsBase64(this: unknown, key: string, value: unknown): unknown {
  const original: unknown = Reflect.get(Object(this), key)
  if (!ArrayBuffer.isView(original)) return value
  return { base64: Buffer.from(original.buffer, original.byteOffset, original.byteLength).toString('base64') }
}

/** Where messages go while no account is configured: one JSON line each, in a file that a person can read. */
import { appendFile, mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { Log } from '../../src/asgi/context.ts'
import type { Carrier } from './carrier.ts'
import type { Outgoing } from './outgoing.ts'
import { segments } from './text.ts'

export class FileCarrier implements Carrier {
  readonly #file: string
  readonly #log: Log

  constructor(file: string, log: Log) {
    this.#file = file
    this.#log = log
  }

  async carry(message: Outgoing): Promise<string> {
    const { from, to, body, media } = message
    const line = { at: new Date().toISOString(), from, to, body, media, segments: segments(body) }
    await mkdir(path.dirname(this.#file), { recursive: true })
    await appendFile(this.#file, `${JSON.stringify(line)}\n`)
    this.#log.info({ to, file: this.#file }, 'no accountSid is configured: the text is written to the outbox, not sent')
    return ''
  }
}

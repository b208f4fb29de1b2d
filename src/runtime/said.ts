/** What one attempt at a stored event has sent, so that another attempt that sends the very same does not send it twice. */
import { createHash } from 'node:crypto'
import type { StoredRecord } from '../asgi/delivery.ts'

export class Said {
  readonly #record: string
  /** Most attempts send nothing. */
  #times: Map<string, number> | undefined

  /** `record`: what is being handled. */
  constructor({ id, journal }: Pick<StoredRecord, 'id' | 'journal'>) {
    this.#record = `${journal} ${id}`
  }

  /** What this is known by: the record, what is sent (plain data), and how often the same was sent before in this attempt. */
  key(sent: unknown): string {
    const hash = createHash('sha256').update(JSON.stringify(sent, bytesAsBase64)).digest('base64url')
    this.#times ??= new Map()
    const times = this.#times.get(hash) ?? 0
    this.#times.set(hash, times + 1)
    return `${this.#record}/${hash}/${times}`
  }
}

function bytesAsBase64(this: unknown, key: string, value: unknown): unknown {
  const original: unknown = Reflect.get(Object(this), key)
  if (!ArrayBuffer.isView(original)) return value
  return Buffer.from(original.buffer, original.byteOffset, original.byteLength).toString('base64')
}

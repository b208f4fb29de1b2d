/** What became of each message for each recipient, so that a message that comes again is handled only where it was not. */
import { hash } from 'node:crypto'
import type { EmailMessage } from './scope.ts'
import type { Handling } from './handling.ts'

interface Entry {
  readonly handling: Promise<Handling>
  /** When it may be forgotten; Infinity while it runs. */
  expires: number
}

/** More are forgotten before their time, the oldest first. */
const mostEntries = 50_000

/** Longer ids are kept as their hash. */
const longestId = 100

export class Seen {
  readonly #window: number
  readonly #now: () => number
  /** In the order of their beginning. */
  readonly #entries = new Map<string, Entry>()

  constructor(window: number, now: () => number = () => performance.now()) {
    this.#window = window
    this.#now = now
  }

  get size(): number {
    this.#forget()
    return this.#entries.size
  }

  /** What was begun under this key, whether it is done or still runs. */
  find(key: string): Promise<Handling> | undefined {
    const entry = this.#entries.get(key)
    if (!entry) return undefined
    if (entry.expires > this.#now()) return entry.handling
    this.#entries.delete(key)
    return undefined
  }

  /** Remembers `handling` while it runs, and for the window when it ends well. */
  keep(key: string, handling: Promise<Handling>): void {
    this.#forget()
    const entry: Entry = { handling, expires: Infinity }
    this.#entries.set(key, entry)
    void handling.then(({ kind }) => {
      if (kind !== 'failed') entry.expires = this.#now() + this.#window
      else if (this.#entries.get(key) === entry) this.#entries.delete(key)
    })
  }

  forget(key: string): void {
    this.#entries.delete(key)
  }

  #forget(): void {
    const now = this.#now()
    for (const [key, { expires }] of this.#entries) {
      if (expires > now && this.#entries.size < mostEntries) return
      this.#entries.delete(key)
    }
  }
}

/**
 * Message-ID, recipient and body: some senders give two messages one id, others one message two bodies. A message without an
 * id is known by all of its bytes.
 */
export function messageKey({ messageId, raw }: Pick<EmailMessage, 'messageId' | 'raw'>): string {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength)
  // The headers grow on the way: two servers that try the same message write their own.
  const body = messageId === '' ? bytes : bytes.subarray(Math.max(0, bytes.indexOf('\r\n\r\n')))
  const id = messageId.length > longestId ? hash('sha256', messageId, 'base64') : messageId
  return `${id} ${hash('sha256', body, 'base64')}`
}

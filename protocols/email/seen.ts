/** What became of each message for each recipient, so that a message that comes again is handled only where it was not. */
import { hash } from 'node:crypto'
import type { Fate } from './handling.ts'

/** Then the older half is forgotten before its time. */
const mostFates = 50_000

/** Longer ids are kept as their hash. */
const longestId = 100

export class Seen {
  readonly #window: number
  readonly #now: () => number
  /** What has begun since `#since`, and before: so nobody has to look for what is old. */
  #younger = new Map<string, Fate>()
  #older = new Map<string, Fate>()
  #since: number

  constructor(window: number, now: () => number = () => performance.now()) {
    this.#window = window
    this.#now = now
    this.#since = now()
  }

  /** How many are remembered; the others are forgotten by that. */
  get size(): number {
    for (const fates of [this.#younger, this.#older]) {
      for (const [key, fate] of fates) if (!this.#isKnown(fate)) fates.delete(key)
    }
    return this.#younger.size + this.#older.size
  }

  /** What was begun under this key, while it runs and, when it ended well, for the window after that. */
  find(key: string): Fate | undefined {
    const fate = this.#younger.get(key) ?? this.#older.get(key)
    return fate && this.#isKnown(fate) ? fate : undefined
  }

  keep(key: string, fate: Fate): void {
    this.#makeRoom()
    this.#younger.set(key, fate)
  }

  forget(key: string): void {
    this.#younger.delete(key)
    this.#older.delete(key)
  }

  #isKnown({ handling, since }: Fate): boolean {
    if (!handling) return true
    return handling.kind !== 'failed' && since + this.#window > this.#now()
  }

  #makeRoom(): void {
    const isFull = this.#younger.size >= mostFates / 2
    const now = this.#now()
    if (!isFull && now - this.#since < this.#window) return
    const before = this.#older
    this.#older = this.#younger
    this.#younger = new Map()
    this.#since = now
    if (isFull) return
    // They began a whole window ago: few have ended since, or still run.
    for (const [key, fate] of before) if (this.#isKnown(fate)) this.#younger.set(key, fate)
  }
}

/**
 * Message-ID, recipient and body: some senders give two messages one id, others one message two bodies. A message without an
 * id is known by all of its bytes.
 */
export function messageKey(messageId: string, raw: Uint8Array, bodyStart: number): string {
  // The headers grow on the way: two servers that try the same message write their own.
  const body = messageId === '' ? raw : raw.subarray(bodyStart)
  const id = messageId.length > longestId ? hash('sha256', messageId, 'base64') : messageId
  return `${id} ${hash('sha256', body, 'base64')}`
}

/** What is on disk only: read page by page, as soon as there is room for it in memory. */
import type { Log } from '../asgi/context.ts'
import { reason } from '../runtime/errors.ts'
import { Due } from './due.ts'
import type { Journal } from './journal.ts'
import type { WaitingRow } from './messages.ts'

export interface BacklogParts {
  readonly journal: Pick<Journal, 'waiting' | 'rows' | 'flush'>
  readonly log: Log
  /** How many are read at once. */
  readonly page: number
  /** How long a journal that cannot be read is left alone, in milliseconds. */
  readonly pause: number
  readonly hasRoom: () => boolean
  /** One that was never in memory. */
  readonly resume: (row: WaitingRow) => void
  /** One that was left on disk, or a dead letter that a person has tried again. */
  readonly revive: (row: WaitingRow) => void
}

export class Backlog {
  readonly #parts: BacklogParts
  /** What has a higher id is on disk only, while `isBehind` holds. */
  #cursor = 0
  #isBehind = true
  /** The newest that was left on disk. */
  #skipped = 0
  #revived: number[] = []
  readonly #due = new Due((ids) => void this.#comeBack(ids))
  #isReading = false
  readonly #begun = Promise.withResolvers<void>()

  constructor(parts: BacklogParts) {
    this.#parts = parts
  }

  get isEmpty(): boolean {
    return !this.#isBehind && this.#revived.length === 0
  }

  /** Whether it was in memory, or is. */
  isPast(id: number): boolean {
    return id <= this.#cursor
  }

  /** Whether it is on disk only, and will be read. */
  has(id: number): boolean {
    return this.#isBehind && id > this.#cursor
  }

  /** One is stored now. False: it is not for memory, as it is there already, or others have to be read first. */
  pass(id: number): boolean {
    if (this.isPast(id)) return false
    if (!this.#parts.hasRoom()) this.#isBehind = true
    if (this.#isBehind) this.#skipped = id
    else this.#cursor = id
    return !this.#isBehind
  }

  /** It waits again, and there is no room for it. */
  keep(id: number): void {
    this.#revived.push(id)
  }

  /** It is tried at this time (milliseconds since 1970), and takes no room until then. */
  keepUntil(id: number, due: number): void {
    this.#due.add(id, due)
  }

  /** Reads nothing more by itself. */
  stop(): void {
    this.#due.stop()
  }

  /** Resolves when the first of them are there; the others follow. */
  begin(): Promise<void> {
    void this.read()
    return this.#begun.promise
  }

  /** Reads what there is room for. Never rejects. */
  async read(): Promise<void> {
    if (this.#isReading) return
    this.#isReading = true
    try {
      while (!this.isEmpty && this.#parts.hasRoom()) {
        await this.#readNew()
        await this.#readRevived()
      }
    } catch (error) {
      const { log, pause } = this.#parts
      log.error({ err: error }, `stored records could not be read: ${reason(error)}`)
      setTimeout(() => void this.read(), pause).unref()
    }
    this.#isReading = false
    this.#begun.resolve()
  }

  async #comeBack(ids: readonly number[]): Promise<void> {
    // What became of the attempt before may not be on disk yet; when the journal is closed before it is, nobody asks any more.
    await this.#parts.journal.flush().catch(() => undefined)
    this.#revived = this.#revived.concat(ids)
    await this.read()
  }

  async #readNew(): Promise<void> {
    const { journal, page, hasRoom, resume } = this.#parts
    while (this.#isBehind && hasRoom()) {
      const skipped = this.#skipped
      // What was stored in the meantime is among them.
      const rows = await journal.waiting(this.#cursor, page)
      // None: what was passed over was taken out before its turn came.
      this.#cursor = rows.at(-1)?.id ?? Math.max(this.#cursor, skipped)
      this.#isBehind = rows.length > 0 || this.#skipped > this.#cursor
      for (const row of rows) resume(row)
      this.#begun.resolve()
    }
  }

  async #readRevived(): Promise<void> {
    const { journal, page, hasRoom, revive } = this.#parts
    while (this.#revived.length > 0 && hasRoom()) {
      const ids = this.#revived.slice(0, page)
      // Those that were taken out meanwhile are not among them.
      const rows = await journal.rows(ids)
      this.#revived = this.#revived.slice(ids.length)
      for (const row of rows) revive(row)
    }
  }
}

/** The notes of the main thread: in order, written in groups, and kept until they are on disk. */
import type { Batch, EncodedRecord, FailedAttempt, LastAttempt, Note } from './messages.ts'

type Waiting = Pick<PromiseWithResolvers<void>, 'resolve' | 'reject'>

interface Group {
  letterBytes: number
  readonly list: Note[]
  readonly waiting: Waiting[]
}

/** What dead letters may hold of memory while they cannot be written, in bytes. */
const mostLetterBytes = 64 * 2 ** 20

const emptyGroup = (): Group => ({ list: [], waiting: [], letterBytes: 0 })

export class Notes {
  #next: Group = emptyGroup()
  /** The ids of the last note, when that is of handled ones. */
  #handled: number[] | undefined
  /** One group is under way at a time, so that notes on one record stay in order. */
  #sent: Group | undefined
  #number = 0
  #letterBytes = 0
  /** Dead letters that there was no memory for. */
  lost = 0

  /** The number of the last notes on disk, as a new worker tells it. */
  begin(number: number): void {
    this.#number = Math.max(this.#number, number)
  }

  get isEmpty(): boolean {
    return this.#next.list.length === 0
  }

  get isSettled(): boolean {
    return this.isEmpty && !this.#sent
  }

  handled(id: number): void {
    if (this.#handled) this.#handled.push(id)
    else {
      this.#handled = [id]
      this.#next.list.push({ kind: 'handled', ids: this.#handled })
    }
  }

  add(note: Note): void {
    this.#handled = undefined
    this.#next.list.push(note)
  }

  /** Keeps a dead letter, unless too much of them waits to be written. */
  addLetter(record: EncodedRecord, error: string): boolean {
    const { scope, event, body } = record
    const bytes = scope.byteLength + event.byteLength + (body?.byteLength ?? 0)
    if (this.#letterBytes + bytes > mostLetterBytes) {
      this.lost++
      return false
    }
    this.#letterBytes += bytes
    this.#next.letterBytes += bytes
    this.add({ kind: 'letter', record, error })
    return true
  }

  /** Resolves when all so far are on disk. */
  settled(): Promise<void> {
    if (this.isSettled) return Promise.resolve()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const last = this.isEmpty ? this.#sent : this.#next
    last?.waiting.push({ resolve, reject })
    return promise
  }

  /** What is to be sent, when nothing is under way. */
  take(): Pick<Batch, 'notes'> {
    if (this.#sent || this.isEmpty) return {}
    this.#sent = this.#next
    this.#next = emptyGroup()
    this.#handled = undefined
    this.#number++
    return this.again()
  }

  /** What is under way, to be sent again: it has its number, and so it is not written twice. */
  again(): Pick<Batch, 'notes'> {
    return this.#sent ? { notes: { number: this.#number, list: this.#sent.list } } : {}
  }

  /** What was under way is on disk. */
  written(): void {
    const { waiting, letterBytes } = this.#sent ?? emptyGroup()
    this.#letterBytes -= letterBytes
    this.#sent = undefined
    for (const { resolve } of waiting) resolve()
  }

  /** Nothing will be written any more. */
  abandon(error: Error): void {
    for (const { reject } of [...(this.#sent?.waiting ?? []), ...this.#next.waiting]) reject(error)
  }
}

/** A note has whole numbers, whatever it was made of: what cannot be written would stand in the way of all others. */
export function failedNote(id: number, { attempts, due, error }: FailedAttempt): Note {
  return { kind: 'failed', id, attempts: whole(attempts), due: whole(due), error: String(error) }
}

export function deadNote(id: number, { attempts, error }: LastAttempt): Note {
  return { kind: 'dead', id, attempts: whole(attempts), error: String(error) }
}

function whole(value: number): number {
  return Number.isFinite(value) ? Math.round(value) : 0
}

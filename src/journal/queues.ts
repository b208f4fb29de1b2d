/** What goes out in a lane keeps the lane until it is out: the first of a long one are in memory, the others on disk, known by their ids. */
import type { Log } from '../asgi/context.ts'
import { reason } from '../runtime/errors.ts'
import type { Entry } from './entry.ts'
import type { Journal } from './journal.ts'
import type { WaitingRow } from './messages.ts'

export interface QueuesParts {
  readonly journal: Pick<Journal, 'waiting'>
  readonly log: Log
  /** How many of a lane are in memory. */
  readonly lane: number
  /** How many are known by their ids alone, of all lanes. */
  readonly ids: number
  /** How long a journal that cannot be read is left alone, in milliseconds. */
  readonly pause: number
  /** One whose turn is near. */
  readonly resume: (row: WaitingRow) => void
}

interface Queue {
  /** How many of it are in memory. */
  count: number
  /** Those behind them, in order. */
  ids: number[]
  /** Some of those behind are being read: what comes now stands behind all of them. */
  isReading: boolean
}

export class Queues {
  readonly #parts: QueuesParts
  readonly #queues = new Map<string, Queue>()
  #ids = 0
  #stopped = false

  constructor(parts: QueuesParts) {
    this.#parts = parts
  }

  /** Whether more may be known by their ids. */
  get hasRoom(): boolean {
    return this.#ids < this.#parts.ids
  }

  /** Counts one that comes into memory. False: it stays on disk until its turn is near. */
  enter({ rule, lane, id }: Entry): boolean {
    if (lane === '' || rule.direction === 'in') return true
    let queue = this.#queues.get(lane)
    if (!queue) this.#queues.set(lane, (queue = { count: 0, ids: [], isReading: false }))
    if (queue.count < this.#parts.lane && queue.ids.length === 0 && !queue.isReading) {
      queue.count++
      return true
    }
    queue.ids.push(id)
    this.#ids++
    return false
  }

  /** Counts one that was in memory and is over. */
  leave({ rule, lane }: Entry): void {
    const queue = rule.direction === 'in' ? undefined : this.#queues.get(lane)
    if (!queue) return
    queue.count--
    this.#goOn(lane, queue)
  }

  /** Reads nothing more. */
  stop(): void {
    this.#stopped = true
  }

  #goOn(lane: string, queue: Queue): void {
    if (queue.isReading || this.#stopped) return
    if (queue.ids.length === 0) {
      if (queue.count === 0) this.#queues.delete(lane)
    } else if (queue.count <= this.#parts.lane / 2) void this.#read(lane, queue)
  }

  /** Never rejects. */
  async #read(lane: string, queue: Queue): Promise<void> {
    const { journal, log, pause, resume } = this.#parts
    const ids = queue.ids.slice(0, this.#parts.lane - queue.count)
    queue.isReading = true
    try {
      const found = await Promise.all(ids.map((id) => journal.waiting(id - 1, 1)))
      queue.ids = queue.ids.slice(ids.length)
      this.#ids -= ids.length
      for (const [index, [row]] of found.entries()) {
        // Another id: this one was taken out meanwhile.
        if (!row || row.id !== ids[index]) continue
        queue.count++
        resume(row)
      }
      queue.isReading = false
      this.#goOn(lane, queue)
    } catch (error) {
      log.error({ err: error }, `stored records could not be read: ${reason(error)}`)
      const again = () => {
        queue.isReading = false
        this.#goOn(lane, queue)
      }
      setTimeout(again, pause).unref()
    }
  }
}

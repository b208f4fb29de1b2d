/** How much of each lane and rule is in memory: what is beyond that is on disk, known by its ids, and keeps nobody else waiting. */
import type { Log } from '../asgi/context.ts'
import { reason } from '../runtime/errors.ts'
import type { Entry, Rule } from './entry.ts'
import { Ids } from './ids.ts'
import type { Journal } from './journal.ts'
import type { WaitingRow } from './messages.ts'

export interface QueuesParts {
  readonly journal: Pick<Journal, 'rows'>
  readonly log: Log
  /** How many are in memory, of all; the first of a lane comes in beyond it. */
  readonly entries: number
  /** How many lanes of a rule are in memory for certain, each record without a lane being one. */
  readonly rule: number
  /** How many of a lane are in memory when it goes out, or was on disk. */
  readonly lane: number
  /** How many are known by their ids alone, of all lanes and rules. */
  readonly ids: number
  /** How many are read at once. */
  readonly page: number
  /** How long a journal that cannot be read is left alone, in milliseconds. */
  readonly pause: number
  /** The entry of one that was on disk; undefined: it is in memory. */
  readonly known: (row: WaitingRow) => Entry | undefined
  /** It is in memory now. */
  readonly resume: (entry: Entry, due: number) => void
}

interface Queue {
  /** Those behind what is in memory, in order. */
  readonly ids: Ids
  /** Some of those behind are being read: what comes now stands behind all of them. */
  isReading: boolean
}

interface Lane extends Queue {
  readonly name: string
  readonly group: Group
  /** How many of it are in memory. */
  count: number
  /** Its first one waits for another attempt, and takes no place of its rule. */
  isResting: boolean
}

/** What is in memory of a rule. */
export interface Group extends Queue {
  readonly rule: Rule
  /** Lanes with something in memory, and records without a lane. */
  heads: number
}

export class Queues {
  readonly #parts: QueuesParts
  readonly #lanes = new Map<string, Lane>()
  readonly #groups = new Map<Rule, Group>()
  /** Those that have something behind. */
  readonly #behind = new Set<Queue>()
  #ids = 0
  #entries = 0
  #stopped = false

  constructor(parts: QueuesParts) {
    this.#parts = parts
  }

  /** Whether more may be known by their ids. */
  get hasRoom(): boolean {
    return this.#ids < this.#parts.ids
  }

  /** Counts one that comes into memory. False: it stays on disk until its turn is near. */
  enter(entry: Entry): boolean {
    const group = this.#groupOf(entry.rule)
    const lane = this.#lanes.get(entry.lane)
    const isFull = !lane && group.heads >= Math.max(this.#placesOf(group), this.#free)
    // What came before it in its lane may stand there too.
    if (isFull || isBehind(group)) return this.#push(group, entry)
    return this.#seat(entry, group)
  }

  /** Counts one that had left, and is back. */
  back(entry: Entry): void {
    this.#count(entry, this.#groupOf(entry.rule))
  }

  /** It is in memory no more, or does not count. */
  leave(entry: Entry): void {
    const { group, lane: name } = entry
    if (!group) return
    entry.group = undefined
    this.#entries--
    const lane = this.#lanes.get(name)
    if (lane) {
      lane.count--
      this.#goOn(lane)
    } else this.#release(group)
  }

  /** The first of a lane waits for another attempt: meanwhile others of its rule have its place. */
  rest({ lane: name }: Entry): void {
    const lane = this.#lanes.get(name)
    if (!lane || lane.isResting) return
    lane.isResting = true
    this.#release(lane.group)
  }

  /** It waits no longer. */
  wake({ lane: name }: Entry): void {
    const lane = this.#lanes.get(name)
    if (!lane?.isResting) return
    lane.isResting = false
    lane.group.heads++
  }

  /** Whether it is known by its id alone. */
  has(id: number): boolean {
    for (const { ids } of this.#behind) if (ids.has(id)) return true
    return false
  }

  /** Reads nothing more. */
  stop(): void {
    this.#stopped = true
  }

  /** Who came first leaves as much as it takes: so there is always something left for whoever is new. */
  get #free(): number {
    return this.#parts.entries - this.#entries
  }

  #groupOf(rule: Rule): Group {
    let group = this.#groups.get(rule)
    if (!group) this.#groups.set(rule, (group = { rule, heads: 0, ids: new Ids(), isReading: false }))
    return group
  }

  #placesOf({ rule }: Group): number {
    return Math.max(this.#parts.rule, 2 * rule.limit)
  }

  #seat(entry: Entry, group: Group): boolean {
    const lane = this.#lanes.get(entry.lane)
    const most = entry.rule.direction === 'out' ? Math.min(this.#parts.lane, this.#free) : this.#free
    if (lane && (isBehind(lane) || (lane.count > 0 && lane.count >= most))) return this.#push(lane, entry)
    this.#count(entry, group)
    return true
  }

  #count(entry: Entry, group: Group): void {
    const { lane: name } = entry
    entry.group = group
    this.#entries++
    let lane = this.#lanes.get(name)
    if (!lane) group.heads++
    if (name === '') return
    if (!lane) {
      lane = { name, group, count: 0, isResting: false, ids: new Ids(), isReading: false }
      this.#lanes.set(name, lane)
    }
    lane.count++
  }

  #push(queue: Queue, { id }: Entry): false {
    queue.ids.push(id)
    this.#behind.add(queue)
    this.#ids++
    return false
  }

  #release(group: Group): void {
    group.heads--
    this.#goOn(group)
  }

  #goOn(queue: Lane | Group): void {
    if (queue.isReading || this.#stopped) return
    if (queue.ids.length === 0) this.#behind.delete(queue)
    if ('heads' in queue) this.#goOnGroup(queue)
    else this.#goOnLane(queue)
  }

  #goOnGroup(group: Group): void {
    const places = this.#placesOf(group)
    if (group.ids.length === 0 || group.heads > places / 2) return
    const count = Math.min(places - group.heads, this.#parts.page)
    void this.#read(group, count, (entry) => this.#seat(entry, group))
  }

  #goOnLane(lane: Lane): void {
    const { name, group, count, isResting } = lane
    if (lane.ids.length === 0) {
      if (count > 0) return
      this.#lanes.delete(name)
      if (!isResting) this.#release(group)
      return
    }
    if (count > this.#parts.lane / 2) return
    const wanted = Math.max(Math.min(this.#parts.lane - count, this.#free), count === 0 ? 1 : 0)
    if (wanted === 0) return
    void this.#read(lane, wanted, (entry) => {
      this.#count(entry, this.#groupOf(entry.rule))
      return true
    })
  }

  /** Never rejects. */
  async #read(queue: Lane | Group, count: number, seat: (entry: Entry) => boolean): Promise<void> {
    const { journal, log, pause, known, resume } = this.#parts
    const ids = queue.ids.first(count)
    queue.isReading = true
    const goOn = () => {
      queue.isReading = false
      this.#goOn(queue)
    }
    try {
      // Those that were taken out meanwhile are not among them.
      const rows = await journal.rows(ids)
      queue.ids.drop(ids.length)
      this.#ids -= ids.length
      for (const row of rows) {
        const entry = known(row)
        if (entry && seat(entry)) resume(entry, row.due)
      }
      goOn()
    } catch (error) {
      log.error({ err: error }, `stored records could not be read: ${reason(error)}`)
      setTimeout(goOn, pause).unref()
    }
  }
}

function isBehind({ ids, isReading }: Queue): boolean {
  return isReading || ids.length > 0
}

/** Delivers what is in the journal: in order within a lane, a bounded number at once, and again after a failure. */
import type { Accepted, DeliveryJournal, Depositor, NewRecord } from '../asgi/delivery.ts'
import { Attempts, type AttemptsParts, type Next } from './attempts.ts'
import { Backlog } from './backlog.ts'
import { bury } from './bury.ts'
import { encode } from './codec.ts'
import { Deposit, Deposits } from './deposit.ts'
import { Entry } from './entry.ts'
import type { Journal } from './journal.ts'
import type { EncodedRecord, JournalWatcher, WaitingRow } from './messages.ts'
import { type Place, Places } from './places.ts'
import { Queues } from './queues.ts'
import { Turns } from './turns.ts'

export interface DispatcherParts extends Pick<AttemptsParts, 'log' | 'options' | 'target' | 'resolve'> {
  readonly journal: Journal
  readonly limits?: Partial<DispatcherLimits>
}

/** What is kept in memory. */
export interface DispatcherLimits {
  /** How many lanes and rules share in memory, whoever was first leaving as much as it takes; and as many wait there for another attempt. */
  readonly entries: number
  /** How many lanes of a rule are there in any case, with one each: one rule that stands still leaves room for the others. */
  readonly rule: number
  /** How many of one lane are there when it goes out, or was on disk. */
  readonly lane: number
  /** How many of those on disk are known by their ids; of more, none is read before these are fewer. */
  readonly ids: number
  /** How many are taken from there at once. */
  readonly page: number
  /** Bytes of those that wait for their turn, and again of those that are handled. */
  readonly bytes: number
  /** How long a journal that cannot be read or written is left alone, in milliseconds. */
  readonly pause: number
  /** How long one that may have ended the process keeps the others that may have waiting, in milliseconds. */
  readonly alone: number
  /** How long whoever is told to end is waited for, in milliseconds. */
  readonly grace: number
}

const defaultLimits: DispatcherLimits = {
  entries: 50_000,
  rule: 4000,
  lane: 32,
  ids: 16_000_000,
  page: 2000,
  bytes: 64 * 1024 * 1024,
  pause: 5000,
  alone: 1000,
  grace: 10_000,
}
/** What a timer can wait: a longer wait comes to its end at the next start. */
const longestWait = 2 ** 31 - 1

export class Dispatcher implements JournalWatcher {
  readonly #parts: DispatcherParts
  readonly #limits: DispatcherLimits
  readonly #entries = new Map<number, Entry>()
  /** How many of them wait for another attempt. */
  #parked = 0
  readonly #turns: Turns
  readonly #attempts: Attempts
  readonly #backlog: Backlog
  readonly #queues: Queues
  readonly #waiters = new Map<number, PromiseWithResolvers<void>>()
  #stopped = false
  #idle: PromiseWithResolvers<void> | undefined
  /** Up to here everything was there before this process. */
  #inherited = 0

  constructor(parts: DispatcherParts) {
    this.#parts = parts
    this.#limits = { ...defaultLimits, ...parts.limits }
    const { bytes, alone } = this.#limits
    const { concurrency } = parts.options
    this.#attempts = new Attempts({
      ...this.#limits,
      ...parts,
      learned: (entry) => this.#turns.learn(entry),
      over: (entry, next) => this.#over(entry, next),
    })
    this.#turns = new Turns({ concurrency, bytes, alone, begin: (entry) => this.#attempts.begin(entry) })
    this.#backlog = new Backlog({
      ...this.#limits,
      ...parts,
      hasRoom: () => this.#hasRoom,
      resume: (row) => this.#resume(row),
      revive: (row) => this.#revive(row),
    })
    this.#queues = new Queues({
      ...this.#limits,
      ...parts,
      known: (row) => (this.#entries.has(row.id) ? undefined : this.#known(row)),
      resume: (entry, due) => this.#hold(entry, due),
    })
  }

  /** How many attempts are under way. */
  get running(): number {
    return this.#turns.running
  }

  /** To be called before anything is accepted. */
  async prepare(): Promise<void> {
    const [newest] = await this.#parts.journal.list({ limit: 1 })
    this.#inherited = newest?.id ?? 0
  }

  /** Takes up what an earlier process left. To be called when the listeners are there. */
  start(): Promise<void> {
    return this.#backlog.begin()
  }

  /** The journal as one protocol sees it. */
  of(protocol: string): DeliveryJournal {
    const places = new Places(protocol, this.#turns)
    return {
      accept: async (records) => this.#accept(places, records),
      put: (record, depositor) => this.#put(places, record, depositor),
      bury: (record, error) => bury(this.#parts, record, { placing: places.find(record), error }),
      attempted: (id) => this.#attempted(id),
    }
  }

  /** A person has them tried again. */
  retried(rows: readonly WaitingRow[]): void {
    for (const row of rows) {
      // What lies further on is found there.
      if (this.#backlog.has(row.id)) continue
      if (this.#hasRoom) this.#revive(row)
      else this.#backlog.keep(row.id)
    }
  }

  /** A person has taken them out. */
  discarded(ids: readonly number[]): void {
    for (const id of ids) {
      const entry = this.#entries.get(id)
      if (!entry) this.#tell(id)
      else if (entry.timer) {
        this.#unpark(entry)
        this.#forget(entry)
        if (keepsLane(entry)) this.#turns.release(entry.lane)
      } else entry.discarded = true
    }
    this.#refill()
  }

  /** Begins nothing more. What runs may finish. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#turns.stop()
    this.#attempts.stop()
    this.#backlog.stop()
    this.#queues.stop()
    for (const { timer } of this.#entries.values()) clearTimeout(timer)
    for (const id of this.#waiters.keys()) if (!this.#entries.get(id)?.isRunning) this.#tell(id)
  }

  /** Resolves when nothing runs; at the signal what still does is told to end, and is tried again at the next start. */
  async close(signal: AbortSignal): Promise<void> {
    this.stop()
    const idle = (this.#idle = Promise.withResolvers())
    let grace: NodeJS.Timeout | undefined
    const cut = () => {
      grace = setTimeout(idle.resolve, this.#limits.grace)
      this.#attempts.cut()
      this.#checkIdle()
    }
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    this.#checkIdle()
    await idle.promise
    clearTimeout(grace)
    signal.removeEventListener('abort', cut)
  }

  /** After the deadline nobody waits for those that the journal has not let begin: its disk may be full. */
  #checkIdle(): void {
    if (!this.#idle) return
    const left = this.#attempts.isCut ? this.#attempts.delivering : this.running
    if (left === 0) this.#idle.resolve()
  }

  #accept(places: Places, records: readonly NewRecord[]): Promise<readonly Accepted[]> {
    const encoded: EncodedRecord[] = []
    const entries = records.map((record) => {
      const place = places.find(record)
      const bytes = encode(record, place)
      encoded.push(bytes)
      return this.#entryOf(record, place, bytes)
    })
    const deposits = new Deposits(entries, this.#take)
    this.#parts.journal.store(encoded, deposits)
    return deposits.accepted
  }

  #put(places: Places, record: NewRecord, depositor: Depositor): void {
    try {
      const place = places.find(record)
      const encoded = encode(record, place)
      const deposit = new Deposit(this.#entryOf(record, place, encoded), depositor, this.#take)
      this.#parts.journal.store([encoded], deposit)
    } catch (error) {
      // It is no plain data.
      queueMicrotask(() => depositor.refused(error))
    }
  }

  #entryOf(record: NewRecord, { rule, lane }: Place, { start, event, body }: EncodedRecord): Entry {
    const { resolution } = record
    const entry = new Entry(rule, lane, (start?.byteLength ?? 0) + event.byteLength + (body?.byteLength ?? 0))
    entry.delivery = resolution?.delivery
    entry.isRouted ||= resolution !== undefined
    entry.content = record
    return entry
  }

  readonly #take = (entry: Entry, id: number): void => {
    if (!this.#backlog.pass(id)) return
    entry.id = id
    this.#add(entry)
  }

  #add(entry: Entry): void {
    if (!this.#queues.enter(entry)) return
    this.#entries.set(entry.id, entry)
    this.#turns.add(entry)
  }

  #over(entry: Entry, next: Next): void {
    if (next === 'gone') this.#forget(entry)
    else if (next !== 'left') this.#park(entry, next)
    this.#turns.over(entry, keepsLane(entry) && this.#entries.has(entry.id))
    this.#tell(entry.id)
    this.#checkIdle()
    this.#refill()
  }

  #park(entry: Entry, wait: number): void {
    if (this.#stopped) return
    const isFull = this.#parked >= this.#limits.entries
    if (!keepsLane(entry)) {
      this.#queues.leave(entry)
      if (isFull) {
        this.#entries.delete(entry.id)
        return this.#backlog.keepUntil(entry.id, Date.now() + wait)
      }
    } else if (!isFull) this.#queues.rest(entry)
    this.#parked++
    entry.timer = setTimeout(
      () => {
        this.#unpark(entry)
        if (keepsLane(entry)) return this.#turns.admit(entry)
        this.#queues.back(entry)
        this.#turns.add(entry)
      },
      Math.min(wait, longestWait),
    )
  }

  #unpark(entry: Entry): void {
    clearTimeout(entry.timer)
    entry.timer = undefined
    this.#parked--
    this.#queues.wake(entry)
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.id)
    this.#queues.leave(entry)
    if (!entry.isRunning) this.#tell(entry.id)
  }

  #attempted(id: number): Promise<void> {
    const entry = this.#entries.get(id)
    const tried = entry
      ? entry.timer !== undefined || (entry.attempts > 0 && !entry.isRunning)
      : this.#backlog.isPast(id) && !this.#queues.has(id)
    if (tried || (this.#stopped && !entry?.isRunning)) return Promise.resolve()
    const waiter = this.#waiters.get(id) ?? Promise.withResolvers<void>()
    this.#waiters.set(id, waiter)
    return waiter.promise
  }

  #tell(id: number): void {
    if (this.#waiters.size === 0) return
    this.#waiters.get(id)?.resolve()
    this.#waiters.delete(id)
  }

  get #hasRoom(): boolean {
    return this.#queues.hasRoom && !this.#stopped
  }

  #refill(): void {
    if (!this.#backlog.isEmpty && this.#hasRoom) void this.#backlog.read()
  }

  #known(row: WaitingRow): Entry {
    const { id, protocol, direction, route } = row
    return Entry.of(row, this.#turns.rule(protocol, direction, route), id <= this.#inherited)
  }

  #revive(row: WaitingRow): void {
    if (!this.#entries.has(row.id)) this.#add(this.#known(row))
  }

  #resume(row: WaitingRow): void {
    if (this.#entries.has(row.id)) return
    const entry = this.#known(row)
    // One that waits for its next attempt stands before nobody, and behind nobody, unless it keeps its lane.
    const isFree = row.due > Date.now() && !keepsLane(entry)
    if (isFree || this.#queues.enter(entry)) this.#hold(entry, row.due)
  }

  /** It may be that it waits for its next attempt. */
  #hold(entry: Entry, due: number): void {
    const wait = due - Date.now()
    this.#entries.set(entry.id, entry)
    if (wait <= 0 || (keepsLane(entry) && this.#turns.isTaken(entry.lane))) {
      if (!entry.group) this.#queues.back(entry)
      return this.#turns.add(entry)
    }
    if (keepsLane(entry)) this.#turns.reserve(entry.lane)
    this.#park(entry, wait)
  }
}

/** What goes out keeps its lane until it is out or dead: what is said second is not to be heard first. */
function keepsLane({ rule, lane }: Entry): boolean {
  return rule.direction === 'out' && lane !== ''
}

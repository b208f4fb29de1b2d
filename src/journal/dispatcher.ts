/** Delivers what is in the journal: in order within a lane, a bounded number at once, and again after a failure. */
import type { Listener } from '../asgi/adapter.ts'
import type { Log } from '../asgi/context.ts'
import type { Accepted, DeliveryJournal, DeliveryOptions, NewRecord, StoredRecord } from '../asgi/delivery.ts'
import type { Resolution } from '../asgi/protocol.ts'
import { SignalboxError, hasCode, permanent, reason } from '../runtime/errors.ts'
import { Backlog } from './backlog.ts'
import { bury } from './bury.ts'
import { decode, encode, type Placing } from './codec.ts'
import { type Content, type Entry, entryOf } from './entry.ts'
import type { Journal, JournalWatcher } from './journal.ts'
import type { EncodedRecord, WaitingRow } from './messages.ts'
import type { JournalOptions } from './options.ts'
import { Room } from './room.ts'
import { Turns } from './turns.ts'

export type AttemptOptions = Pick<JournalOptions, 'attempts' | 'backoff' | 'maxBackoff' | 'concurrency'>

/** Who makes the attempts of one protocol. */
export type Target = Pick<Listener, 'deliver' | 'outgoing'>

export interface DispatcherParts {
  readonly journal: Journal
  readonly log: Log
  /** What rules do not say. */
  readonly options: AttemptOptions
  readonly limits?: Partial<DispatcherLimits>
  target(protocol: string): Target | undefined
  /** Which rule takes a scope now; undefined: none. */
  resolve(scope: NewRecord['scope']): Resolution | undefined
}

/** What is kept in memory. */
export interface DispatcherLimits {
  /** Beyond this many the rest stays on disk until there is room. */
  readonly entries: number
  /** How many are taken from there at once. */
  readonly page: number
  /** Bytes of those that wait for their turn, and again of those that are handled. */
  readonly bytes: number
  /** How long a journal that cannot be read or written is left alone, in milliseconds. */
  readonly pause: number
  /** How long whoever is told to end is waited for, in milliseconds. */
  readonly grace: number
}

const defaultLimits: DispatcherLimits = {
  entries: 50_000,
  page: 2000,
  bytes: 64 * 1024 * 1024,
  pause: 5000,
  grace: 10_000,
}
/** What a timer can wait: a longer wait comes to its end at the next start. */
const longestWait = 2 ** 31 - 1

export class Dispatcher implements JournalWatcher {
  readonly #parts: DispatcherParts
  readonly #limits: DispatcherLimits
  readonly #entries = new Map<number, Entry>()
  readonly #turns: Turns
  readonly #room: Room
  readonly #backlog: Backlog
  readonly #waiters = new Map<number, PromiseWithResolvers<void>>()
  readonly #closing = new AbortController()
  #stopped = false
  /** How many attempts are in the hands of a protocol. */
  #delivering = 0
  #idle: PromiseWithResolvers<void> | undefined
  /** Up to here everything was there before this process. */
  #inherited = 0

  constructor(parts: DispatcherParts) {
    this.#parts = parts
    this.#limits = { ...defaultLimits, ...parts.limits }
    const { bytes } = this.#limits
    const { concurrency } = parts.options
    this.#turns = new Turns({ concurrency, bytes, begin: (entry) => void this.#run(entry) })
    this.#room = new Room(bytes)
    this.#backlog = new Backlog({
      ...this.#limits,
      ...parts,
      hasRoom: () => this.#hasRoom,
      resume: (row) => this.#resume(row),
      revive: (row) => this.#revive(row),
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
    return this.#backlog.read()
  }

  /** The journal as one protocol sees it. */
  of(protocol: string): DeliveryJournal {
    return {
      accept: (records) => this.#accept(protocol, records),
      bury: (record, error) => bury(this.#parts, record, { placing: this.#placed(protocol, record), error }),
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
        const keptLane = this.#holds(entry)
        this.#forget(entry)
        if (keptLane) this.#turns.release(entry.lane)
      } else entry.discarded = true
    }
    this.#refill()
  }

  /** Begins nothing more. What runs may finish. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#turns.stop()
    for (const { timer } of this.#entries.values()) clearTimeout(timer)
    for (const id of this.#waiters.keys()) if (!this.#entries.get(id)?.rule) this.#tell(id)
  }

  /** Resolves when nothing runs; at the signal what still does is told to end, and is tried again at the next start. */
  async close(signal: AbortSignal): Promise<void> {
    this.stop()
    const idle = (this.#idle = Promise.withResolvers())
    let grace: NodeJS.Timeout | undefined
    const cut = () => {
      grace = setTimeout(idle.resolve, this.#limits.grace)
      this.#closing.abort(new SignalboxError('closing', 'the gateway is closing'))
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
    const left = this.#closing.signal.aborted ? this.#delivering : this.running
    if (left === 0) this.#idle?.resolve()
  }

  async #accept(protocol: string, records: readonly NewRecord[]): Promise<readonly Accepted[]> {
    const encoded = records.map((record) => encode(record, this.#placed(protocol, record)))
    const accepted = await this.#parts.journal.accept(encoded)
    for (const [index, answer] of accepted.entries()) {
      const record = records[index]
      const bytes = encoded[index]
      if (!answer.known && record && bytes) this.#take(answer.id, record, bytes)
    }
    return accepted
  }

  #placed(protocol: string, record: NewRecord): Placing {
    const { direction, resolution, scope } = record
    const route = resolution?.route ?? ''
    const key = resolution?.delivery?.key
    const value: unknown = key === undefined ? undefined : (resolution?.params[key] ?? Reflect.get(scope, key))
    const lane = typeof value === 'string' ? `${route} ${value}` : (record.lane ?? '')
    return { protocol, route, lane: lane && `${protocol} ${direction} ${lane}` }
  }

  #take(id: number, record: NewRecord, { protocol, route, lane, event }: EncodedRecord): void {
    if (!this.#backlog.pass(id)) return
    const { direction, scope, body, live, resolution } = record
    const bytes = event.byteLength + (body?.byteLength ?? 0)
    const entry = entryOf({ id, protocol, direction, lane, route, bytes, attempts: 0 }, false)
    entry.delivery = resolution?.delivery
    entry.isRouted ||= resolution !== undefined
    entry.content = { scope, event: record.event, ...(body && { body }), ...(live !== undefined && { live }) }
    this.#add(entry)
  }

  #known(row: WaitingRow): Entry {
    return entryOf(row, row.id <= this.#inherited)
  }

  #add(entry: Entry): void {
    this.#entries.set(entry.id, entry)
    this.#turns.add(entry)
  }

  /** Never rejects. */
  async #run(entry: Entry): Promise<void> {
    try {
      await this.#attempt(entry)
    } catch (error) {
      // The journal itself: a full disk, a locked file.
      if (!this.#stopped) {
        const { log } = this.#parts
        log.error({ err: error, record: entry.id }, `a stored record could not be tried: ${reason(error)}`)
      }
      this.#park(entry, this.#limits.pause)
    }
    this.#turns.over(entry, this.#holds(entry))
    this.#tell(entry.id)
    this.#checkIdle()
    this.#refill()
  }

  async #attempt(entry: Entry): Promise<void> {
    const { bytes } = entry
    const atOnce = this.#room.take(bytes)
    // Who waits for room takes none meanwhile.
    const content = atOnce ? entry.content : undefined
    entry.content = undefined
    if (!atOnce) await this.#room.wait(bytes)
    try {
      await this.#try(entry, content)
    } finally {
      this.#room.give(bytes)
    }
  }

  async #try(entry: Entry, known: Content | undefined): Promise<void> {
    const content = known ?? (await this.#load(entry))
    // Somebody was quicker: it is handled, or taken out.
    if (!content || entry.discarded) return this.#forget(entry)
    const { log, journal } = this.#parts
    // The rules may be others than when it was stored, or than at the last attempt.
    if (entry.direction === 'in' && (!entry.isRouted || entry.attempts > 0)) this.#route(entry, content.scope)
    const most = this.#settingsOf(entry).attempts
    if (entry.attempts >= most) {
      return this.#bury(entry, `begun ${entry.attempts} times and never ended: the process ended in the middle of it`)
    }
    // On disk before the attempt: one that ends the process each time is to be a dead letter at last.
    if (entry.redelivered) await journal.begun([entry.id])
    if (this.#closing.signal.aborted) return
    entry.attempts++
    this.#delivering++
    try {
      await this.#deliver(entry, content)
    } catch (error) {
      // An application may fail with this code while nobody closes anything.
      if (this.#closing.signal.aborted || (this.#stopped && hasCode(error, 'closing'))) return
      log.debug({ err: error, record: entry.id, attempt: entry.attempts }, 'an attempt at a stored event failed')
      return this.#failed(entry, error)
    } finally {
      this.#delivering--
    }
    journal.handled(entry.id)
    this.#forget(entry)
  }

  async #load(entry: Entry): Promise<Content | undefined> {
    const [loaded] = await this.#parts.journal.load([entry.id])
    try {
      return loaded && decode(loaded)
    } catch (error) {
      this.#bury(entry, reason(error), error)
      return undefined
    }
  }

  async #deliver(entry: Entry, { scope, event, body, live }: Content): Promise<void> {
    const { id, protocol, direction, lane, attempts: attempt, redelivered } = entry
    const target = this.#parts.target(protocol)
    if (!target) throw permanent(new Error(`${protocol} is not served any more`))
    if (!target.deliver) throw permanent(new Error(`an event of ${protocol} cannot be delivered again`))
    const record: StoredRecord = {
      id,
      journal: this.#parts.journal.name,
      direction,
      scope,
      event,
      lane,
      attempt,
      redelivered,
      signal: this.#closing.signal,
      ...(body && { body }),
      ...(live !== undefined && { live }),
    }
    await target.deliver(record)
  }

  #route(entry: Entry, scope: NewRecord['scope']): void {
    const resolution = this.#parts.resolve(scope)
    entry.isRouted = true
    if (resolution) {
      entry.route = resolution.route ?? entry.route
      entry.delivery = resolution.delivery
    }
    this.#turns.learn(entry)
  }

  #failed(entry: Entry, error: unknown): void {
    const { attempts, backoff, maxBackoff } = this.#settingsOf(entry)
    const last = ['permanent', 'no_route'].some((code) => hasCode(error, code)) || entry.attempts >= attempts
    if (last) return this.#bury(entry, reason(error), error)
    // Half of it at random, so that what failed together does not come back together.
    const wait = Math.min(maxBackoff, backoff * 2 ** (entry.attempts - 1)) * (0.5 + Math.random() / 2)
    const { id, protocol, route } = entry
    const { journal, log } = this.#parts
    journal.failed(id, { attempts: entry.attempts, due: Date.now() + wait, error: reason(error) })
    log.warn(
      { record: id, protocol, route, attempt: entry.attempts, err: error },
      `an event failed, and is tried again in ${Math.round(wait)} ms: ${reason(error)}`,
    )
    this.#park(entry, wait)
  }

  #park(entry: Entry, wait: number): void {
    if (this.#stopped) return
    entry.timer = setTimeout(
      () => {
        entry.timer = undefined
        if (this.#holds(entry)) this.#turns.admit(entry)
        else this.#turns.add(entry)
      },
      Math.min(wait, longestWait),
    )
  }

  /** What goes out keeps its lane until it is out or dead: what is said second is not to be heard first. */
  #holds(entry: Entry): boolean {
    return entry.direction === 'out' && this.#entries.has(entry.id)
  }

  #bury(entry: Entry, why: string, error?: unknown): void {
    const { id, protocol, route, attempts } = entry
    this.#parts.journal.dead(id, { attempts, error: why })
    this.#parts.log.error({ record: id, protocol, route, attempts, err: error }, `an event is a dead letter: ${why}`)
    this.#forget(entry)
  }

  #settingsOf({ protocol, direction, delivery }: Entry): Required<Pick<DeliveryOptions, keyof AttemptOptions>> {
    const said = direction === 'out' ? this.#parts.target(protocol)?.outgoing : delivery
    return said ? { ...this.#parts.options, ...said } : this.#parts.options
  }

  #forget(entry: Entry): void {
    clearTimeout(entry.timer)
    this.#entries.delete(entry.id)
    if (!entry.rule) this.#tell(entry.id)
  }

  #attempted(id: number): Promise<void> {
    const entry = this.#entries.get(id)
    const tried = entry ? entry.timer !== undefined || (entry.attempts > 0 && !entry.rule) : this.#backlog.isPast(id)
    if (tried || (this.#stopped && !entry?.rule)) return Promise.resolve()
    const waiter = this.#waiters.get(id) ?? Promise.withResolvers<void>()
    this.#waiters.set(id, waiter)
    return waiter.promise
  }

  #tell(id: number): void {
    this.#waiters.get(id)?.resolve()
    this.#waiters.delete(id)
  }

  get #hasRoom(): boolean {
    return this.#entries.size < this.#limits.entries && !this.#stopped
  }

  #refill(): void {
    if (!this.#backlog.isEmpty && this.#entries.size < this.#limits.entries / 2) void this.#backlog.read()
  }

  #revive(row: WaitingRow): void {
    if (!this.#entries.has(row.id)) this.#add(this.#known(row))
  }

  #resume(row: WaitingRow): void {
    const entry = this.#known(row)
    const { direction, lane } = entry
    const wait = row.due - Date.now()
    if (wait <= 0 || (direction === 'out' && this.#turns.isTaken(lane))) return this.#add(entry)
    this.#entries.set(entry.id, entry)
    if (direction === 'out') this.#turns.reserve(lane)
    this.#park(entry, wait)
  }
}

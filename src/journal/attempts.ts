/** Attempts at stored records: memory and content for each, who makes it, how often, and when again. */
import type { Listener } from '../asgi/adapter.ts'
import type { Log } from '../asgi/context.ts'
import type { AttemptSettled, DeliveryOptions, NewRecord } from '../asgi/delivery.ts'
import type { Resolution } from '../asgi/protocol.ts'
import { SignalboxError, hasCode, permanent, reason } from '../runtime/errors.ts'
import { decode, peerOf } from './codec.ts'
import type { Content, Entry } from './entry.ts'
import type { Journal } from './journal.ts'
import type { JournalOptions } from './options.ts'
import { Room } from './room.ts'

export type AttemptOptions = Pick<JournalOptions, 'attempts' | 'backoff' | 'maxBackoff' | 'concurrency'>

/** Who makes the attempts of one protocol. */
export type Target = Pick<Listener, 'deliver' | 'outgoing'>

/** What is to become of a record: nothing more, another attempt after so many milliseconds, or one by the next process. */
export type Next = 'gone' | 'left' | number

export interface AttemptsParts {
  readonly journal: Pick<Journal, 'name' | 'load' | 'begun' | 'spared' | 'handled' | 'failed' | 'dead'>
  readonly log: Log
  /** What rules do not say. */
  readonly options: AttemptOptions
  /** What those that are handled may hold of memory. */
  readonly bytes: number
  /** How long a journal that cannot be read or written is left alone, in milliseconds. */
  readonly pause: number
  target(protocol: string): Target | undefined
  /** Which rule takes a scope now; undefined: none. */
  resolve(scope: NewRecord['scope']): Resolution | undefined
  /** What the record's rule says was looked up. */
  learned(entry: Entry): void
  /** The attempt is over. */
  over(entry: Entry, next: Next): void
}

export class Attempts {
  readonly #parts: AttemptsParts
  readonly #room: Room
  readonly #closing = new AbortController()
  #stopped = false
  /** How many are in the hands of a protocol. */
  #delivering = 0
  /** Those whose attempt is counted on disk, and not over. */
  readonly #counted = new Set<Entry>()
  /** Those that are to begin now, in order. */
  readonly #beginning: Entry[] = []

  constructor(parts: AttemptsParts) {
    this.#parts = parts
    this.#room = new Room(parts.bytes)
  }

  /** How many are in the hands of a protocol. */
  get delivering(): number {
    return this.#delivering
  }

  /** Whether all are told to end. */
  get isCut(): boolean {
    return this.#closing.signal.aborted
  }

  /** Whoever fails because something closes has not failed. */
  stop(): void {
    this.#stopped = true
  }

  /** Tells all to end. */
  cut(): void {
    // First: a handler that does not end when it is told to is no reason to count it either.
    if (this.#counted.size > 0) this.#parts.journal.spared(Array.from(this.#counted, ({ id }) => id))
    this.#counted.clear()
    this.#closing.abort(new SignalboxError('closing', 'the gateway is closing'))
  }

  /** Makes one attempt; to be followed by `over`. */
  begin(entry: Entry): void {
    const beginning = this.#beginning
    // One that is over at once lets the next of its lane begin: that goes on here, and not deeper and deeper.
    if (beginning.push(entry) > 1) return
    for (const next of beginning) this.#begin(next)
    beginning.length = 0
  }

  /** What is new is in memory, and needs nobody to be asked. */
  #begin(entry: Entry): void {
    const { content, bytes } = entry
    const isNew = entry.attempts === 0 && entry.isRouted && !entry.redelivered && !entry.discarded
    if (!content || !isNew || !this.#room.take(bytes)) return void this.#prepare(entry)
    entry.content = undefined
    this.#deliver(entry, content)
  }

  /** Never rejects. */
  async #prepare(entry: Entry): Promise<void> {
    const { bytes } = entry
    const atOnce = this.#room.take(bytes)
    // Who waits for room takes none meanwhile.
    const known = atOnce ? entry.content : undefined
    entry.content = undefined
    if (!atOnce) await this.#room.wait(bytes)
    let content: Content | undefined
    try {
      content = await this.#ready(entry, known)
    } catch (error) {
      // The journal itself: a full disk, a locked file.
      if (!this.#stopped) {
        const { log } = this.#parts
        log.error({ err: error, record: entry.id }, `a stored record could not be tried: ${reason(error)}`)
      }
      return this.#over(entry, this.#parts.pause)
    }
    if (!content) return this.#over(entry, 'gone')
    if (this.isCut) return this.#over(entry, 'left')
    this.#deliver(entry, content)
  }

  /** Undefined: it is not to be tried any more. */
  async #ready(entry: Entry, known: Content | undefined): Promise<Content | undefined> {
    const content = known ?? (await this.#load(entry))
    // Somebody was quicker: it is handled, or taken out.
    if (!content || entry.discarded) return undefined
    // The rules may be others than when it was stored, or than at the last attempt.
    if (entry.rule.direction === 'in' && (!entry.isRouted || entry.attempts > 0)) this.#route(entry, content.scope)
    const most = this.#settingsOf(entry).attempts
    if (entry.attempts >= most) {
      const why = `begun ${entry.attempts} times and never ended: the process ended in the middle of it`
      this.#bury(entry, why, { content })
      return undefined
    }
    // On disk before the attempt: one that ends the process each time is to be a dead letter at last.
    if (entry.redelivered) {
      this.#counted.add(entry)
      await this.#parts.journal.begun([entry.id])
    }
    return content
  }

  async #load(entry: Entry): Promise<Content | undefined> {
    const [loaded] = await this.#parts.journal.load([entry.id])
    try {
      return loaded && decode(loaded)
    } catch (error) {
      this.#bury(entry, reason(error), { error })
      return undefined
    }
  }

  #route(entry: Entry, scope: NewRecord['scope']): void {
    const resolution = this.#parts.resolve(scope)
    entry.isRouted = true
    if (resolution) {
      entry.route = resolution.route ?? entry.route
      entry.delivery = resolution.delivery
    }
    this.#parts.learned(entry)
  }

  #deliver(entry: Entry, content: Content): void {
    entry.attempts++
    entry.isSuspect = false
    this.#delivering++
    let isOver = false
    const settled = (error?: unknown, scopeId?: string) => {
      if (isOver) return
      isOver = true
      this.#delivering--
      if (error === undefined) {
        this.#parts.journal.handled(entry.id)
        this.#over(entry, 'gone')
      } else this.#over(entry, this.#failed(entry, error, { content, scopeId }))
    }
    try {
      this.#give(entry, content, settled)
    } catch (error) {
      settled(error)
    }
  }

  #give(entry: Entry, { scope, event, body, live }: Content, settled: AttemptSettled): void {
    const { id, rule, lane, attempts: attempt, redelivered } = entry
    const { protocol, direction } = rule
    const target = this.#parts.target(protocol)
    if (!target) throw permanent(new Error(`${protocol} is not served any more`))
    if (!target.deliver) throw permanent(new Error(`an event of ${protocol} cannot be delivered again`))
    const { name: journal } = this.#parts.journal
    const { signal } = this.#closing
    target.deliver({ id, journal, direction, scope, event, body, lane, attempt, redelivered, signal, live }, settled)
  }

  #failed(entry: Entry, error: unknown, about: Failed): Next {
    const { journal, log } = this.#parts
    // An application may fail with this code while nobody closes anything.
    if (this.isCut || (this.#stopped && hasCode(error, 'closing'))) return 'left'
    const { attempts, backoff, maxBackoff } = this.#settingsOf(entry)
    const last = ['permanent', 'no_route'].some((code) => hasCode(error, code)) || entry.attempts >= attempts
    if (last) {
      this.#bury(entry, reason(error), { ...about, error })
      return 'gone'
    }
    // Half of it at random, so that what failed together does not come back together.
    const wait = Math.min(maxBackoff, backoff * 2 ** (entry.attempts - 1)) * (0.5 + Math.random() / 2)
    journal.failed(entry.id, { attempts: entry.attempts, due: Date.now() + wait, error: reason(error) })
    log.warn(
      { ...fieldsOf(entry, about), err: error },
      `an event failed, and is tried again in ${Math.round(wait)} ms: ${reason(error)}`,
    )
    return wait
  }

  #bury(entry: Entry, why: string, about: Failed): void {
    this.#parts.journal.dead(entry.id, { attempts: entry.attempts, error: why })
    this.#parts.log.error({ ...fieldsOf(entry, about), err: about.error }, `an event is a dead letter: ${why}`)
  }

  #settingsOf({ rule, delivery }: Entry): Required<Pick<DeliveryOptions, keyof AttemptOptions>> {
    const said = rule.direction === 'out' ? this.#parts.target(rule.protocol)?.outgoing : delivery
    return said ? { ...this.#parts.options, ...said } : this.#parts.options
  }

  #over(entry: Entry, next: Next): void {
    this.#counted.delete(entry)
    this.#room.give(entry.bytes)
    this.#parts.over(entry, next)
  }
}

/** What is known of an attempt that failed. */
interface Failed {
  readonly content?: Content | undefined
  readonly scopeId?: string | undefined
  readonly error?: unknown
}

function fieldsOf({ id, rule: { protocol }, route, attempts }: Entry, { content, scopeId }: Failed) {
  const { scope, event } = content ?? {}
  const peer = scope && peerOf(scope)
  const client = scope?.client?.[0]
  return { scope: scopeId, record: id, protocol, route, client, peer, event: event?.type, attempt: attempts }
}

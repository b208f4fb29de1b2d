/** Whose turn it is: in each lane one after the other, of each rule a bounded number at once. */
import type { Direction } from '../asgi/delivery.ts'
import type { Entry, Rule } from './entry.ts'
import { Line } from './line.ts'
import { Suspects } from './suspects.ts'

export interface TurnsParts {
  /** How many of a rule run at once that says nothing of it. */
  readonly concurrency: number
  /** Bytes of those that wait for their turn; of more the content is read again when it is theirs. */
  readonly bytes: number
  /** How long one that may have ended the process is tried without the others that may have, in milliseconds. */
  readonly alone: number
  /** It is this one's turn; to be followed by `over`. */
  begin(entry: Entry): void
}

export class Turns {
  readonly #parts: TurnsParts
  readonly #rules = new Map<string, Rule>()
  /** Those that stand behind the one whose turn it is; a lane without anybody is not here. */
  readonly #lanes = new Map<string, Line<Entry>>()
  readonly #suspects: Suspects
  #stopped = false
  #bytes = 0
  #running = 0

  constructor(parts: TurnsParts) {
    this.#parts = parts
    this.#suspects = new Suspects({ alone: parts.alone, admit: (entry) => this.admit(entry) })
  }

  get running(): number {
    return this.#running
  }

  /** Begins nothing more. */
  stop(): void {
    this.#stopped = true
    this.#suspects.stop()
  }

  /** The rule of this name; the same one each time. */
  rule(protocol: string, direction: Direction, route: string): Rule {
    const key = `${protocol} ${direction} ${route}`
    let rule = this.#rules.get(key)
    if (!rule) {
      // Until one of an earlier process has found its rule nobody knows how many that allows.
      rule = { protocol, direction, route, limit: 1, running: 0, ready: new Line() }
      this.#rules.set(key, rule)
    }
    return rule
  }

  /** Behind those of its lane that are there. */
  add(entry: Entry): void {
    const behind = entry.lane === '' ? undefined : this.#lanes.get(entry.lane)
    if (behind) return this.#wait(entry, behind)
    this.reserve(entry.lane)
    this.admit(entry)
  }

  isTaken(lane: string): boolean {
    return this.#lanes.has(lane)
  }

  /** Those that come after this wait until `release`. */
  reserve(lane: string): void {
    if (lane !== '') this.#lanes.set(lane, new Line())
  }

  /** It is the first in its lane. */
  admit(entry: Entry): void {
    if (!this.#suspects.admits(entry)) return
    const { route, isRouted, delivery } = entry
    if (entry.rule.route !== route) entry.rule = this.rule(entry.rule.protocol, entry.rule.direction, route)
    const { rule } = entry
    if (isRouted) rule.limit = delivery?.concurrency ?? this.#parts.concurrency
    if (rule.running >= rule.limit || this.#stopped) this.#wait(entry, rule.ready)
    else this.#begin(entry, rule)
  }

  /** What its rule says is known now. */
  learn({ rule, delivery }: Entry): void {
    rule.limit = delivery?.concurrency ?? this.#parts.concurrency
    this.#goOn(rule)
  }

  /** What it was doing is over; with `keepsLane` the next in its lane still waits for it. */
  over(entry: Entry, keepsLane: boolean): void {
    const { rule } = entry
    entry.isRunning = false
    rule.running--
    this.#running--
    if (!keepsLane) this.release(entry.lane)
    this.#suspects.over(entry)
    this.#goOn(rule)
  }

  /** The next in the lane has its turn. */
  release(lane: string): void {
    if (lane === '' || this.#stopped) return
    const next = this.#shift(this.#lanes.get(lane))
    if (next) this.admit(next)
    else this.#lanes.delete(lane)
  }

  #goOn(rule: Rule): void {
    while (rule.running < rule.limit && !this.#stopped) {
      const next = this.#shift(rule.ready)
      if (!next) return
      this.#begin(next, rule)
    }
  }

  #begin(entry: Entry, rule: Rule): void {
    rule.running++
    this.#running++
    entry.isRunning = true
    this.#parts.begin(entry)
  }

  #wait(entry: Entry, line: Line<Entry>): void {
    line.push(entry)
    if (!entry.content) return
    if (this.#bytes + entry.bytes > this.#parts.bytes) entry.content = undefined
    else this.#bytes += entry.bytes
  }

  #shift(line: Line<Entry> | undefined): Entry | undefined {
    const entry = line?.shift()
    if (entry?.content) this.#bytes -= entry.bytes
    return entry
  }
}

/** A stored record as the dispatcher has it in memory: light, and with its content only while there is room. */
import type { DeliveryOptions, Direction, NewRecord } from '../asgi/delivery.ts'
import { underWay, type WaitingRow } from './messages.ts'
import type { Line, Linked } from './line.ts'
import type { Group } from './queues.ts'

/** What a record says. */
export type Content = Pick<NewRecord, 'scope' | 'event' | 'body' | 'live'>

/** What is handled at once of one rule. */
export interface Rule {
  readonly protocol: string
  readonly direction: Direction
  readonly route: string
  limit: number
  running: number
  /** Whose turn it is, as soon as there is room. */
  readonly ready: Line<Entry>
}

export class Entry implements Linked<Entry> {
  /** Of a record that is not on disk yet: 0. */
  id = 0
  /** The one that it stands or runs under. */
  rule: Rule
  /** Empty: one of its own. */
  readonly lane: string
  /** About how much memory its content takes. */
  readonly bytes: number
  /** The rule that it has found since, and runs under the next time. */
  route: string
  /** What its rule says. */
  delivery: DeliveryOptions | undefined
  /** Whether anybody has asked what its rule says. */
  isRouted: boolean
  /** Whether an earlier process had it. */
  redelivered = false
  /** It was being tried when an earlier process ended, and has not been since. */
  isSuspect = false
  /** How many attempts were begun. */
  attempts = 0
  content: Content | undefined
  /** It waits for its next attempt. */
  timer: NodeJS.Timeout | undefined
  isRunning = false
  /** Where it counts as one in memory. */
  group: Group | undefined
  /** A person took it out. */
  discarded = false
  next: Entry | undefined

  constructor(rule: Rule, lane: string, bytes: number) {
    this.rule = rule
    this.lane = lane
    this.bytes = bytes
    this.route = rule.route
    // What goes out has no rule to ask.
    this.isRouted = rule.direction === 'out'
  }

  /** One that lies on disk. */
  static of(row: WaitingRow, rule: Rule, redelivered: boolean): Entry {
    const entry = new Entry(rule, row.lane, row.bytes)
    entry.id = row.id
    entry.attempts = row.attempts
    entry.redelivered = redelivered
    entry.isSuspect = redelivered && row.due === underWay
    return entry
  }
}

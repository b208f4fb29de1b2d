/** A stored record as the dispatcher has it in memory: light, and with its content only while there is room. */
import type { DeliveryOptions, Direction, NewRecord } from '../asgi/delivery.ts'
import type { WaitingRow } from './messages.ts'
import type { Line, Linked } from './line.ts'

/** What a record says. */
export type Content = Pick<NewRecord, 'scope' | 'event' | 'body' | 'live'>

/** What is handled at once of one rule. */
export interface Rule {
  limit: number
  running: number
  /** Whose turn it is, as soon as there is room. */
  readonly ready: Line<Entry>
}

export interface Entry extends Linked<Entry> {
  readonly id: number
  readonly protocol: string
  readonly direction: Direction
  /** Empty: one of its own. */
  readonly lane: string
  /** About how much memory its content takes. */
  readonly bytes: number
  route: string
  /** What its rule says. */
  delivery: DeliveryOptions | undefined
  /** Whether anybody has asked what its rule says. */
  isRouted: boolean
  /** Whether an earlier process had it. */
  readonly redelivered: boolean
  /** How many attempts were begun. */
  attempts: number
  content: Content | undefined
  /** It waits for its next attempt. */
  timer: NodeJS.Timeout | undefined
  /** The one that it runs under. */
  rule: Rule | undefined
  /** A person took it out. */
  discarded: boolean
}

/** One that lies on disk. */
export function entryOf(row: Omit<WaitingRow, 'due'>, redelivered: boolean): Entry {
  const { id, protocol, direction, lane, bytes, route, attempts } = row
  return {
    id,
    protocol,
    direction,
    lane,
    bytes,
    route,
    delivery: undefined,
    // What goes out has no rule to ask.
    isRouted: direction === 'out',
    redelivered,
    attempts,
    content: undefined,
    timer: undefined,
    rule: undefined,
    discarded: false,
    next: undefined,
  }
}

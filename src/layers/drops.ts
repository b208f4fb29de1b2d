/** Counts the messages that were dropped, by reason. */

/**
 * `full`: the channel or its `deliver` had no room. `overloaded`: all channels together had none. `closed`: the channel is gone.
 * `expired`: nobody took it in time. `malformed`, `too_large`: it came from elsewhere and is no message. `unreachable`: Redis is
 * away. `dead`: a worker failed at it for the last time.
 */
export const dropReasons = [
  'full',
  'overloaded',
  'closed',
  'expired',
  'malformed',
  'too_large',
  'unreachable',
  'dead',
] as const
export type DropReason = (typeof dropReasons)[number]

export class Drops {
  readonly #counts: Partial<Record<DropReason, number>> = {}

  add(why: DropReason, count = 1): void {
    if (count > 0) this.#counts[why] = (this.#counts[why] ?? 0) + count
  }

  counts(): Readonly<Record<string, number>> {
    return { ...this.#counts }
  }
}

/** How much a channel may hold and for how long, by the pattern of its name: the first that matches decides. */

export interface CapacityOptions {
  /** Messages that wait in a channel which no pattern names. Default 100. */
  readonly default?: number
  readonly patterns?: readonly { readonly channel: string; readonly capacity: number }[]
}

export interface ExpiryOptions {
  /** Milliseconds that a message waits in a channel of a process. Default one minute. */
  readonly default?: number
  /** And in a named channel, whose workers may be away for a while. Default one day. */
  readonly named?: number
  readonly patterns?: readonly { readonly channel: string; readonly expiry: number }[]
}

/** What every layer can be told. */
export interface LayerOptions {
  /** A number is the default of every channel. `*` in a pattern stands for any text, `?` for one character. */
  readonly capacity?: number | CapacityOptions
  /** Milliseconds. A number is the default of every channel. */
  readonly expiry?: number | ExpiryOptions
  /** Milliseconds until a membership lapses, of a channel without `deliver`. Default one day. */
  readonly groupExpiry?: number
  /** Messages that may wait in all channels of this process together. Default 100,000. */
  readonly maxMessages?: number
  /** Bytes of a message as JSON. Default 1 MiB. */
  readonly maxMessageSize?: number
  readonly retry?: RetryOptions
  /** Told of each message of a named channel that is given up. */
  readonly onDeadLetter?: (letter: DeadLetter) => void
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number
}

export interface RetryOptions {
  /** How often a message of a named channel is tried. Default 5. */
  readonly attempts?: number
  /** Milliseconds before the second attempt; doubled for each further one. Default one second. */
  readonly delay?: number
  /** The longest wait between two attempts. Default one minute. */
  readonly maxDelay?: number
}

/** A message of a named channel that nobody will try again. */
export interface DeadLetter {
  readonly channel: string
  /** As JSON: what came may not have been a message. Of an entry of Redis without one: its fields and values, as a list. */
  readonly message: string
  readonly attempts: number
  /** `failed` after the last attempt (counted as `dead`), `expired`, or `malformed` or `too_large` when it came from elsewhere. */
  readonly reason: 'failed' | 'expired' | 'malformed' | 'too_large'
  readonly error: string
}

/** Whoever is told of a dead letter must not stop the worker that wrote it. */
export function tell(
  { onDeadLetter }: LayerOptions,
  letter: DeadLetter,
  onError: (error: unknown) => void = () => {},
): void {
  try {
    onDeadLetter?.(letter)
  } catch (error) {
    onError(error)
  }
}

const day = 86_400_000

export const layerDefaults = {
  capacity: 100,
  expiry: 60_000,
  named: day,
  groupExpiry: day,
  maxMessages: 100_000,
  maxMessageSize: 2 ** 20,
}

/** Answers the limits of a channel by its name. */
export interface Limits {
  readonly capacity: (channel: string) => number
  readonly expiry: (channel: string) => number
}

export function limitsOf({ capacity = {}, expiry = {} }: LayerOptions): Limits {
  const room = typeof capacity === 'number' ? { default: capacity } : capacity
  const time = typeof expiry === 'number' ? { default: expiry, named: expiry } : expiry
  const rooms = (room.patterns ?? []).map(({ channel, capacity }) => [globOf(channel), capacity] as const)
  const times = (time.patterns ?? []).map(({ channel, expiry }) => [globOf(channel), expiry] as const)
  return {
    capacity: (channel) => first(rooms, channel) ?? room.default ?? layerDefaults.capacity,
    expiry: (channel) =>
      first(times, channel) ??
      (channel.includes('!') ? (time.default ?? layerDefaults.expiry) : (time.named ?? layerDefaults.named)),
  }
}

function first(rules: readonly (readonly [RegExp, number])[], channel: string): number | undefined {
  return rules.find(([pattern]) => pattern.test(channel))?.[1]
}

function globOf(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[^\w*?]/g, String.raw`\$&`)
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`)
}

/** What the parts of the Redis layer share: the link, while there is one, the names of keys, and the log. */
import type { Log } from '../asgi/context.ts'
import type { RedisLink } from './redis-link.ts'

export interface RedisBase {
  /** Undefined while Redis is away. */
  readonly link: RedisLink | undefined
  readonly process: string
  readonly names: RedisNames
  readonly log: Log
  /** Resolves when Redis is there. */
  untilReady(signal: AbortSignal): Promise<RedisLink>
}

/** Every key and pub/sub name; README.md documents them. Braces put keys that one script needs on one node of a cluster. */
export interface RedisNames {
  readonly group: (group: string) => string
  readonly inbox: (process: string) => string
  readonly stream: (channel: string) => string
  readonly dead: (channel: string) => string
  readonly once: (channel: string) => string
  readonly members: (process: string) => string
  readonly processes: string
  /** Patterns that match them all. */
  readonly all: readonly string[]
}

export function redisNames(prefix: string): RedisNames {
  const stream = (channel: string) => `${prefix}:channel:${channel}`
  return {
    group: (group) => `${prefix}:group:${group}`,
    inbox: (process) => `${prefix}:process:${process}`,
    stream,
    dead: (channel) => `{${stream(channel)}}:dead`,
    once: (channel) => `{${stream(channel)}}:once`,
    members: (process) => `${prefix}:members:${process}`,
    processes: `${prefix}:processes`,
    all: [`${prefix}:channel:*`, `{${prefix}:channel:*`, `${prefix}:members:*`, `${prefix}:processes`],
  }
}

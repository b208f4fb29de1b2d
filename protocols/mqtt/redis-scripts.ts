/** What has to happen in Redis at once. Clients have the name there that `encodeURIComponent` gives them. */
import type { Redis } from 'ioredis'

/** Of a script that works on one client: who is where, who is away, who has subscriptions. */
const clientKeys = ['owners', 'away', 'clients', 'claims'] as const

/** Deletes a session. Messages that are sent and not acknowledged completely go by themselves, after their time. */
const forget = `
local function forget(prefix, name)
  local queue = prefix .. 'outgoing:' .. name
  for _, key in ipairs(redis.call('LRANGE', queue, 0, -1)) do
    redis.call('DEL', prefix .. key, prefix .. key .. ':offlineCount')
  end
  local had = redis.call('DEL', prefix .. 'subscriptions:' .. name)
  redis.call('DEL', queue, prefix .. 'incoming:' .. name)
  redis.call('SREM', KEYS[3], name)
  redis.call('ZREM', KEYS[2], name)
  return had
end
`
const leave = `
local function leave(name)
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000), name)
end
`

/** The gateway that a client is connected to, and the number of that claim: a later one is higher. */
export interface Owner {
  readonly broker: string
  readonly number: number
}
export interface Claimed {
  readonly number: number
  readonly before: Owner | undefined
}

export class RedisScripts {
  readonly #redis: Redis
  readonly #prefix: string

  constructor(redis: Redis) {
    this.#redis = redis
    this.#prefix = redis.options.keyPrefix ?? ''
  }

  /** The client belongs to this broker now. */
  async claim(name: string, broker: string): Promise<Claimed> {
    const script = `
local before = redis.call('HGET', KEYS[1], ARGV[1])
local number = redis.call('INCR', KEYS[4])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. number)
redis.call('ZREM', KEYS[2], ARGV[1])
return { number, before }`
    const [number, before] = (await this.#run(script, name, broker)) as [number, string?]
    return { number, before: ownerOf(before) }
  }

  /** The broker that a client belongs to. */
  async owner(name: string): Promise<Owner | undefined> {
    return ownerOf(await this.#redis.hget('owners', name))
  }

  /** The client has left; nothing happens when it was claimed again. */
  async release(name: string, { broker, number }: Owner): Promise<void> {
    const script = `${leave}
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
local queued = redis.call('EXISTS', ARGV[3] .. 'outgoing:' .. ARGV[1], ARGV[3] .. 'incoming:' .. ARGV[1])
if queued > 0 or redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then leave(ARGV[1]) end
return 1`
    await this.#run(script, name, `${broker} ${number}`, this.#prefix)
  }

  /** Deletes the client's session; answers whether it had subscriptions. */
  async forget(name: string): Promise<boolean> {
    return (await this.#run(`${forget} return forget(ARGV[2], ARGV[1])`, name, this.#prefix)) === 1
  }

  /** Takes subscriptions away; a client without any is none that messages are kept for. */
  async removeSubscriptions(name: string, filters: readonly string[]): Promise<void> {
    const script = `
local key = ARGV[2] .. 'subscriptions:' .. ARGV[1]
for index = 3, #ARGV do redis.call('HDEL', key, ARGV[index]) end
if redis.call('EXISTS', key) == 0 then redis.call('SREM', KEYS[3], ARGV[1]) end`
    await this.#run(script, name, this.#prefix, ...filters)
  }

  /** Deletes the sessions, at most a hundred, of clients that are away for longer than this many milliseconds. */
  async expire(sessionExpiry: number): Promise<readonly string[]> {
    const script = `${forget}
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
local names = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', oldest, 'LIMIT', 0, 100)
for _, name in ipairs(names) do forget(ARGV[2], name) end
return names`
    return (await this.#run(script, String(sessionExpiry), this.#prefix)) as string[]
  }

  #run(script: string, ...values: readonly string[]): Promise<unknown> {
    return this.#redis.eval(script, clientKeys.length, ...clientKeys, ...values)
  }
}

/** As it is written there. */
export function ownerOf(text: string | null | undefined): Owner | undefined {
  const [broker, number] = text?.split(' ') ?? []
  return broker === undefined ? undefined : { broker, number: Number(number) }
}

/** The client of a name; none for what no gateway has written. */
export function clientOf(name: string): readonly string[] {
  try {
    return [decodeURIComponent(name)]
  } catch {
    return []
  }
}

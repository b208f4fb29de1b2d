/** What has to happen in Redis at once. Clients have the name there that `encodeURIComponent` gives them. */
import type { Redis } from 'ioredis'

/** Of a script that works on one client: who is where, who is away, who has a session. */
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
const claim = `
local function claim(name, broker)
  local number = redis.call('INCR', KEYS[4])
  redis.call('HSET', KEYS[1], name, broker .. ' ' .. number)
  redis.call('ZREM', KEYS[2], name)
  return number
end
`
/** Nothing happens when it was claimed again. */
const release = `
local function release(prefix, name, owner)
  if redis.call('HGET', KEYS[1], name) ~= owner then return end
  redis.call('HDEL', KEYS[1], name)
  local queued = redis.call('EXISTS', prefix .. 'outgoing:' .. name, prefix .. 'incoming:' .. name)
  if queued == 0 and redis.call('SISMEMBER', KEYS[3], name) == 0 then return end
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
    const script = `${claim}
local before = redis.call('HGET', KEYS[1], ARGV[1])
return { claim(ARGV[1], ARGV[2]), before }`
    const [number, before] = (await this.#run(script, name, broker)) as [number, string?]
    return { number, before: ownerOf(before) }
  }

  /** As `claim`, unless the client belongs to another broker; answers the number. */
  async keep(name: string, broker: string): Promise<number | undefined> {
    const script = `${claim}
local owner = redis.call('HGET', KEYS[1], ARGV[1])
if owner and string.sub(owner, 1, #ARGV[2] + 1) ~= ARGV[2] .. ' ' then return false end
return claim(ARGV[1], ARGV[2])`
    return ((await this.#run(script, name, broker)) as number | null) ?? undefined
  }

  /** The client has left; nothing happens when it was claimed again. */
  async release(name: string, { broker, number }: Owner): Promise<void> {
    await this.#run(`${release} release(ARGV[3], ARGV[1], ARGV[2])`, name, `${broker} ${number}`, this.#prefix)
  }

  /** As `release`, for a broker that is gone; nothing happens when it is there again. */
  async sendAway(name: string, { broker, number }: Owner): Promise<void> {
    const script = `${release}
if redis.call('EXISTS', ARGV[3] .. 'alive:' .. ARGV[4]) == 0 then release(ARGV[3], ARGV[1], ARGV[2]) end`
    await this.#run(script, name, `${broker} ${number}`, this.#prefix, broker)
  }

  /** Deletes the client's session; answers whether it had subscriptions. */
  async forget(name: string): Promise<boolean> {
    return (await this.#run(`${forget} return forget(ARGV[2], ARGV[1])`, name, this.#prefix)) === 1
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

/** The clients that are away and have left a session: since when, and whose time is up. */
import type { OrderedLevel } from './ordered-level.ts'

/** What becomes of those whose time is up. */
export interface AwayPolicy {
  /** How long the session of a client that is away is kept, in milliseconds. */
  readonly sessionExpiry: number
  forget(clientId: string): Promise<void>
  /** So many sessions were forgotten. */
  expired(sessions: number): void
  failed(error: unknown): void
}

/** How often sessions are looked at, in milliseconds: one is kept a tenth of its time too long, or ten minutes. */
export function expiryInterval(sessionExpiry: number): number {
  return Math.min(Math.max(Math.floor(sessionExpiry / 10), 50), 600_000)
}

export class AwayClients {
  readonly #level: OrderedLevel
  readonly #policy: AwayPolicy
  /** In milliseconds of the clock. */
  readonly #since = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(level: OrderedLevel, policy: AwayPolicy) {
    this.#level = level
    this.#policy = policy
  }

  get clients(): Iterable<string> {
    return this.#since.keys()
  }

  /** Reads what was written before; those with something in a session that are not known to be away were there when the gateway ended. */
  async open(withSession: ReadonlySet<string>): Promise<void> {
    for await (const key of this.#level.keys({ gte: 'away:', lt: 'away;' })) {
      const since = Number((await this.#level.get(key)) ?? Number.NaN)
      const id = decodeURIComponent(key.slice('away:'.length))
      if (Number.isFinite(since)) this.#since.set(id, since)
      else await this.#level.del(key)
    }
    const others = [...withSession].filter((id) => !this.#since.has(id))
    await Promise.all(others.map((id) => this.#leave(id)))
    this.#timer = setInterval(() => void this.#look(), expiryInterval(this.#policy.sessionExpiry))
  }

  async back(clientId: string): Promise<void> {
    if (this.#since.delete(clientId)) await this.#level.del(keyOf(clientId))
  }

  /** A gateway that ends before this is written counts from its next start. */
  left(clientId: string): void {
    this.#leave(clientId).catch((error: unknown) => this.#policy.failed(error))
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #leave(clientId: string): Promise<void> {
    const now = Date.now()
    this.#since.set(clientId, now)
    await this.#level.put(keyOf(clientId), Buffer.from(String(now)))
  }

  async #look(): Promise<void> {
    const oldest = Date.now() - this.#policy.sessionExpiry
    const expired = [...this.#since].filter(([, since]) => since <= oldest).map(([id]) => id)
    if (expired.length === 0) return
    try {
      await Promise.all(expired.map((id) => Promise.all([this.back(id), this.#policy.forget(id)])))
      this.#policy.expired(expired.length)
    } catch (error) {
      this.#policy.failed(error)
    }
  }
}

const keyOf = (clientId: string): string => `away:${encodeURIComponent(clientId)}`

/** How many automatic answers one address has had lately: what stops a loop that no header betrays. */

const mostAddresses = 10_000

export class ReplyLimit {
  readonly #limit: number
  readonly #window: number
  readonly #now: () => number
  /** When each of the last answers went out. */
  readonly #answers = new Map<string, number[]>()

  constructor(limit: number, window: number, now: () => number = () => performance.now()) {
    this.#limit = limit
    this.#window = window
    this.#now = now
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#answers.size
  }

  /** Whether this address may have one more; if so it is counted. */
  take(address: string): boolean {
    const since = this.#now() - this.#window
    const recent = (this.#answers.get(address) ?? []).filter((time) => time > since)
    // Last in the order: the one that is forgotten first has waited longest.
    this.#answers.delete(address)
    const allowed = recent.length < this.#limit
    if (allowed) recent.push(this.#now())
    this.#answers.set(address, recent)
    for (const [oldest, times] of this.#answers) {
      if (this.#answers.size <= mostAddresses && (times.at(-1) ?? 0) > since) break
      this.#answers.delete(oldest)
    }
    return allowed
  }
}

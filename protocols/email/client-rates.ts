/** How much one client address may do: connections at once, new connections and messages a minute. */
import { isIPv6, type BlockList } from 'node:net'

export interface ClientLimits {
  readonly clients: number
  readonly connectionsPerMinute: number
  readonly messagesPerMinute: number
  readonly exempt: BlockList
}

interface Client {
  open: number
  connections: number
  messages: number
  /** When the two were last filled up. */
  filled: number
}

/** Addresses that are remembered; an attacker with more of them is not held by a limit for each. */
const mostAddresses = 10_000
const minute = 60_000
/** A full table is looked through no more often than this, in milliseconds. */
const sweepEvery = 1000

/** Token buckets that fill up evenly. An address is forgotten when it has no connection and its buckets are full. */
export class ClientRates {
  readonly #limits: ClientLimits
  readonly #now: () => number
  readonly #clients = new Map<string, Client>()
  /** Asked of every message, and dear to find out. */
  readonly #exempt = new Map<string, boolean>()
  #swept = -Infinity

  constructor(limits: ClientLimits, now: () => number = () => performance.now()) {
    this.#limits = limits
    this.#now = now
  }

  /** How many addresses are remembered. */
  get size(): number {
    this.#forget()
    return this.#clients.size
  }

  /** Whether one more connection may come; if so it is counted until `disconnected`. */
  connected(address: string): boolean {
    if (this.#isExempt(address)) return true
    const client = this.#client(address)
    if (client.open >= this.#limits.clients || client.connections < 1) return false
    client.open++
    client.connections--
    return true
  }

  disconnected(address: string): void {
    const client = this.#clients.get(keyOf(address))
    if (client && client.open > 0) client.open--
  }

  /** Whether one more message may come. */
  message(address: string): boolean {
    if (this.#isExempt(address)) return true
    const client = this.#client(address)
    if (client.messages < 1) return false
    client.messages--
    return true
  }

  #isExempt(address: string): boolean {
    const known = this.#exempt.get(address)
    if (known !== undefined) return known
    if (this.#exempt.size >= mostAddresses) this.#exempt.clear()
    const isExempt = this.#limits.exempt.check(plain(address), isIPv6(plain(address)) ? 'ipv6' : 'ipv4')
    this.#exempt.set(address, isExempt)
    return isExempt
  }

  #client(address: string): Client {
    const key = keyOf(address)
    const { connectionsPerMinute, messagesPerMinute } = this.#limits
    const found = this.#clients.get(key)
    if (found) {
      this.#fill(found)
      return found
    }
    if (this.#clients.size >= mostAddresses && this.#now() - this.#swept > sweepEvery) this.#forget()
    const oldest = this.#clients.size >= mostAddresses ? this.#clients.keys().next().value : undefined
    if (oldest !== undefined) this.#clients.delete(oldest)
    const client = { open: 0, connections: connectionsPerMinute, messages: messagesPerMinute, filled: this.#now() }
    this.#clients.set(key, client)
    return client
  }

  #fill(client: Client): void {
    const { connectionsPerMinute, messagesPerMinute } = this.#limits
    const share = (this.#now() - client.filled) / minute
    client.connections = Math.min(connectionsPerMinute, client.connections + share * connectionsPerMinute)
    client.messages = Math.min(messagesPerMinute, client.messages + share * messagesPerMinute)
    client.filled = this.#now()
  }

  #forget(): void {
    this.#swept = this.#now()
    const { connectionsPerMinute, messagesPerMinute } = this.#limits
    for (const [key, client] of this.#clients) {
      this.#fill(client)
      const isFull = client.connections >= connectionsPerMinute && client.messages >= messagesPerMinute
      if (client.open === 0 && isFull) this.#clients.delete(key)
    }
  }
}

/** An IPv4 peer of a socket that listens on IPv6 too. */
function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '')
}

/** One customer has a whole /64 of IPv6 addresses. */
function keyOf(address: string): string {
  const ip = plain(address)
  if (!isIPv6(ip)) return ip
  const [head = '', tail] = ip.replace(/%.*$/, '').split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length)
  return [...left, ...Array.from({ length: zeros }, () => '0'), ...right].slice(0, 4).join(':')
}

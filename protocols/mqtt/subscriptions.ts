/** What a client may get: the subscriptions that it was granted, and each message that Aedes is about to send it. */
import type { AedesPublishPacket, Subscription } from 'aedes'
import type { Rights } from './access.ts'
import type { Qos } from './scope.ts'
import { filterMatches, parseFilter, type FilterLevel } from './topic.ts'

export interface SubscriptionsHost {
  /** How many a client may have. */
  readonly max: number
  /** Known once the client has logged in. */
  rights(): Rights | undefined
  denied(filter: string, why: string): void
}

/** With what its types do not have: who published it. */
export type ForwardedPacket = AedesPublishPacket & { readonly clientId?: string }

interface Granted {
  readonly levels: readonly FilterLevel[]
  readonly qos: Qos
}

export class Subscriptions {
  readonly #host: SubscriptionsHost
  /** Both are made when they are needed: many clients only publish. */
  #granted: Map<string, Granted> | undefined
  #decided: WeakMap<Subscription, boolean> | undefined
  #lastForwarded = ''

  constructor(host: SubscriptionsHost) {
    this.#host = host
  }

  /** Whether the client gets this subscription, new or kept. Asked twice of one that is to be kept. */
  grants(subscription: Subscription): boolean {
    const decided = (this.#decided ??= new WeakMap())
    const before = decided.get(subscription)
    if (before !== undefined) return before
    const decision = this.#decide(subscription)
    decided.set(subscription, decision)
    return decision
  }

  has(filter: string): boolean {
    return this.#granted?.has(filter) ?? false
  }

  /** Whether it was there. */
  remove(filter: string): boolean {
    return this.#granted?.delete(filter) ?? false
  }

  /** What the client was granted, and still has. */
  get granted(): readonly { readonly topic: string; readonly qos: Qos }[] {
    return Array.from(this.#granted ?? [], ([topic, { qos }]) => ({ topic, qos }))
  }

  /** The QoS that this message goes out with: of those granted that take it the highest [MQTT-3.3.5-1], and none above its own. */
  qosFor({ topic, qos }: Pick<AedesPublishPacket, 'topic' | 'qos'>): Qos {
    return qos === 0 ? 0 : (Math.min(qos, this.#highestQos(topic) ?? qos) as Qos) // [MQTT-3.8.4-6]
  }

  /** Whether the client, which Aedes knows by this id, may have this message: what was sent to it alone, or is its own, always. */
  allows({ topic, clientId }: ForwardedPacket, id: string): boolean {
    return clientId === id || (this.#host.rights()?.mayRead(topic) ?? false)
  }

  /** Whether the client gets this message, which was published. */
  forwards(packet: ForwardedPacket, id: string): boolean {
    const { brokerCounter, brokerId } = packet
    // A message for several of the client's subscriptions: they are asked about one right after the other. What was
    // retained has no broker, and is asked about once.
    const name = brokerId ? `${brokerCounter} ${brokerId}` : ''
    if (name !== '' && name === this.#lastForwarded) return false
    if (!this.allows(packet, id)) return false
    this.#lastForwarded = name
    return true
  }

  #decide({ topic, qos }: Subscription): boolean {
    const { max } = this.#host
    const shared = topic.startsWith('$share/') // MQTT 5; Aedes would take it for a topic, and never match it
    const granted = (this.#granted ??= new Map())
    const full = granted.size >= max && !granted.has(topic)
    if (shared || full || !this.#host.rights()?.maySubscribe(topic)) {
      this.#host.denied(topic, full ? `the client has ${max} subscriptions` : 'a subscription was refused')
      return false
    }
    granted.set(topic, { levels: parseFilter(topic), qos })
    return true
  }

  #highestQos(topic: string): Qos | undefined {
    let highest: Qos | undefined
    for (const { levels, qos } of this.#granted?.values() ?? []) {
      if ((highest === undefined || qos > highest) && filterMatches(levels, topic)) highest = qos
    }
    return highest
  }
}

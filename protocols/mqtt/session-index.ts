/** Which kept sessions have which subscriptions. */
import { SubscriptionIndex, type KeptSubscription } from './subscription-index.ts'
import type { Qos } from './scope.ts'

export interface Subscription {
  readonly topic: string
  readonly qos: Qos
}

/**
 * What stands in a session that is there and has no subscriptions: Aedes takes no other for there [MQTT-3.2.2-2]. Nobody is
 * granted it.
 */
export const noSubscription: Subscription = { topic: 'none', qos: 0 }

/** What has become of a client's subscriptions. */
export interface SessionChange {
  readonly clientId: string
  /** New ones, or others than before. */
  readonly added?: readonly Subscription[]
  /** The filters of those that are gone; `true`: all. */
  readonly removed?: readonly string[] | true
}

export class SessionIndex {
  readonly #index = new SubscriptionIndex()
  readonly #subscriptions = new Map<string, Map<string, KeptSubscription>>()

  /** Of one client. */
  of(clientId: string): readonly Subscription[] {
    return Array.from(this.#subscriptions.get(clientId)?.values() ?? [], ({ topic, qos }) => ({ topic, qos }))
  }

  has(clientId: string): boolean {
    return this.#subscriptions.has(clientId)
  }

  get clients(): Iterable<string> {
    return this.#subscriptions.keys()
  }

  /** Those that a message on this topic is kept for: one for each client. */
  match(topic: string): KeptSubscription[] {
    return this.#index.match(topic)
  }

  /** Answers which of the filters to remove were there. */
  change({ clientId, added = [], removed = [] }: SessionChange): readonly string[] {
    const kept = this.#subscriptions.get(clientId) ?? new Map<string, KeptSubscription>()
    const gone = (removed === true ? [...kept.keys()] : removed).filter((filter) => kept.delete(filter))
    for (const filter of gone) this.#index.remove(clientId, filter)
    for (const { topic, qos } of added) {
      const subscription = { clientId, topic, qos }
      kept.set(topic, subscription)
      // Messages for a subscription of QoS 0 are not kept for a client that is away.
      if (qos > 0) this.#index.add(subscription)
      else this.#index.remove(clientId, topic)
    }
    if (kept.size > 0) this.#subscriptions.set(clientId, kept)
    else this.#subscriptions.delete(clientId)
    return gone
  }
}

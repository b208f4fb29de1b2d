/** Finds the kept subscriptions that take a topic, without asking the others. */
import type { Qos } from './scope.ts'

export interface KeptSubscription {
  readonly clientId: string
  readonly topic: string
  readonly qos: Qos
}

interface Node {
  readonly children: Map<string, Node>
  /** The subscriptions whose filter ends here, by client. */
  readonly subscriptions: Map<string, KeptSubscription>
}

const newNode = (): Node => ({ children: new Map(), subscriptions: new Map() })

/** A tree of topic levels; a client has at most one subscription for a filter. */
export class SubscriptionIndex {
  readonly #root = newNode()

  add(subscription: KeptSubscription): void {
    let node = this.#root
    for (const level of subscription.topic.split('/')) {
      const next = node.children.get(level) ?? newNode()
      node.children.set(level, next)
      node = next
    }
    node.subscriptions.set(subscription.clientId, subscription)
  }

  remove(clientId: string, filter: string): void {
    const levels = filter.split('/')
    const path = [this.#root]
    for (const level of levels) {
      const next = path.at(-1)?.children.get(level)
      if (!next) return
      path.push(next)
    }
    path.at(-1)?.subscriptions.delete(clientId)
    // What leads nowhere any more is taken away, from the end.
    for (let depth = levels.length; depth > 0; depth--) {
      const { children, subscriptions } = path[depth] as Node // one more than there are levels
      if (children.size > 0 || subscriptions.size > 0) return
      path[depth - 1]?.children.delete(levels[depth - 1] as string)
    }
  }

  /** One for each client, with the highest QoS of those that overlap, section 3.3.5. */
  match(topic: string): KeptSubscription[] {
    if (this.#root.children.size === 0) return []
    const found = new Map<string, KeptSubscription>()
    const levels = topic.split('/')
    const collect = ({ subscriptions }: Node) => {
      for (const subscription of subscriptions.values()) {
        const other = found.get(subscription.clientId)
        if (!other || other.qos < subscription.qos) found.set(subscription.clientId, subscription)
      }
    }
    const visit = (node: Node, depth: number) => {
      // [MQTT-4.7.2-1]
      const wild = depth > 0 || !topic.startsWith('$')
      const rest = wild ? node.children.get('#') : undefined
      if (rest) collect(rest)
      if (depth === levels.length) return collect(node)
      const literal = node.children.get(levels[depth] as string)
      if (literal) visit(literal, depth + 1)
      const any = wild ? node.children.get('+') : undefined
      if (any) visit(any, depth + 1)
    }
    visit(this.#root, 0)
    return [...found.values()]
  }
}

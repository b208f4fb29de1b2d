/** Messages that are kept for a client: how they differ from what was published, and which of the retained ones it gets. */
import type { StoredPacket } from './store.ts'
import { filterMatches, parseFilter } from './topic.ts'

/** What waits for a subscriber: whether it was also to be retained is nothing to it [MQTT-3.3.1-9]. */
export function forSubscriber(packet: StoredPacket): StoredPacket {
  return packet.retain ? { ...packet, retain: false } : packet
}

/** What comes out of a session: with DUP when it was sent before [MQTT-3.3.1-1], whatever its publisher said [MQTT-3.3.1-3]. */
export function fromSession(packet: StoredPacket): StoredPacket {
  return { ...packet, dup: packet.cmd === 'publish' && Boolean(packet.messageId) }
}

/** Each of these that a filter takes, once: for the packages a wildcard at the start takes `$` as well [MQTT-4.7.2-1]. */
export async function* retainedFor(
  filters: readonly string[],
  found: AsyncIterable<StoredPacket>,
): AsyncGenerator<StoredPacket> {
  const wanted = filters.map(parseFilter)
  const topics = new Set<string>()
  for await (const packet of found) {
    const { topic } = packet
    if (topics.has(topic) || !wanted.some((filter) => filterMatches(filter, topic))) continue
    topics.add(topic)
    yield packet
  }
}

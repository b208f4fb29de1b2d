/** Packet identifiers of what goes to a client with a session: one that is in use, since a connection before or now, is passed over. */

/** Of Aedes' client: what it gives to the next message. It begins anywhere, with each connection. */
interface Numbering {
  _nextId: number
}

const most = 65_535
const inUse = new WeakMap<object, Set<number>>()

/**
 * What waits in a session keeps its identifier [MQTT-4.4.0-1], and a new message with the same one would be taken for it, or be
 * deleted with it: from now on this client of Aedes gets only identifiers that nothing else has [MQTT-2.3.1-4].
 */
export function numberAnew(client: object): void {
  const used = new Set<number>()
  inUse.set(client, used)
  let next = (client as Numbering)._nextId
  Object.defineProperty(client, '_nextId', {
    get() {
      while (used.has(next) && used.size < most) next = (next % most) + 1
      return next
    },
    set(value: number) {
      next = value
    },
  })
}

/** For the next message to the client. */
export function nextIdentifier(client: object): number {
  const numbering = client as Numbering
  const next = numbering._nextId
  numbering._nextId = (next % most) + 1
  return next
}

/** A message goes to the client under this identifier. */
export function takeIdentifier(client: object, identifier: number | undefined): void {
  if (identifier === undefined) return
  const used = inUse.get(client) ?? new Set()
  inUse.set(client, used)
  used.add(identifier)
}

/** Whether something of a session was sent to the client under this identifier, and is not acknowledged. */
export function hasIdentifier(client: object, identifier: number | undefined): boolean {
  return identifier !== undefined && (inUse.get(client)?.has(identifier) ?? false)
}

/** The client has acknowledged it. */
export function freeIdentifier(client: object, identifier: number | undefined): void {
  if (identifier !== undefined) inUse.get(client)?.delete(identifier)
}

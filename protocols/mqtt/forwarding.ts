/** How messages leave for a client: those of QoS 0 as the same bytes for all who get them, in one piece and at once. */
import type { AedesPublishPacket, Client, PublishPacket } from 'aedes'
import type { Gate } from './gate.ts'

/** Calls `done` when the client has it, or does not get it. */
type Deliver = (packet: AedesPublishPacket, done: () => void) => void

/** What Aedes' client has beyond its types. */
export interface AedesClient extends Client {
  will: PublishPacket | null
  duplicates: object
  deliver0: Deliver
  deliverQoS: Deliver
  /** Calls `done` when the client has read, or is gone. */
  waitForDrain(done: () => void): void
}

export interface ForwardingHost {
  readonly gate: Gate
  /** Whether the client gets this message. */
  readonly forwards: (packet: AedesPublishPacket) => boolean
  /** The QoS that this message goes to the client with. */
  readonly qosFor: (packet: AedesPublishPacket) => AedesPublishPacket['qos']
  /** A PUBLISH of QoS 0 as bytes. */
  readonly framed: (packet: AedesPublishPacket) => Buffer
}

/**
 * Aedes writes a message a turn later, piece by piece. With QoS 0 it is written here instead, unless others that came before it are
 * still with Aedes: those it must not overtake.
 */
export function forwardTo(client: AedesClient, { gate, forwards, qosFor, framed }: ForwardingHost): void {
  const { deliver0, deliverQoS } = client
  let underway = 0
  const deliver = (by: Deliver, packet: AedesPublishPacket, done: () => void) => {
    underway++
    by(packet, () => {
      underway--
      done()
    })
  }
  client.deliver0 = (packet, done) => {
    if (underway > 0) return deliver(deliver0, packet, done)
    if (!forwards(packet) || gate.write(framed(packet))) return done()
    return client.waitForDrain(() => done())
  }
  client.deliverQoS = (packet, done) => {
    if (packet.qos > 0) packet.qos = qosFor(packet)
    if (packet.qos === 0) client.deliver0(packet, done)
    else deliver(deliverQoS, packet, done)
  }
}

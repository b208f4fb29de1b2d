/** How messages leave for a client: in one piece and at once, those of QoS 0 as the same bytes for all who get them. */
import type { AedesPublishPacket, Client, PublishPacket } from 'aedes'
import { publishFrame } from './frames.ts'
import type { Gate } from './gate.ts'
import { nextIdentifier } from './identifiers.ts'
import type { StoredPacket } from './store.ts'

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
  /** Notes in the session that this message is sent. */
  readonly sends: (packet: StoredPacket) => Promise<void>
  /** Resolves when the client has got what waited in its session, or is gone. */
  readonly caughtUp: () => Promise<void> | undefined
}

/**
 * Aedes writes a message a turn later, piece by piece, and does not keep one that was retained until it is acknowledged. Here it
 * is written at once, unless others that came before it wait for the session: those it must not overtake.
 */
export function forwardTo(client: AedesClient, host: ForwardingHost): void {
  const { gate, forwards, qosFor, framed, sends, caughtUp } = host
  const { deliver0 } = client
  let underway = 0
  const begin = (done: () => void) => {
    underway++
    return () => {
      underway--
      done()
    }
  }
  const write = (frame: Buffer, done: () => void) => {
    if (gate.write(frame)) done()
    else client.waitForDrain(() => done())
  }
  const end = (done: () => void, error: unknown) => {
    if (error) client.emit('error', error)
    done()
  }
  /** What was retained is of no broker, and in no session: it comes back from there with a name. */
  const keep = async (packet: AedesPublishPacket, done: () => void) => {
    await caughtUp()
    if (client.closed) done()
    else client.publish(packet, (error) => end(done, error))
  }
  client.deliver0 = (packet, done) => {
    if (underway > 0) deliver0(packet, begin(done))
    else if (forwards(packet)) write(framed(packet), done)
    else done()
  }
  client.deliverQoS = (packet, done) => {
    if (client.closed) return done()
    if (packet.qos > 0) packet.qos = qosFor(packet)
    const { qos } = packet
    if (qos === 0) return client.deliver0(packet, done)
    if (!packet.brokerId && !client.clean) return void keep(packet, done)
    if (!forwards(packet)) return done()
    const messageId = nextIdentifier(client)
    const frame = () => publishFrame(packet, qos, messageId)
    if (client.clean) return write(frame(), done)
    const ended = begin(done)
    sends({ ...packet, messageId } as StoredPacket).then(
      () => write(frame(), ended),
      (error: unknown) => end(ended, error),
    )
  }
}

/** What a client publishes, from Aedes asking about it until it is acknowledged: handled, then brokered, all in order. */
import type { PublishPacket } from 'aedes'
import { comesAgain } from './storing.ts'

type Done = (error?: Error | null) => void
type Brokered = (error?: Error) => void

/** Of Aedes. */
export interface InboundClient {
  readonly closed: boolean
  /** What the broker knows of it ends with the connection. */
  readonly clean: boolean
}

export interface InboundHost {
  readonly client: InboundClient
  /** Whether the client may publish this; a refusal is counted. */
  allowed(packet: PublishPacket): boolean
  /** Whether this message of QoS 2 was published before. Never rejects. */
  isRepeated(packet: PublishPacket): Promise<boolean>
  /** To the application; `done` is called once, when it was handled or has failed; or with `comesAgain`. */
  deliver(packet: PublishPacket, done: (error?: unknown) => void): void
  /** To the subscribers; `done` is called once, when they have it. */
  broker(packet: PublishPacket, done: Brokered): void
  /** PUBACK. */
  acknowledge(messageId: number): void
  /** A packet that counts in the gate is done with. */
  settled(bytes: number, qos: number): void
}

interface Entry {
  readonly packet: PublishPacket
  readonly qos: PublishPacket['qos']
  /** Aedes goes on with the packet; left out where it came past Aedes. */
  readonly done: Done | undefined
  /** Its turn may come: it was handled, is denied, or is a repetition. */
  ready: boolean
  /** It goes to nobody. */
  dropped: boolean
  /** Aedes finds out by itself that there is nothing to broker. */
  repeated: boolean
  /** Whether it is a repetition is being looked up. */
  unknown: boolean
  brokered: boolean
}

/**
 * Aedes acknowledges a message of QoS 1 before it stores and brokers it. Here it is told that it has none in hand, and the
 * acknowledgement is sent when everything is done.
 */
export class Inbound {
  readonly #host: InboundHost
  /** Not handed back to Aedes yet, in the order in which they came. */
  readonly #entries: Entry[] = []
  /** Those that the application does not have yet: one is being looked up, the others are behind it. */
  readonly #arriving: Entry[] = []
  /** Aedes is told to go on with it: except with QoS 2 it hands it back before it returns. */
  #handing: Entry | undefined
  /** Those with QoS 2 that Aedes goes on with. */
  #storing: Map<PublishPacket, Entry> | undefined
  /** Handed back with QoS 1, and not acknowledged yet. */
  readonly #unacknowledged: Entry[] = []
  /** How many with QoS 1 are handed back and not brokered. */
  #brokering = 0
  /** Messages of QoS 2 that the store does not know yet, by packet identifier. */
  #incomplete: Set<number> | undefined
  /** None may follow until this one is brokered. */
  #alone: Entry | undefined
  #arrived: (() => void) | undefined
  #going = false

  constructor(host: InboundHost) {
    this.#host = host
  }

  /**
   * `done` is called when it is this packet's turn; Aedes then hands it back to be brokered. Without one it came past Aedes,
   * which is only for QoS 0 and 1, and is brokered by the host.
   */
  publish(packet: PublishPacket, done?: Done): void {
    const entry = this.#enter(packet, done)
    if (!this.#host.allowed(packet)) {
      entry.dropped = true
      this.#ready(entry)
      return
    }
    if (packet.qos === 2) this.#lookUp(entry)
    this.#arrive(entry)
  }

  /** The client left without saying goodbye; this is what it wanted to be said then. */
  will(packet: PublishPacket, done: Done): void {
    this.#host.deliver(packet, () => done(null))
  }

  /** What Aedes hands back: undefined for what is not from `publish`. */
  handedBack(packet: PublishPacket): Returned | undefined {
    const entry = this.#handing?.packet === packet ? this.#handing : this.#storing?.get(packet)
    if (!entry) return undefined
    packet.qos = entry.qos
    return { dropped: entry.dropped, done: (error) => this.#brokered(entry, error) }
  }

  /** The client is gone. Resolves when the application has got everything. */
  async closed(): Promise<void> {
    if (this.#arriving.length === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#arrived = resolve
    await promise
  }

  #enter(packet: PublishPacket, done: Done | undefined): Entry {
    const entry: Entry = {
      packet,
      qos: packet.qos,
      done,
      ready: false,
      dropped: false,
      repeated: false,
      unknown: false,
      brokered: false,
    }
    this.#entries.push(entry)
    return entry
  }

  #arrive(entry: Entry): void {
    if (entry.unknown || this.#arriving.length > 0) this.#arriving.push(entry)
    else this.#deliver(entry)
  }

  /** [MQTT-4.3.3-2]: a repetition is acknowledged, and the application does not see it. */
  #lookUp(entry: Entry): void {
    const id = entry.packet.messageId ?? 0
    const incomplete = (this.#incomplete ??= new Set())
    if (incomplete.has(id)) {
      entry.repeated = true
      return
    }
    incomplete.add(id)
    entry.unknown = true
    void this.#host.isRepeated(entry.packet).then((repeated) => {
      entry.unknown = false
      entry.repeated = repeated
      if (repeated) incomplete.delete(id)
      while (this.#arriving[0] && !this.#arriving[0].unknown) this.#deliver(this.#arriving.shift() as Entry) // just seen
      if (this.#arriving.length === 0) this.#arrived?.()
    })
  }

  #deliver(entry: Entry): void {
    if (entry.repeated) this.#ready(entry)
    else {
      this.#host.deliver(entry.packet, (error) => {
        entry.dropped = error === comesAgain
        this.#ready(entry)
      })
    }
  }

  #ready(entry: Entry): void {
    entry.ready = true
    this.#goOn()
  }

  /** [MQTT-4.6.0-6] */
  #goOn(): void {
    // Who is brokered at once comes back here: one inside the other, a whole window of them would be a deep stack.
    if (this.#going) return
    this.#going = true
    try {
      const entries = this.#entries
      for (let next = entries[0]; next?.ready && !this.#mustWait(next); next = entries[0]) {
        entries.shift()
        this.#handBack(next)
      }
    } finally {
      this.#going = false
    }
  }

  /** What is stored for nobody would overtake what is. */
  #mustWait({ qos, dropped }: Entry): boolean {
    return this.#alone !== undefined || (qos === 0 && !dropped && this.#brokering > 0)
  }

  #handBack(entry: Entry): void {
    const { packet, qos, done } = entry
    const { client } = this.#host
    if (entry.repeated) {
      this.#host.settled(packet.length ?? 0, qos)
      return done?.(null)
    }
    // What Aedes stores before it brokers it would be overtaken by what comes after it.
    if (qos === 2 || packet.retain) this.#alone = entry
    if (qos === 1) {
      this.#unacknowledged.push(entry)
      this.#brokering++
    }
    if (!done) {
      if (entry.dropped) return this.#brokered(entry, undefined)
      return this.#host.broker(packet, (error) => this.#brokered(entry, error))
    }
    // With QoS 0 Aedes brokers it, and leaves the rest to us. Of a client that is gone it would not even do that. And what was
    // dropped is not to be known when it comes again.
    if (qos === 1 || (qos === 2 && client.closed && (client.clean || entry.dropped))) packet.qos = 0
    if (packet.qos === 2) (this.#storing ??= new Map()).set(packet, entry)
    const before = this.#handing
    this.#handing = entry
    done(null)
    this.#handing = before
  }

  #brokered(entry: Entry, error: unknown): void {
    const { packet, qos } = entry
    if (qos === 2) this.#storing?.delete(packet)
    // With an error Aedes closes the connection, and the client will try again.
    if (qos === 1 && !error) this.#acknowledge(entry)
    else if (qos === 2) this.#incomplete?.delete(packet.messageId ?? 0)
    this.#host.settled(packet.length ?? 0, qos)
    if (qos === 1) this.#brokering--
    if (this.#alone === entry) this.#alone = undefined
    this.#goOn()
  }

  /** In the order in which they came [MQTT-4.6.0-2]. */
  #acknowledge(entry: Entry): void {
    entry.brokered = true
    const waiting = this.#unacknowledged
    while (waiting[0]?.brokered) this.#host.acknowledge(waiting.shift()?.packet.messageId ?? 0)
  }
}

interface Returned {
  /** It is not to be brokered. */
  readonly dropped: boolean
  /** To be called when it was brokered, or dropped. */
  readonly done: Done
}

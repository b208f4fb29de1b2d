/** What of a client's packets has passed its gate and is not done with: how much that may be, and what waits for it. */
import { packetType, packetTypes, qosOf, remainingLength } from './packet.ts'

export interface WindowLimits {
  /** Packets of a client that may be with the application and the broker at a time; the others wait. */
  readonly window: number
  readonly maxPacketSize: number
}

export class Window {
  readonly #limits: WindowLimits
  #packets = 0
  #bytes = 0
  #exactlyOnce = 0
  /** Those of `#changeType`, SUBSCRIBE or UNSUBSCRIBE, that the broker is busy with. */
  #changes = 0
  #changeType = 0

  constructor(limits: WindowLimits) {
    this.#limits = limits
  }

  /** How many packets are not done with. */
  get size(): number {
    return this.#packets
  }

  /** Whether this packet may pass now. */
  admits(packet: Buffer): boolean {
    const { window, maxPacketSize } = this.#limits
    const type = packetType(packet)
    switch (type) {
      case packetTypes.publish:
        if (this.#packets > 0 && this.#bytes + packet.length > maxPacketSize) return false
        return this.#packets < window
      case packetTypes.subscribe:
      case packetTypes.unsubscribe:
        // Either takes Aedes longer than the other now and then: the last word would not count.
        return this.#packets < window && (this.#changes === 0 || this.#changeType === type)
      case packetTypes.pubrel:
        // What it releases has to be stored before.
        return this.#exactlyOnce === 0
      default:
        return true
    }
  }

  /** It passes. */
  add(packet: Buffer): void {
    const type = packetType(packet)
    if (type === packetTypes.publish) {
      this.#packets++
      this.#bytes += remainingLength(packet)
      if (qosOf(packet) === 2) this.#exactlyOnce++
    } else if (type === packetTypes.subscribe || type === packetTypes.unsubscribe) {
      this.#packets++
      this.#changes++
      this.#changeType = type
    }
  }

  /** The broker is done with a SUBSCRIBE or UNSUBSCRIBE. */
  changed(): void {
    this.#changes--
  }

  /** All are done with a packet; of a PUBLISH its remaining length and QoS. */
  remove(bytes: number, qos: number): void {
    this.#packets--
    this.#bytes -= bytes
    if (qos === 2) this.#exactlyOnce--
  }
}

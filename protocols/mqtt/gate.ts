/** Stands between a client's socket and Aedes: frames and checks packets, keeps their order, and holds back what is too much. */
import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import type { PublishPacket } from 'aedes'
import { reason } from '../../src/runtime/errors.ts'
import { Framer, joined } from './framer.ts'
import { Outlet } from './outlet.ts'
import {
  checkPacket,
  packetType,
  packetTypes,
  parsePublish,
  parseSubscribe,
  ProtocolViolation,
  qosOf,
  type PacketLimits,
  type SubscribePacket,
} from './packet.ts'
import { Window, type WindowLimits } from './window.ts'

export interface GateLimits extends PacketLimits, WindowLimits {
  /** How long a DISCONNECT waits for what was published before it, in milliseconds. */
  readonly disconnectTimeout: number
  /** How long a client may leave what it is sent unread, in milliseconds. */
  readonly drainTimeout: number
}

/** Why a connection ended; what `mqtt.disconnect` says. */
export type EndReason = 'disconnect' | 'keepalive' | 'takeover' | 'error' | 'closed' | 'shutdown'

/** Where packets go that Aedes does not get: it would parse them again, and acknowledge them too early, or not completely. */
export interface ClientPackets {
  /** With QoS 0 or 1. */
  published(packet: PublishPacket): void
  subscribes(packet: SubscribePacket): void
}

/** Of the packets that wait, beside one that has not come completely; then the socket is paused. */
const backlogLimit = { bytes: 64 * 1024, packets: 1024 }
/** A packet that is long in coming counts as a sign of life every so many bytes. */
const signOfLife = 1024
const pingResponse = Buffer.from([0xd0, 0])

/** Packets that Aedes has not read; then no more pass. */
const readLimit = 64 * 1024

/**
 * What Aedes takes for a stream, to read and to write. It does both at once, without the buffers and states of streams: what
 * passes waits in one piece until it is read, and what is written goes to the outlet, which collects the pieces of a turn.
 * Publishes of QoS 0 and 1, and SUBSCRIBE, do not pass through Aedes' parser, but in the same order. At most `window` packets have passed and
 * are not `settled()`; the others wait here, in order, and when enough wait the socket is paused. PINGREQ is answered from
 * here, past all that waits: a slow application costs no client its connection.
 */
export class Gate extends EventEmitter {
  /** Who ended the connection, as far as it can be told from here. */
  reason: EndReason = 'closed'
  destroyed = false
  /** Known before a client is let in. */
  packets: ClientPackets | undefined
  readonly #source: Duplex
  readonly #limits: GateLimits
  readonly #framer: Framer
  readonly #outlet: Outlet
  #stage: 'connect' | 'connecting' | 'open' | 'draining' = 'connect'
  readonly #waiting: Buffer[] = []
  #waitingBytes = 0
  /** DISCONNECT has come: nothing after it counts. */
  #sealed = false
  /** What is wrong with the packet that follows those that wait. */
  #violation: { readonly error: unknown } | undefined
  #sourceEnded = false
  readonly #window: Window
  /** Aedes waits until the client has read. */
  #owesDrain = false
  /** What has passed and is not read. */
  #unread: Buffer | undefined
  #pumping = false
  #disconnectTimer: NodeJS.Timeout | undefined
  #disconnectLate = false
  #drainTimer: NodeJS.Timeout | undefined
  #keepaliveTimer: NodeJS.Timeout | undefined
  #lastSign = 0
  #bytesSinceSign = 0
  #idle: (() => void) | undefined

  constructor(source: Duplex, limits: GateLimits) {
    super()
    this.#source = source
    this.#limits = limits
    this.#framer = new Framer(limits.maxPacketSize)
    this.#window = new Window(limits)
    this.#outlet = new Outlet(source, () => this.#onRoom())
    source.on('data', (chunk: Buffer) => this.#onData(chunk))
    source.on('end', () => this.#onEnd())
    source.on('close', () => this.#onEnd())
    source.on('error', () => this.#onSourceError())
  }

  /** How many bytes have come from the client and have not passed. */
  get heldBytes(): number {
    return this.#waitingBytes + this.#framer.buffered
  }

  /** How many bytes wait for the client to read them. */
  get writableLength(): number {
    return this.#outlet.waiting
  }

  /** How many packets have passed and are not settled. */
  get unsettled(): number {
    return this.#window.size
  }

  /**
   * CONNACK is on its way: what follows CONNECT may pass. A client that gives no sign of life for `silence` milliseconds is
   * cut; 0 waits for ever.
   */
  accept(silence: number): void {
    if (this.destroyed || this.#stage !== 'connecting') return
    this.#stage = 'open'
    if (silence > 0) this.#watch(silence)
    // Later: Aedes calls while it is still busy with CONNECT.
    process.nextTick(() => this.#pump())
  }

  /** PUBACK: a packet of its own, in no order with what Aedes writes. */
  acknowledge(messageId: number): void {
    if (!this.destroyed) this.#outlet.acknowledge(messageId)
  }

  /** A packet that has passed is done with; of a PUBLISH its remaining length and QoS. */
  settled(bytes = 0, qos = 0): void {
    this.#window.remove(bytes, qos)
    if (this.unsettled === 0) this.#idle?.()
    this.#pump()
  }

  /** The client's subscriptions are what a SUBSCRIBE or UNSUBSCRIBE that has passed says; it is not settled yet. */
  changed(): void {
    this.#window.changed()
    this.#pump()
  }

  /** Lets nothing more pass. Resolves when all that has passed is settled, or the connection is gone. */
  drain(): Promise<void> {
    this.#stage = 'draining'
    this.#source.pause()
    if (this.unsettled === 0 || this.destroyed) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#idle = resolve
    this.once('close', resolve)
    return promise
  }

  /** Closes the connection; the reason that is given first stays. A turn later, as of streams, comes 'close'. */
  cut(reason: EndReason, error?: Error): void {
    if (this.destroyed) return
    this.reason = reason
    this.destroyed = true
    for (const timer of [this.#disconnectTimer, this.#drainTimer, this.#keepaliveTimer]) clearTimeout(timer)
    this.#waiting.length = 0
    this.#waitingBytes = 0
    this.#unread = undefined
    this.#outlet.close(reason === 'disconnect')
    process.nextTick(sayClosed, this, error)
  }

  /** For Aedes. */
  destroy(error?: Error): void {
    this.cut(error ? 'error' : this.reason, error)
  }

  /** All that has passed; null when there is nothing. */
  read(): Buffer | null {
    const unread = this.#unread
    if (!unread) return null
    this.#unread = undefined
    // Later: what passes then is read after this.
    if (unread.length >= readLimit) process.nextTick(() => this.#pump())
    return unread
  }

  /** Pieces of packets, from Aedes. False: the client does not read; 'drain' follows when it has, or is gone. */
  write(piece: Uint8Array | string): boolean {
    if (this.destroyed) return true
    this.#outlet.write(piece)
    if (!this.#outlet.isClogged) return true
    this.#owesDrain = true
    return false
  }

  /** It has read. */
  #onRoom(): void {
    if (this.#owesDrain && !this.#outlet.isClogged) {
      this.#owesDrain = false
      this.emit('drain')
    }
    this.#pump()
  }

  #onData(chunk: Buffer): void {
    if (this.destroyed || this.#sealed || this.#violation) return
    this.#framer.put(chunk)
    this.#bytesSinceSign += chunk.length
    if (this.#bytesSinceSign >= signOfLife) this.#sign()
    this.#pump()
  }

  #onEnd(): void {
    if (this.#sourceEnded) return
    this.#sourceEnded = true
    this.#pump()
  }

  #onSourceError(): void {
    // Who has said goodbye may leave as it likes: what it published before is handled all the same.
    if (this.#sealed) this.#onEnd()
    else this.cut('closed')
  }

  #violated(error: unknown): void {
    if (error instanceof ProtocolViolation && error.returnCode !== undefined && this.#stage === 'connect') {
      this.write(Buffer.from([0x20, 2, 0, error.returnCode]))
    }
    this.cut('error', Error.isError(error) ? error : new ProtocolViolation(reason(error)))
  }

  #sign(): void {
    this.#bytesSinceSign = 0
    if (this.#keepaliveTimer) this.#lastSign = performance.now()
  }

  /** [MQTT-3.1.2-24], with one exception: a client whose packets wait because of us is not silent. */
  #watch(silence: number): void {
    this.#lastSign = performance.now()
    const look = () => {
      if (this.destroyed) return
      if (this.#source.isPaused() && !this.#outlet.isClogged) this.#sign()
      const left = silence - (performance.now() - this.#lastSign)
      if (left > 0) lookAfter(left)
      else this.cut('keepalive', new Error('no sign of life within one and a half times the keep alive'))
    }
    // A turn later: what came while this process stood still is heard first.
    const lookAfter = (wait: number) => (this.#keepaliveTimer = setTimeout(() => setImmediate(look), Math.ceil(wait)))
    lookAfter(silence)
  }

  // To Aedes and the session.

  /** Frames what has come and hands on what may pass, until neither goes any further. */
  #pump(): void {
    if (this.#pumping || this.destroyed) return
    this.#pumping = true
    try {
      do this.#frame()
      while (this.#pass() && !this.destroyed)
    } catch (error) {
      this.#violated(error)
    } finally {
      this.#pumping = false
    }
    if (this.destroyed) return
    if (this.#waiting.length > 0) return this.#regulate()
    // Whoever is about to be let in hears CONNACK first.
    if (this.#violation && this.#stage !== 'connecting') return this.#violated(this.#violation.error)
    if (this.#sourceEnded && !this.#sealed) return this.cut(this.reason)
    this.#regulate()
  }

  /** Cuts what has come into packets, and looks at each. */
  #frame(): void {
    while (!this.#sealed && !this.#violation && !this.#isBacklogFull()) {
      const packet = this.#next()
      if (!packet) return
      if (this.#bytesSinceSign > 0) this.#sign()
      const type = packetType(packet)
      if (type === packetTypes.pingreq && this.#stage === 'open') {
        // [MQTT-3.12.4-1]. To a client that does not read, one answer less makes no difference.
        if (!this.#outlet.isClogged) this.write(pingResponse)
        continue
      }
      this.#waiting.push(packet)
      this.#waitingBytes += packet.length
      this.#sealed = type === packetTypes.disconnect // [MQTT-3.14.4-2]
    }
  }

  #next(): Buffer | undefined {
    try {
      const packet = this.#framer.next()
      if (packet) checkPacket(packet, this.#limits)
      return packet
    } catch (error) {
      this.#violation = { error }
      return undefined
    }
  }

  #isBacklogFull(): boolean {
    return this.#waitingBytes >= backlogLimit.bytes || this.#waiting.length >= backlogLimit.packets
  }

  /** Whether anything passed. */
  #pass(): boolean {
    const waiting = this.#waiting
    let passed = 0
    /** From here on they are for Aedes. */
    let start = 0
    for (let packet = waiting[0]; packet && this.#mayPass(packet); packet = waiting[passed]) {
      this.#note(packet)
      passed++
      const type = packetType(packet)
      const isPublish = type === packetTypes.publish && qosOf(packet) !== 2
      if (!isPublish && type !== packetTypes.subscribe) continue
      // In order with what Aedes is to parse. Either may close the connection.
      this.#hand(start, passed - 1)
      if (this.destroyed) return true
      if (isPublish) this.packets?.published(parsePublish(packet))
      else this.packets?.subscribes(parseSubscribe(packet))
      if (this.destroyed) return true
      start = passed
    }
    if (passed === 0) return false
    this.#hand(start, passed)
    if (passed === waiting.length) waiting.length = 0
    else waiting.splice(0, passed)
    return true
  }

  /** Aedes reads those that wait from `start` to before `end`. */
  #hand(start: number, end: number): void {
    if (start === end) return
    const packets = joined(this.#waiting, start, end)
    this.#unread = this.#unread ? Buffer.concat([this.#unread, packets]) : packets
    // Aedes holds 'readable' events against the packets it is busy with, and reads when they are even. It is to read now:
    // how much it is busy with is decided here.
    for (let tries = 0; tries <= this.#limits.window && this.#unread; tries++) this.emit('readable')
  }

  #mayPass(packet: Buffer): boolean {
    if (this.#stage === 'connect') return true
    if (this.#stage !== 'open' || this.#outlet.isClogged) return false
    if (this.#unread && this.#unread.length >= readLimit) return false
    return packetType(packet) === packetTypes.disconnect ? this.#mayDisconnect() : this.#window.admits(packet)
  }

  /** What a client published before it said goodbye is handled before its application hears of that. */
  #mayDisconnect(): boolean {
    if (this.unsettled === 0 || this.#disconnectLate) return true
    this.#disconnectTimer ??= setTimeout(() => {
      this.#disconnectLate = true
      this.#pump()
    }, this.#limits.disconnectTimeout)
    return false
  }

  /** Keeps the books on a packet that passes. */
  #note(packet: Buffer): void {
    this.#waitingBytes -= packet.length
    this.#window.add(packet)
    const type = packetType(packet)
    if (type === packetTypes.disconnect) this.reason = 'disconnect'
    if (type !== packetTypes.connect) return
    // Aedes closes the connection of a second one [MQTT-3.1.0-2].
    if (this.#stage === 'connect') this.#stage = 'connecting'
    else this.reason = 'error'
  }

  #regulate(): void {
    const { isClogged } = this.#outlet
    this.#expectDrain(isClogged)
    const pause = this.#stage === 'draining' || this.#violation !== undefined || isClogged || this.#isBacklogFull()
    if (pause === this.#source.isPaused()) return
    if (pause) this.#source.pause()
    else {
      this.#sign()
      this.#source.resume()
    }
  }

  /** Aedes waits for a client to read what it has written itself; of acknowledgements it knows nothing. */
  #expectDrain(isClogged: boolean): void {
    if (isClogged)
      this.#drainTimer ??= setTimeout(() => this.cut('error', new Error('drain timeout')), this.#limits.drainTimeout)
    else if (this.#drainTimer) {
      clearTimeout(this.#drainTimer)
      this.#drainTimer = undefined
    }
  }
}

function sayClosed(gate: Gate, error: Error | undefined): void {
  if (error && gate.listenerCount('error') > 0) gate.emit('error', error)
  // Who waits for the end of a stream takes one that closes without it for broken, and makes an error of that.
  gate.emit('end')
  gate.emit('close')
}

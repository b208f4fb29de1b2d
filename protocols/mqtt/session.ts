/** One client's connection: what the gate, Aedes and the application's instances have to do with each other. */
import { hash, randomUUID } from 'node:crypto'
import type { AedesPublishPacket, Client, ConnectPacket, PublishPacket, Subscription } from 'aedes'
import { reason } from '../../src/runtime/errors.ts'
import { returnCodes, type ReturnCode, type Rights } from './access.ts'
import { unfit } from './admission.ts'
import { CatchUp } from './catch-up.ts'
import type { ClientPackets, Gate } from './gate.ts'
import { forwardTo, type AedesClient } from './forwarding.ts'
import { subackFrame } from './frames.ts'
import { numberAnew } from './identifiers.ts'
import { Inbound, type InboundHost } from './inbound.ts'
import { Instances, type PublishDraft } from './instances.ts'
import { keepScope } from './left-will.ts'
import type { SubscribePacket } from './packet.ts'
import type { MqttPublishSend, MqttScope, Qos } from './scope.ts'
import { packetOf } from './send.ts'
import type { SessionContext } from './session-context.ts'
import type { SlotOptions } from './slot.ts'
import { Subscriptions, type ForwardedPacket } from './subscriptions.ts'
import { topicProblem } from './topic.ts'

/** The two ends of the connection, as scopes have them. */
export type Peers = Pick<MqttScope, 'client' | 'server'>

export class Session implements ClientPackets {
  readonly gate: Gate
  readonly inbound: Inbound
  readonly subscriptions: Subscriptions
  /** Resolves when its instances have ended. */
  readonly over: Promise<void>
  readonly #context: SessionContext
  readonly #client: AedesClient
  readonly peers: Peers
  readonly #over = Promise.withResolvers<void>()
  /** CONNACK was sent, or will not be. */
  #isAnswered = false
  #answered: PromiseWithResolvers<void> | undefined
  /** The store is told that the client is here. */
  #claiming: Promise<void> | undefined
  /** Of a client with a session. */
  #catchUp: CatchUp | undefined
  #protocolVersion = 4
  #will: ConnectPacket['will']
  #clientId = ''
  #keepalive = 0
  #rights: Rights | undefined
  #instances: Instances | undefined
  #registered = false
  #failed = false
  #denied = 0

  constructor(gate: Gate, client: Client, peers: Peers, context: SessionContext) {
    this.gate = gate
    this.over = this.#over.promise
    this.#client = client as AedesClient
    // Aedes takes a message for a repetition when a later one was forwarded before it, which happens when it had to be
    // stored, and would lose it. `Subscriptions` knows better.
    this.#client.duplicates = noDuplicates
    forwardTo(this.#client, {
      gate,
      framed: context.framed,
      forwards: (packet) => this.forwards(packet),
      qosFor: (packet) => (this.#catchUp?.isDelivering(packet) ? packet.qos : this.subscriptions.qosFor(packet)),
      sends: (packet) => context.store.outgoingUpdate(client, packet),
      caughtUp: () => this.#catchUp?.over,
    })
    gate.packets = this
    this.peers = peers
    this.#context = context
    this.inbound = new Inbound(this.#inboundHost())
    this.subscriptions = new Subscriptions({
      max: context.limits.maxSubscriptions,
      rights: () => this.#rights,
      denied: (filter, why) => this.#deny(filter, why),
    })
    gate.once('close', () => {
      this.#catchUp?.close()
      this.#answer()
      // Aedes has more to do for one that is registered, and calls `unregistered` when it is done.
      if (!this.#registered) void this.#end()
    })
  }

  // The connection.

  /** CONNECT has come. Aedes goes on with what is in the packet afterwards. */
  connecting(packet: ConnectPacket): void {
    this.#protocolVersion = packet.protocolVersion ?? 4
    this.#will = packet.will
    this.#clientId = packet.clientId || (packet.clean ? `signalbox-${randomUUID()}` : '') // [MQTT-3.1.3-6]
    this.#keepalive = packet.keepalive ?? 0
    // A client id is its user's own: nobody else ends this connection with it, or gets its messages.
    packet.clientId = `${encodeURIComponent(this.#context.access.identity(packet.username))}/${this.#clientId}`
    // The gate watches instead: it knows when it is we who do not read.
    packet.keepalive = 0
  }

  /** How to refuse the client; undefined: it may come in, or it has left. */
  async authenticate(username: string | undefined, password: Buffer | undefined): Promise<ReturnCode | undefined> {
    const { access, log } = this.#context
    const who = { clientId: this.#clientId, client: this.peers.client?.[0], username }
    const refusal = this.#unfit()
    if (refusal) {
      log.warn({ ...who, why: refusal.why }, 'an MQTT client was refused')
      return refusal.code
    }
    const rights = await access.logIn(this.#clientId, username, password)
    if (typeof rights === 'number') {
      log.warn(who, 'an MQTT login was refused')
      return rights
    }
    const will = this.#will
    // A will that may not be published is refused while there is somebody to tell.
    if (will && (topicProblem(will.topic, this.#context.limits) ?? !rights.mayPublish(will.topic))) {
      log.warn({ ...who, topic: will.topic }, 'an MQTT client was refused for the topic of its will')
      return returnCodes.notAuthorized
    }
    this.#rights = rights
    // Others may have come in while the password was looked at.
    const crowded = this.#unfit()
    if (crowded) return crowded.code
    if (!(await this.#takeOver())) return undefined
    if (!this.#client.clean) {
      numberAnew(this.#client)
      this.#beginCatchUp()
    }
    return this.#ask(rights)
  }

  /** CONNACK is on its way. */
  accepted(): void {
    this.gate.accept(this.#keepalive * 1500) // [MQTT-3.1.2-24]
    this.#answer()
  }

  #answer(): void {
    this.#isAnswered = true
    this.#answered?.resolve()
  }

  registered(): void {
    this.#registered = true
  }

  /** Aedes has read its session. */
  ready(): void {
    this.#catchUp?.end()
  }

  /** Aedes has let go of the client. */
  unregistered(): void {
    void this.#end()
  }

  /** Aedes gave the connection up; it says so again for everything that was still under way. */
  failed(error: Error): void {
    if (this.#failed) return
    this.#failed = true
    const fields = { clientId: this.#clientId, client: this.peers.client?.[0] }
    const { log } = this.#context
    const message = `an MQTT connection ended: ${error.message}`
    if (this.gate.reason === 'error' || this.gate.reason === 'keepalive') log.info(fields, message)
    else log.debug(fields, message)
  }

  /** Ends the connection without publishing the will. */
  shutDown(): void {
    this.#client.will = null
    this.gate.cut('shutdown')
  }

  // What the client subscribes to.

  /** Aedes would answer once for a filter that is there twice. */
  subscribes({ messageId, subscriptions }: SubscribePacket): void {
    this.#client.subscribe({ subscriptions: [...subscriptions] }, (error) => {
      if (error) return void this.#client.emit('error', error)
      const codes = subscriptions.map(({ topic, qos }) => (this.subscriptions.has(topic) ? qos : 0x80))
      this.gate.write(subackFrame(messageId, codes)) // [MQTT-3.9.3-1]
    })
  }

  subscribed(subscriptions: readonly Subscription[]): void {
    const granted = subscriptions.filter(({ qos }) => (qos as number) !== 0x80)
    this.#tell(granted, ({ topic, qos }, done) => this.#instances?.subscribe(topic, qos, done))
    this.gate.changed()
  }

  unsubscribed(filters: readonly string[]): void {
    // Aedes says so as well when a client leaves.
    if (this.#client.closed) return
    const known = filters.filter((filter) => this.subscriptions.remove(filter))
    this.#tell(known, (filter, done) => this.#instances?.unsubscribe(filter, done))
    this.gate.changed()
  }

  /** A packet counts in the gate until the application knows of all that was in it. */
  #tell<T>(items: readonly T[], tell: (item: T, done: () => void) => void): void {
    let left = items.length
    if (left === 0) this.gate.settled()
    for (const item of items) tell(item, () => --left === 0 && this.gate.settled())
  }

  #deny(topic: string, message: string): void {
    this.#denied++
    const loud = /^10*$/.test(String(this.#denied))
    const fields = { clientId: this.#clientId, username: this.#rights?.username, topic, denied: this.#denied }
    // The first, the tenth, the hundredth: who tries for ever does not fill the log.
    if (loud) this.#context.log.warn(fields, message)
    else this.#context.log.debug(fields, message)
  }

  // Connecting, step by step.

  #unfit(): ReturnType<typeof unfit> {
    return unfit({ clientId: this.#clientId, keepalive: this.#keepalive, id: this.#client.id }, this.#context)
  }

  /** [MQTT-3.1.4-2]: ends the client's other connection; its application hears of that before it hears of this one. */
  async #takeOver(): Promise<boolean> {
    const { sessions, store } = this.#context
    const { id } = this.#client
    for (let other = sessions.get(id); other; other = sessions.get(id)) {
      other.gate.cut('takeover')
      await other.over
    }
    if (this.gate.destroyed) return false
    sessions.set(id, this)
    this.#claiming = store.claim(id)
    await this.#claiming
    return !this.gate.destroyed
  }

  async #ask(rights: Rights): Promise<ReturnCode | undefined> {
    const { instances } = this.#context
    const scope = this.#scope(rights)
    if (this.#will) keepScope(this.#will, scope)
    const close = () => this.gate.cut('closed')
    this.#instances = new Instances(scope, { ...instances, close, publish: (event) => this.#send(event) })
    const answer = await this.#instances.connect()
    if (answer === 'accepted') return undefined
    return answer === 'refused' ? returnCodes.notAuthorized : returnCodes.unavailable
  }

  #scope({ username }: Rights): Parameters<SlotOptions['services']['open']>[0] {
    return {
      type: 'mqtt',
      ...this.peers,
      clientId: this.#clientId,
      username,
      protocolVersion: this.#protocolVersion,
      clean: this.#client.clean,
      keepalive: this.#keepalive,
    }
  }

  async #end(): Promise<void> {
    await this.inbound.closed()
    await this.#instances?.end(this.gate.reason)
    const { sessions, store } = this.#context
    const { id } = this.#client
    if (sessions.get(id) === this) {
      // Whoever comes next comes after this.
      await this.#claiming?.catch(() => undefined) // whoever waits for it hears of it
      sessions.delete(id)
      store.release(id)
    }
    this.#over.resolve()
  }

  // Messages.

  /** What the client publishes with QoS 0 and 1. */
  published(packet: PublishPacket): void {
    try {
      this.inbound.publish(packet)
    } catch (error) {
      this.#context.log.error({ err: error }, 'an MQTT packet could not be dealt with')
      this.gate.cut('error', Error.isError(error) ? error : new Error(reason(error)))
    }
  }

  /** Whether the client gets this message now. */
  forwards(packet: ForwardedPacket): boolean {
    const { unreadLimit } = this.#context
    if (unreadLimit !== undefined && this.gate.writableLength > unreadLimit) {
      // What it has not acknowledged waits for it in its session.
      this.gate.cut('closed', new Error(`it does not read the ${unreadLimit} bytes that wait for it`))
    }
    const catchUp = this.#catchUp
    if (catchUp?.isDelivering(packet)) return true
    if (!catchUp || packet.messageId === undefined)
      return this.subscriptions.forwards(packet, this.#client.id) && !catchUp?.keepsBack(packet)
    // One with a packet identifier comes from the session, and is deleted there when it is not sent.
    if (!this.subscriptions.allows(packet, this.#client.id)) return false
    packet.qos = this.#qosOfKept(packet)
    catchUp.read(packet)
    return true
  }

  /** Reads the session again: there may be what did not come otherwise. */
  async catchUp(waiting: AsyncIterable<AedesPublishPacket>): Promise<void> {
    const catchUp = this.#beginCatchUp()
    try {
      for await (const packet of waiting) {
        const { cmd, messageId } = packet as { readonly cmd: string; readonly messageId?: number }
        // One with a packet identifier was sent.
        if (cmd !== 'publish' || messageId) continue
        if (!this.subscriptions.forwards(packet, this.#client.id)) continue
        packet.qos = this.#qosOfKept(packet)
        catchUp.resend(packet)
      }
    } finally {
      catchUp.end()
    }
  }

  /** It is kept until it is acknowledged, whatever the client has subscribed to since. */
  #qosOfKept(packet: AedesPublishPacket): Qos {
    return Math.max(this.subscriptions.qosFor(packet), 1) as Qos
  }

  #beginCatchUp(): CatchUp {
    this.#catchUp ??= new CatchUp({
      deliver: (packet) => this.#client.deliverQoS(packet, () => undefined),
      overflow: () => this.gate.cut('closed', new Error('more comes than it reads of its session')),
    })
    this.#catchUp.begin()
    return this.#catchUp
  }

  #inboundHost(): InboundHost {
    const client = this.#client
    const context = this.#context
    return {
      client,
      allowed: ({ topic }) => {
        // [MQTT-3.3.5-2]: 3.1.1 has no word for it, and a client whose connection was closed would only try again.
        const allowed = this.#rights?.mayPublish(topic) ?? false
        if (!allowed) this.#deny(topic, 'a publish was denied')
        return allowed
      },
      isRepeated: async (packet) => {
        try {
          return await context.store.hasIncoming(client, packet)
        } catch (error) {
          context.log.error({ err: error }, 'the sessions of MQTT cannot be read')
          return false
        }
      },
      deliver: (packet, done) => this.#deliver(packet, done),
      broker: (packet, done) =>
        context.broker(packet, client, (error) => {
          done(error)
          // Aedes closes the connection.
          if (error) client.emit('error', error)
        }),
      acknowledge: (messageId) => this.gate.acknowledge(messageId),
      settled: (bytes, qos) => this.gate.settled(bytes, qos),
    }
  }

  #deliver(packet: PublishPacket, done: (error?: unknown) => void): void {
    const { topic, payload, qos, retain, dup, messageId } = packet
    // A copy: what it came in has other packets in it.
    const bytes = new Uint8Array(typeof payload === 'string' ? Buffer.from(payload) : payload)
    const event: PublishDraft = { type: 'mqtt.publish', topic, payload: bytes, qos, retain, dup, params: {} }
    // What a packet identifier means ends with its session.
    const key = qos > 0 && !this.#client.clean ? () => this.#keyOf(messageId ?? 0, topic, bytes) : undefined
    if (this.#instances) this.#instances.publish(event, { done, key, isWill: packet === this.#client.will })
    else done()
  }

  /** An identifier is used again as soon as it is free: what was sent under it belongs to the key. */
  #keyOf(messageId: number, topic: string, payload: Uint8Array): string {
    return `${this.#client.id} ${messageId} ${topic} ${hash('sha1', payload, 'base64')}`
  }

  async #send(event: MqttPublishSend): Promise<void> {
    const packet = packetOf(event)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    if (event.direct) {
      // [MQTT-3.2.0-1]: CONNACK comes first.
      if (!this.#isAnswered) await (this.#answered ??= Promise.withResolvers()).promise
      if (this.#client.closed) return
      const qos = this.subscriptions.qosFor(packet)
      this.#client.publish({ ...packet, qos, clientId: this.#client.id } as PublishPacket, () => resolve())
    } else this.#context.publish(packet, (error) => (error ? reject(error) : resolve()))
    await promise
  }
}

/** Of no broker has anything come before. */
const noDuplicates = new Proxy({}, { get: () => 0, set: () => true })

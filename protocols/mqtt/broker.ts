/** Aedes with every decision taken by a session: who comes in, what is handled before it is brokered, who gets what. */
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { AedesOptions, Client, PublishPacket } from 'aedes'
import type { Services, SharedRedis } from '../../src/asgi/adapter.ts'
import type { Log } from '../../src/asgi/context.ts'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import { Attempts } from './attempts.ts'
import { Access, returnCodes, type ReturnCode, type TopicRules } from './access.ts'
import { Gate, type GateLimits } from './gate.ts'
import { Frames } from './frames.ts'
import { GuardedAedes, type Sessions } from './guarded-aedes.ts'
import { handLeftWill } from './left-will.ts'
import type { MqttOptions } from './options.ts'
import type { MqttProtocol, MqttPublishSend } from './scope.ts'
import { packetOf } from './send.ts'
import { Session, type Peers } from './session.ts'
import { noSubscription } from './session-index.ts'
import type { SessionContext } from './session-context.ts'
import type { BrokerParts, SharedPolicy } from './redis-store.ts'
import { openStore, type Store } from './store.ts'

export type BrokerServices = Pick<
  Services<MqttProtocol>,
  'open' | 'resolve' | 'refused' | 'dropped' | 'unrouted' | 'failed' | 'journal' | 'closeTimeout' | 'log'
>

const everything: TopicRules = { publish: ['#'], subscribe: ['#'] }

/**
 * Messages on their way to subscribers at a time: any number, which who publishes has a window for. With a bound one subscriber
 * that does not read would hold up the messages of all, and what waits for it would go on one inside the other.
 */
const concurrency = 0
/** What may wait for a client that does not read, when those who publish to it are on other gateways and cannot be slowed. */
const unreadLimit = 4 * 2 ** 20
/** Messages of applications that wait for Redis; further ones fail. */
const maxWaiting = 10_000
/** MQTT 3.1 has a shorter limit for client ids; ours is looked at by the session. */
const anyLength = 200_000

/** Where sessions and retained messages are kept: in a folder, in a Redis with those of other gateways, or in memory. */
export interface StorePlace {
  readonly folder?: string | undefined
  readonly redis?: SharedRedis | undefined
}

export class Broker {
  /** At what is stored. */
  readonly attempts: Attempts
  readonly #aedes: GuardedAedes
  readonly #store: Store
  readonly #limits: GateLimits
  readonly #context: SessionContext
  readonly #byClient: Sessions
  readonly #refused: (code: number) => void
  readonly #connections = new Set<Session>()
  #closing = false
  #publishing = 0
  #quiet: (() => void) | undefined

  /** @throws SignalboxError `listen_failed`. */
  static async open(options: MqttOptions, services: BrokerServices, place: StorePlace): Promise<Broker> {
    const { log } = services
    const byClient: Sessions = new WeakMap()
    const sessions = new Map<string, Session>()
    const dropped = dropCounter(services)
    const policy: SharedPolicy = {
      maxQueued: options.maxQueued,
      maxRetained: options.maxRetained,
      sessionExpiry: options.sessionExpiry,
      maxMessage: Math.max(4 * options.maxPacketSize, 2 ** 20),
      granted: (client) => byClient.get(client)?.subscriptions.granted ?? [],
      mayKeep: (client, subscription) => byClient.get(client)?.subscriptions.grants(subscription) ?? false,
      dropped: (what, setting) => dropped(setting, what, `MQTT: a message was not kept: see ${setting}`),
      rejected: (why) => dropped('malformed', { why }, 'MQTT: something in Redis is no message of a gateway'),
      expired: (count) => log.info({ sessions: count }, 'MQTT: sessions that nobody took up were deleted'),
      failed: (error) => log.error({ err: error }, 'the sessions of MQTT failed'),
      letGo: async (clientId) => {
        const session = sessions.get(clientId)
        session?.gate.cut('takeover')
        await session?.over
      },
      catchUp: async (clientId, waiting) => sessions.get(clientId)?.catchUp(waiting),
    }
    const parts = { byClient, sessions, ...(await openParts(place, policy, log)) }
    const broker = new Broker(options, services, parts)
    try {
      await broker.#aedes.listen()
    } catch (error) {
      await broker.close(AbortSignal.abort())
      throw error
    }
    return broker
  }

  private constructor(
    options: MqttOptions,
    services: BrokerServices,
    parts: BrokerParts & { readonly byClient: Sessions; readonly sessions: Map<string, Session> },
  ) {
    const { users, anonymous, handlerTimeout } = options
    const { log } = services
    this.#store = parts.store
    this.#byClient = parts.byClient
    this.#refused = (code) => services.refused(code)
    this.#limits = options
    this.#aedes = new GuardedAedes(this.#aedesOptions(options, log, parts.shared), parts.byClient)
    const isClosing = () => this.#closing
    const storing = { journal: services.journal, log, patience: services.closeTimeout }
    const instances = { services, storing, limits: options, handlerTimeout }
    this.attempts = new Attempts({ ...instances, publish: (event) => this.#publishFor(event) })
    const frames = new Frames()
    this.#context = {
      store: parts.store,
      access: new Access(users, anonymous === true ? everything : anonymous || undefined),
      log,
      instances,
      limits: options,
      sessions: parts.sessions,
      get closing() {
        return isClosing()
      },
      unreadLimit: parts.shared && unreadLimit,
      framed: (packet) => frames.of(packet),
      publish: (packet, done) => this.#publish(packet, done),
      broker: (packet, client, done) => this.#aedes.broker(packet, client, done),
    }
    this.#listen(log)
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#connections.size
  }

  /** Takes a new connection: a socket, or whatever else MQTT can be spoken over. */
  accept(source: Duplex, peers: Peers): void {
    if (this.#closing) {
      source.on('error', () => undefined)
      source.destroy()
      return
    }
    const gate = new Gate(source, this.#limits)
    const client = this.#aedes.handle(gate as unknown as Duplex) // it has what Aedes uses of one
    const session = new Session(gate, client, peers, this.#context)
    this.#byClient.set(client, session)
    this.#connections.add(session)
    void session.over.then(() => this.#connections.delete(session))
  }

  /**
   * Takes nothing more from the clients, lets what has passed be handled until `signal` aborts, and closes every connection
   * without publishing a will.
   */
  async close(signal: AbortSignal): Promise<void> {
    this.#closing = true
    const aborted = abortion(signal)
    const sessions = [...this.#connections]
    await Promise.race([Promise.all(sessions.map(({ gate }) => gate.drain())), aborted])
    for (const session of sessions) session.shutDown()
    await Promise.race([Promise.all(sessions.map(({ over }) => over)), aborted])
    await Promise.race([this.attempts.close(), aborted])
    await Promise.race([this.#settled(), aborted])
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    this.#aedes.close(resolve)
    await closed
    await this.#store.destroy()
  }

  #aedesOptions(options: MqttOptions, log: Log, shared: BrokerParts['shared']): AedesOptions {
    const { maxTopicLevels, connectTimeout, drainTimeout } = options
    const attempt = containing(log)
    return {
      // Messages wait for clients in the order of these ids, also those of earlier runs.
      id: `${Date.now().toString(36).padStart(9, '0')}-${randomBytes(4).toString('hex')}`,
      persistence: this.#store,
      ...shared,
      concurrency,
      maxTopicLevels,
      connectTimeout,
      drainTimeout,
      maxClientsIdLength: anyLength,
      preConnect: (client, packet, done) => {
        attempt(
          () => this.#of(client)?.connecting(packet),
          (error) => done(error ?? null, error === undefined),
        )
      },
      authenticate: (client, username, password, done) => {
        void this.#authenticate(client, { username, password, done }, log)
      },
      authorizePublish: (client, packet, done) => {
        const inbound = client ? this.#of(client)?.inbound : undefined
        // Without a client: the will of one whose gateway crashed.
        if (!client || !inbound)
          return attempt(
            () => this.#handLeftWill(packet, () => done(null)),
            (error) => error && done(error),
          )
        const isWill = packet === Reflect.get(client, 'will')
        attempt(
          () => (isWill ? inbound.will(packet, done) : inbound.publish(packet, done)),
          (error) => error && done(error),
        )
      },
      authorizeSubscribe: (client, subscription, done) => {
        if (subscription === noSubscription) return done(null, null)
        let granted = false
        attempt(
          () => (granted = this.#of(client)?.subscriptions.grants(subscription) ?? false),
          // Aedes would send it with the QoS of any one that takes it: `Subscriptions` knows all of them.
          (error) => done(error ?? null, granted ? { ...subscription, qos: 2 } : null),
        )
      },
      authorizeForward: (client, packet) => (this.#of(client)?.forwards(packet) ? packet : null),
    }
  }

  #of(client: Client): Session | undefined {
    return this.#byClient.get(client)
  }

  async #authenticate(client: Client, { username, password, done }: Login, log: Log): Promise<void> {
    let code: ReturnCode | undefined = returnCodes.unavailable
    try {
      code = await this.#of(client)?.authenticate(username, password)
    } catch (error) {
      log.error({ err: error }, 'an MQTT client could not be let in')
    }
    if (code === undefined) return done(null, true)
    this.#refused(code)
    done(Object.assign(new Error(`CONNACK ${code}`), { returnCode: code }), null)
  }

  #listen(log: Log): void {
    const aedes = this.#aedes
    aedes.on('connackSent', ({ returnCode }, client) => returnCode === 0 && this.#of(client)?.accepted())
    aedes.on('clientReady', (client) => this.#of(client)?.ready())
    aedes.on('clientDisconnect', (client) => this.#of(client)?.unregistered())
    aedes.on('subscribe', (subscriptions, client) => this.#of(client)?.subscribed(subscriptions))
    aedes.on('unsubscribe', (filters, client) => this.#of(client)?.unsubscribed(filters))
    aedes.on('clientError', (client, error) => this.#of(client)?.failed(error))
    aedes.on('connectionError', (client, error) => this.#of(client)?.failed(error))
    const events: NodeJS.EventEmitter = aedes // its types do not have this one
    events.on('error', (error: unknown) => log.error({ err: error }, 'the MQTT broker reports an error'))
  }

  #publish(packet: PublishPacket, done: (error?: Error) => void): void {
    if (this.#aedes.closed) return done(new SignalboxError('closing', 'the MQTT broker is closed'))
    if (!this.#store.ready && this.#publishing >= maxWaiting)
      return done(new SignalboxError('send_failed', `Redis is away, and ${maxWaiting} messages wait for it`))
    this.#publishing++
    this.#aedes.publish(packet, (error) => {
      this.#publishing--
      if (this.#publishing === 0) this.#quiet?.()
      done(error)
    })
  }

  /** What an application says whose client is not there: to the others. */
  async #publishFor(event: MqttPublishSend): Promise<void> {
    if (event.direct) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#publish(packetOf(event), (error) => (error ? reject(error) : resolve()))
    await promise
  }

  #handLeftWill(will: PublishPacket, done: () => void): void {
    handLeftWill(will, { ...this.#context.instances, publish: (event) => this.#publishFor(event) }, done)
  }

  #settled(): Promise<void> {
    if (this.#publishing === 0) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#quiet = resolve
    return promise
  }
}

interface Login {
  readonly username: string | undefined
  readonly password: Buffer | undefined
  readonly done: Parameters<NonNullable<AedesOptions['authenticate']>>[3]
}

/** A hook of Aedes that throws would end the process: its client pays instead. */
function containing(log: Log) {
  return (hook: () => void, then: (error?: Error) => void): void => {
    let failed: Error | undefined
    try {
      hook()
    } catch (error) {
      log.error({ err: error }, 'an MQTT packet could not be dealt with')
      failed = Error.isError(error) ? error : new Error(reason(error))
    }
    then(failed)
  }
}

async function openParts(place: StorePlace, policy: SharedPolicy, log: Log): Promise<BrokerParts> {
  if (!place.redis) return { store: await openStore(place.folder, policy) }
  // Loaded only where there is one.
  const { openRedisStore } = await import('./redis-store.ts')
  return openRedisStore(place.redis, policy, log)
}

/** Counts each, and says it the first time, the tenth, the hundredth. */
function dropCounter(services: BrokerServices): (why: string, what: object, message: string) => void {
  const { log } = services
  let dropped = 0
  return (why, what, message) => {
    services.dropped(why)
    dropped++
    if (/^10*$/.test(String(dropped))) log.warn({ ...what, dropped }, message)
  }
}

function abortion(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}

/** Aedes with every decision taken by a session: who comes in, what is handled before it is brokered, who gets what. */
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { AedesOptions, Client, PublishPacket } from 'aedes'
import type { Services } from '../../src/asgi/adapter.ts'
import type { Log } from '../../src/asgi/context.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { Access, returnCodes, type ReturnCode, type TopicRules } from './access.ts'
import { Gate, type GateLimits } from './gate.ts'
import { GuardedAedes, type Sessions } from './guarded-aedes.ts'
import type { MqttOptions } from './options.ts'
import type { MqttProtocol } from './scope.ts'
import { Session, type Peers, type SessionContext } from './session.ts'
import { openStore, type SessionStore, type StorePolicy } from './store.ts'

export type BrokerServices = Pick<Services<MqttProtocol>, 'open' | 'resolve' | 'unrouted' | 'failed' | 'log'>

const everything: TopicRules = { publish: ['#'], subscribe: ['#'] }

/** Deliveries to subscribers at a time: one that does not read holds up no more than its own. */
const concurrency = 1000
/** MQTT 3.1 has a shorter limit for client ids; ours is looked at by the session. */
const anyLength = 200_000

export class Broker {
  readonly #aedes: GuardedAedes
  readonly #store: SessionStore
  readonly #limits: GateLimits
  readonly #context: SessionContext
  readonly #byClient: Sessions
  readonly #connections = new Set<Session>()
  #closing = false
  #publishing = 0
  #quiet: (() => void) | undefined

  /** Keeps sessions and retained messages in this folder; undefined: in memory. @throws SignalboxError `listen_failed`. */
  static async open(options: MqttOptions, services: BrokerServices, folder: string | undefined): Promise<Broker> {
    const { log } = services
    const byClient: Sessions = new WeakMap()
    const store = await openStore(folder, {
      maxQueued: options.maxQueued,
      maxRetained: options.maxRetained,
      mayKeep: (client, subscription) => byClient.get(client)?.subscriptions.grants(subscription) ?? false,
      dropped: dropCounter(log),
      failed: (error) => log.error({ err: error }, 'the sessions of MQTT failed'),
    })
    const broker = new Broker(options, services, { store, byClient })
    await broker.#aedes.listen()
    return broker
  }

  private constructor(
    options: MqttOptions,
    services: BrokerServices,
    parts: { store: SessionStore; byClient: Sessions },
  ) {
    const { users, anonymous, handlerTimeout } = options
    const { log } = services
    this.#store = parts.store
    this.#byClient = parts.byClient
    this.#limits = options
    this.#aedes = new GuardedAedes(this.#aedesOptions(options, log), parts.byClient)
    const isClosing = () => this.#closing
    this.#context = {
      store: parts.store,
      access: new Access(users, anonymous === true ? everything : anonymous || undefined),
      log,
      instances: { services, limits: options, handlerTimeout },
      limits: options,
      sessions: new Map(),
      get closing() {
        return isClosing()
      },
      brokerId: this.#aedes.id,
      publish: (packet, done) => this.#publish(packet, done),
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
    const client = this.#aedes.handle(gate)
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
    await Promise.race([this.#settled(), aborted])
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    this.#aedes.close(resolve)
    await closed
    await this.#store.destroy()
  }

  #aedesOptions(options: MqttOptions, log: Log): AedesOptions {
    const { maxTopicLevels, connectTimeout, drainTimeout } = options
    const attempt = containing(log)
    return {
      // Messages wait for clients in the order of these ids, also those of earlier runs.
      id: `${Date.now().toString(36).padStart(9, '0')}-${randomBytes(4).toString('hex')}`,
      persistence: this.#store,
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
        if (!client || !inbound) return done(null)
        const isWill = packet === Reflect.get(client, 'will')
        attempt(
          () => (isWill ? inbound.will(packet, done) : inbound.publish(packet, done)),
          (error) => error && done(error),
        )
      },
      authorizeSubscribe: (client, subscription, done) => {
        let granted = false
        attempt(
          () => (granted = this.#of(client)?.subscriptions.grants(subscription) ?? false),
          (error) => done(error ?? null, granted ? subscription : null),
        )
      },
      authorizeForward: (client, packet) =>
        this.#of(client)?.subscriptions.forwards(packet, client.id) ? packet : null,
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
    if (code === undefined) done(null, true)
    else done(Object.assign(new Error(`CONNACK ${code}`), { returnCode: code }), null)
  }

  #listen(log: Log): void {
    const aedes = this.#aedes
    aedes.on('connackSent', ({ returnCode }, client) => returnCode === 0 && this.#of(client)?.accepted())
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
    this.#publishing++
    this.#aedes.publish(packet, (error) => {
      this.#publishing--
      if (this.#publishing === 0) this.#quiet?.()
      done(error)
    })
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
      failed = Error.isError(error) ? error : new Error(String(error))
    }
    then(failed)
  }
}

/** Says it the first time, the tenth, the hundredth. */
function dropCounter(log: Log): StorePolicy['dropped'] {
  let dropped = 0
  return (what, setting) => {
    dropped++
    if (/^10*$/.test(String(dropped))) log.warn({ ...what, dropped }, `MQTT: a message was not kept: see ${setting}`)
  }
}

function abortion(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}

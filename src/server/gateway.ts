/** The gateway: opens every listener on one application, and closes them in the reverse order of their opening. */
import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import type {
  Adapter,
  Connection,
  ListenAddress,
  Listener,
  Services,
  TlsFiles,
  Transport,
  Unrouted,
} from '../asgi/adapter.ts'
import type { Application, Event, Protocol, State } from '../asgi/protocol.ts'
import { createHttpHost, type ListeningHttpHost } from '../runtime/http-host.ts'
import { Instance, defaultMailboxLimits, type InstanceOptions } from '../runtime/instance.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { addressText } from '../runtime/options.ts'
import { routeOf } from '../runtime/route.ts'
import { AdminListener } from './admin.ts'
import { DeadLetters } from './dead-letters.ts'
import { Lifespan } from './lifespan.ts'
import type { GatewayOptions, GatewayParts } from './options.ts'
import { Workers } from './workers.ts'

/** A protocol that is being served, by name. */
export interface ServedProtocol extends Listener {
  readonly name: string
}

/** What is open now, and what was counted since the start. */
export interface GatewayStats {
  readonly scopes: number
  readonly connections: number
  readonly channels: number
  readonly groups: number
  readonly unrouted: number
  readonly failed: number
}

type Closer = (signal: AbortSignal) => Promise<void>

export class Gateway implements AsyncDisposable {
  readonly listeners: readonly ServedProtocol[] = []
  readonly #options: GatewayOptions
  readonly #parts: GatewayParts
  readonly #application: Application
  readonly #instanceOptions: InstanceOptions
  readonly #deadLetters: DeadLetters
  readonly #hosts = new Map<string, ListeningHttpHost>()
  readonly #instances = new Set<Connection>()
  /** What listens: closed first, all at once, so that every protocol stops taking new peers and drains at the same time. */
  readonly #listening: Closer[] = []
  /** What the listeners stand on: closed after them, last opened first. */
  readonly #closers: Closer[] = []
  readonly #idPrefix = randomUUID().slice(0, 8)
  #state: State
  #admin: AdminListener | undefined
  #nextId = 0
  #unrouted = 0
  #closing: Promise<void> | undefined

  /**
   * Starts the lifespan application, then every listener.
   * @throws SignalboxError `lifespan_failed`, `listen_failed`; what was opened until then is closed again.
   */
  static async start(options: GatewayOptions, parts: GatewayParts): Promise<Gateway> {
    await makeDataFolder(options.data)
    const gateway = new Gateway(options, parts)
    try {
      await gateway.#open()
    } catch (error) {
      await gateway.close()
      throw error
    }
    return gateway
  }

  private constructor(options: GatewayOptions, parts: GatewayParts) {
    this.#options = options
    this.#parts = parts
    this.#application = options.application
    this.#state = Object.freeze({ data: options.data })
    this.#deadLetters = parts.deadLetters ?? new DeadLetters(options.data, parts.log)
    this.#instanceOptions = {
      layer: parts.layer,
      log: parts.log,
      closeTimeout: options.closeTimeout,
      limits: defaultMailboxLimits,
      onEnd: (instance) => this.#instances.delete(instance),
    }
  }

  /** Where the admin listener is; undefined: there is none. */
  get adminUrl(): string | undefined {
    return this.#admin?.url
  }

  stats(): GatewayStats {
    const { channels, groups } = this.#parts.layer.stats()
    const connections = this.listeners.reduce((sum, listener) => sum + listener.connections, 0)
    return {
      scopes: this.#instances.size,
      connections,
      channels,
      groups,
      unrouted: this.#unrouted,
      failed: this.#deadLetters.count,
    }
  }

  /** Drains: stops listening, lets scopes finish until `drainTimeout`, cuts the rest, and shuts the lifespan down. */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #open(): Promise<void> {
    this.#closers.push(() => this.#deadLetters.close())
    this.#closers.push(() => this.#parts.layer.close())
    await this.#startLifespan()
    this.#closers.push(() => this.#settleInstances())
    const served: ServedProtocol[] = []
    for (const definition of this.#parts.definitions) {
      const { name } = definition
      if (!(name in this.#options.listen)) continue
      // One after the other: what the first opens, the next may share.
      const { adapter } = await definition.load()
      const listener = await this.#startAdapter(name, adapter)
      served.push(Object.assign(listener, { name }))
    }
    for (const host of this.#hosts.values()) {
      // Opened in order, so that the log reads in order.
      await host.listen()
    }
    Object.assign(this, { listeners: served })
    await this.#startAdmin()
    this.#startWorkers()
  }

  async #startAdmin(): Promise<void> {
    const { admin } = this.#options
    if (!admin) return
    const { layer, log } = this.#parts
    const listener = await AdminListener.start(admin, { layer, log })
    this.#admin = listener
    this.#listening.push((signal) => listener.close(signal))
  }

  /** Last of all: a gateway that cannot listen has not begun to work. */
  #startWorkers(): void {
    const { workers: served = [] } = this.#options
    if (served.length === 0) return
    const { layer, log } = this.#parts
    const workers = new Workers({
      layer,
      log,
      open: (scope, transport) => this.#openScope(scope, transport),
    })
    for (const worker of served) workers.serve(worker)
    this.#listening.push((signal) => workers.close(signal))
  }

  async #startLifespan(): Promise<void> {
    const lifespan = new Lifespan(this.#application, this.#state, { ...this.#instanceOptions, onEnd: () => undefined })
    this.#closers.push(() => lifespan.shutdown(this.#options.closeTimeout))
    await lifespan.startup(this.#options.startTimeout ?? 60_000)
    this.#state = Object.freeze(lifespan.state)
  }

  async #startAdapter(name: string, adapter: Adapter): Promise<Listener> {
    const listener = await adapter.start(this.#options.listen[name], this.#services())
    this.#listening.push((signal) => listener.close(signal))
    return listener
  }

  #services(): Services {
    return {
      open: (scope, transport) => this.#openScope(scope, transport),
      resolve: (scope) => this.#resolve(scope),
      unrouted: (scope, address) => this.#countUnrouted(scope, address),
      failed: (scope, event, error) => this.#fail(scope, event, error),
      httpHost: (address, tls) => this.#httpHost(address, tls),
      data: this.#options.data,
      base: this.#options.base,
      log: this.#parts.log,
      closeTimeout: this.#options.closeTimeout,
    }
  }

  #openScope(scope: Unrouted<Protocol['scope']>, transport: Transport): Connection {
    const instance = new Instance(this.#application, this.#fill(scope), transport, this.#instanceOptions)
    this.#instances.add(instance)
    return instance
  }

  #fill(scope: Unrouted<Protocol['scope']>): Protocol['scope'] {
    this.#nextId++
    return { ...scope, id: `${this.#idPrefix}-${this.#nextId.toString(36)}`, params: {}, route: '', state: this.#state }
  }

  #resolve(scope: Unrouted<Protocol['scope']>) {
    const asked = { ...scope, id: '', params: {}, route: '', state: this.#state }
    if (!this.#application.resolve) return { rules: [this.#application], params: {} }
    return this.#application.resolve(asked)
  }

  #countUnrouted(scope: Unrouted<Protocol['scope']>, address: string): void {
    this.#unrouted++
    this.#parts.log.info({ protocol: scope.type, address, client: scope.client?.[0] }, 'no rule takes this address')
  }

  #fail(scope: Protocol['scope'], event: Event, error: unknown): void {
    this.#deadLetters.add({ ...scope, route: routeOf(this.#application, scope) }, event, error)
  }

  #httpHost(address: ListenAddress = this.#options.http.address, tls?: TlsFiles): ListeningHttpHost {
    const key = addressText(address)
    const { http, base } = this.#options
    const known = this.#hosts.get(key)
    const shared = key === addressText(http.address)
    if (tls && (known || shared)) {
      throw new SignalboxError(
        'listen_failed',
        `${key} is shared: write its tls at listen.http, or give this protocol another address`,
      )
    }
    if (known) return known
    const host = createHttpHost(shared ? http : { address, tls }, base, this.#parts.log)
    this.#hosts.set(key, host)
    this.#listening.push((signal) => host.close(signal))
    return host
  }

  async #settleInstances(): Promise<void> {
    const closing = new SignalboxError('closing', 'the gateway is closing')
    const open = [...this.#instances]
    for (const instance of open) instance.abort(closing)
    await Promise.all(open.map(({ completed }) => completed))
  }

  async #closeAll(): Promise<void> {
    const signal = AbortSignal.timeout(this.#options.drainTimeout)
    await Promise.all(this.#listening.map((close) => this.#closeOne(close, signal)))
    for (const close of this.#closers.toReversed()) {
      // What was opened last may need what was opened before.
      await this.#closeOne(close, signal)
    }
  }

  /** What fails to close keeps nothing else from closing. */
  async #closeOne(close: Closer, signal: AbortSignal): Promise<void> {
    try {
      await close(signal)
    } catch (error) {
      this.#parts.log.error({ err: error }, `closing: ${reason(error)}`)
    }
  }
}

/** @throws SignalboxError `bad_config`. */
async function makeDataFolder(data: string): Promise<void> {
  try {
    // What came in is nobody else's to read.
    await mkdir(data, { recursive: true, mode: 0o700 })
  } catch (error) {
    const message = `the data folder ${data} cannot be made: ${reason(error)}; write another one at data`
    throw new SignalboxError('bad_config', message, { cause: error })
  }
}

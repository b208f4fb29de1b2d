/** The gateway: opens every listener on one application, and closes them in the reverse order of their opening. */
import { randomUUID } from 'node:crypto'
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
import type { Application, Event, Protocol } from '../asgi/protocol.ts'
import { withScope, withScopeFromHere } from '../bridge/trail.ts'
import { journalFolder } from '../journal/folders.ts'
import type { Journal } from '../journal/journal.ts'
import { journalOptions } from '../journal/options.ts'
import { Chain } from '../runtime/chain.ts'
import { createHttpHost, type ListeningHttpHost } from '../runtime/http-host.ts'
import { Instance } from '../runtime/instance.ts'
import { defaultMailboxLimits, type InstanceOptions } from '../runtime/instance-options.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { Late } from '../runtime/late.ts'
import { addressText, once } from '../runtime/options.ts'
import { routeOf } from '../runtime/route.ts'
import { Tallies } from '../runtime/tally.ts'
import type { Administration } from './administration.ts'
import { AdminListener } from './admin.ts'
import { ControlSocket } from './control-socket.ts'
import { makeDataFolder } from './data-folder.ts'
import { Deliveries, flushed, openJournal } from './deliveries.ts'
import { Ending } from './ending.ts'
import { Health, journalCheck, layerCheck } from './health.ts'
import type { LateDeskParts } from './late-desk.ts'
import { Lifespans } from './lifespans.ts'
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

export class Gateway implements AsyncDisposable {
  readonly listeners: readonly ServedProtocol[] = []
  readonly #options: GatewayOptions
  readonly #parts: GatewayParts
  readonly #application: Application
  /** The same for instances, and whatever it has done on worker threads is done in the name of its scope. */
  readonly #named: Application
  readonly #instanceOptions: InstanceOptions
  readonly #deliveries: Deliveries
  readonly #ownJournal: Journal | undefined
  readonly #started = new Map<string, Listener>()
  readonly #health = new Health()
  readonly #tallies = new Tallies()
  readonly #hosts = new Map<string, ListeningHttpHost>()
  readonly #instances = new Chain<Instance<Protocol>>()
  readonly #ending: Ending
  /** Aborted when it begins: nothing but what is in hand is waited for. */
  readonly #draining = new AbortController()
  readonly #idPrefix = `${randomUUID().slice(0, 8)}-`
  readonly #lifespans: Lifespans
  #admin: AdminListener | undefined
  /** What answers questions: there when the first one has come. */
  readonly #administration = new Late(() => this.#openAdministration())
  #nextId = 0
  /** What was asked about last, and the scope that was made of it: mostly it is what is opened next. */
  #asked: { readonly given: object; readonly scope: Protocol['scope'] } | undefined
  #closing: Promise<boolean> | undefined

  /**
   * Starts the lifespan application, then every listener.
   * @throws SignalboxError `lifespan_failed`, `listen_failed`; what was opened until then is closed again.
   */
  static async start(options: GatewayOptions, parts: GatewayParts): Promise<Gateway> {
    makeDataFolder(options.data)
    const own = parts.journal ? undefined : await openJournal(options, parts.log)
    const gateway = new Gateway(options, parts, own)
    try {
      await gateway.#open()
    } catch (error) {
      await gateway.close()
      throw error
    }
    return gateway
  }

  private constructor(options: GatewayOptions, parts: GatewayParts, ownJournal: Journal | undefined) {
    this.#options = options
    this.#ownJournal = ownJournal
    this.#parts = parts
    this.#application = options.application
    this.#named = withScopeFromHere(options.application)
    this.#deliveries = new Deliveries({
      journal: this.#journal,
      left: (parts.left ?? []).map(({ journal }) => journal),
      layer: parts.layer,
      log: parts.log,
      options: options.journal ?? journalOptions.parse({}, once),
      resolve: (scope) => this.#resolve(scope),
      listener: (protocol) => this.#started.get(protocol),
    })
    this.#instanceOptions = {
      layer: parts.layer,
      log: parts.log,
      closeTimeout: options.closeTimeout,
      limits: defaultMailboxLimits,
      drain: this.#draining.signal,
      accounts: { tallies: this.#tallies, logEvents: parts.log.isLevelEnabled?.('debug') ?? true },
      onEnd: (instance) => this.#instances.delete(instance),
    }
    const { log } = parts
    const { closeTimeout, drainTimeout } = options
    this.#ending = new Ending({ log, closeTimeout, drainTimeout, scopes: () => this.#instances.size })
    this.#lifespans = new Lifespans({
      instances: this.#instanceOptions,
      data: options.data,
      startTimeout: options.startTimeout ?? 60_000,
      closeTimeout: options.closeTimeout,
      stop: parts.stop,
    })
  }

  /** Where the admin listener is; undefined: there is none. */
  get adminUrl(): string | undefined {
    return this.#admin?.url
  }

  stats(): GatewayStats {
    const { channels, groups } = this.#parts.layer.stats()
    const connections = sum(this.listeners.map((listener) => listener.connections))
    return {
      scopes: this.#instances.size,
      connections,
      channels,
      groups,
      unrouted: sum(this.#tallies.unrouted.values()),
      failed: this.#deliveries.failed,
    }
  }

  /**
   * Drains: stops listening, ends the scopes that only wait for messages of their groups, lets the others finish until
   * `drainTimeout`, tells the rest to end, and shuts the lifespan down. Resolves with whether everything came to its own end.
   */
  close(): Promise<boolean> {
    this.#closing ??= this.#closeAll()
    return this.#closing
  }

  /**
   * Starts the lifespan of an application that takes over: scopes that open from now on get the state that it leaves. The one
   * before it shuts down when the last scope that opened under it has ended.
   * @throws SignalboxError `lifespan_failed`, `closing`: nothing has changed.
   */
  async renewLifespan(application: Application): Promise<void> {
    if (this.#closing) throw closing
    const scopes = () => Promise.all(Array.from(this.#instances, ({ completed }) => completed))
    const { over } = await this.#lifespans.renew(withScope(application), scopes)
    void this.#ending.close(() => over, AbortSignal.abort())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #open(): Promise<void> {
    this.#ending.bears((signal) => this.#closeJournal(signal))
    this.#ending.bears(() => this.#parts.layer.close())
    this.#health.register('layer', layerCheck(this.#parts.layer))
    if (this.#journal) this.#health.register('journal', journalCheck(this.#journal))
    // First of what listens and closed last: whoever asks hears that the gateway is starting, or closing.
    await this.#startAdmin()
    await this.#startLifespan()
    this.#ending.bears(() => this.#settleInstances())
    await this.#deliveries.prepare()
    this.#ending.listens((signal) => this.#deliveries.close(signal))
    const served: ServedProtocol[] = []
    for (const definition of this.#parts.definitions) {
      const { name } = definition
      if (!(name in this.#options.listen)) continue
      // One after the other: what the first opens, the next may share.
      this.#parts.stop?.throwIfAborted()
      const { adapter } = await definition.load()
      const listener = await this.#startAdapter(name, adapter)
      served.push(Object.assign(listener, { name }))
    }
    this.#parts.stop?.throwIfAborted()
    for (const host of this.#hosts.values()) {
      // Opened in order, so that the log reads in order.
      await host.listen()
    }
    Object.assign(this, { listeners: served })
    this.#startWorkers()
    await this.#deliveries.start()
    this.#health.phase = 'serving'
  }

  get #journal(): Journal | undefined {
    return this.#parts.journal ?? this.#ownJournal
  }

  /** Whoever brought a journal has more to write into it. */
  async #closeJournal(signal: AbortSignal): Promise<void> {
    await this.#ownJournal?.close()
    if (this.#parts.journal) await flushed(this.#parts.journal, signal)
  }

  async #openControl(folder: string, places: LateDeskParts['places']): Promise<void> {
    const control = await ControlSocket.open(folder, places, this.#parts.log)
    if (control) this.#ending.bears(() => control.close())
  }

  async #startAdmin(): Promise<void> {
    const { admin, data, process: number = 1 } = this.#options
    const { left = [], log } = this.#parts
    // Whoever asked for it has heard why it could not be loaded.
    this.#ending.bears(async () => this.#administration.made?.then((opened) => opened.close()).catch(() => undefined))
    if (this.#journal) {
      await this.#openControl(journalFolder(data, number), async () =>
        (await this.#administration.get()).controlPlaces(),
      )
    }
    for (const { folder, journal } of left) {
      // One after the other: they are few.
      await this.#openControl(folder, async () =>
        (await import('./administration.ts')).leftPlaces(journal, this.#parts),
      )
    }
    if (!admin) return
    const listener = await AdminListener.start(admin, {
      places: async () => (await this.#administration.get()).adminPlaces(),
      log,
    })
    this.#ending.bears((signal) => listener.close(signal))
    this.#admin = listener
  }

  async #openAdministration(): Promise<Administration> {
    const { data, process: number = 1, processes = 1 } = this.#options
    const { Administration } = await import('./administration.ts')
    return new Administration({
      parts: this.#parts,
      family: { data, number, count: processes },
      journal: this.#journal,
      health: this.#health,
      tallies: this.#tallies,
      instances: this.#instances,
      listeners: () => this.listeners,
    })
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
    this.#ending.listens((signal) => workers.close(signal))
  }

  async #startLifespan(): Promise<void> {
    this.#ending.bears(() => this.#lifespans.end())
    await this.#lifespans.start(withScope(this.#application))
  }

  async #startAdapter(name: string, adapter: Adapter): Promise<Listener> {
    const listener = await adapter.start(this.#options.listen[name], this.#services(name))
    this.#started.set(name, listener)
    this.#ending.listens((signal) => listener.close(signal))
    return listener
  }

  #services(name: string): Services {
    return {
      open: (scope, transport) => this.#openScope(scope, transport),
      resolve: (scope) => this.#resolve(scope),
      refused: (code) => this.#tallies.countRefused(name, code),
      dropped: (why) => this.#tallies.countDropped(name, why),
      unrouted: (scope, address) => this.#countUnrouted(scope, address),
      failed: (scope, event, error) => this.#fail(scope, event, error),
      journal: this.#deliveries.of(name),
      httpHost: (address, tls) => this.#httpHost(address, tls),
      redis: this.#parts.redis,
      data: this.#options.data,
      base: this.#options.base,
      log: this.#parts.log,
      closeTimeout: this.#options.closeTimeout,
    }
  }

  #openScope(scope: Unrouted<Protocol['scope']>, transport: Transport): Connection {
    const filled = this.#takeAsked(scope) ?? this.#fill(scope)
    const instance = new Instance(this.#named, filled, transport, this.#instanceOptions)
    this.#instances.add(instance)
    return instance
  }

  #takeAsked(scope: Unrouted<Protocol['scope']>): Protocol['scope'] | undefined {
    const asked = this.#asked
    if (asked?.given !== scope) return undefined
    // Once: what is opened again is another scope. And never under a lifespan that may be over by now.
    this.#asked = undefined
    return asked.scope.state === this.#lifespans.state ? asked.scope : undefined
  }

  #fill(scope: Unrouted<Protocol['scope']>): Protocol['scope'] {
    this.#nextId++
    return {
      ...scope,
      id: this.#idPrefix + this.#nextId.toString(36),
      params: none,
      route: '',
      state: this.#lifespans.state,
    }
  }

  #resolve(scope: Unrouted<Protocol['scope']>) {
    if (!this.#application.resolve) return { rules: [this.#application], params: {} }
    this.#asked = { given: scope, scope: this.#fill(scope) }
    return this.#application.resolve(this.#asked.scope)
  }

  #countUnrouted(scope: Unrouted<Protocol['scope']>, address: string): void {
    this.#tallies.countUnrouted(scope.type)
    this.#parts.log.info({ protocol: scope.type, address, client: scope.client?.[0] }, 'no rule takes this address')
  }

  #fail(scope: Protocol['scope'], event: Event, error: unknown): void {
    const route = routeOf(this.#application, scope)
    this.#deliveries.bury({ ...scope, route }, event, error)
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
    this.#ending.listens((signal) => host.close(signal))
    return host
  }

  async #settleInstances(): Promise<void> {
    const open = [...this.#instances]
    for (const instance of open) instance.abort(closing)
    await Promise.all(open.map(({ completed }) => completed))
  }

  async #closeAll(): Promise<boolean> {
    this.#health.phase = 'draining'
    this.#deliveries.stop()
    this.#draining.abort(closing)
    for (const instance of this.#instances) instance.drain()
    return await this.#ending.come()
  }
}

const none = Object.freeze({})
const closing = new SignalboxError('closing', 'the gateway is closing')

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, number) => total + number, 0)

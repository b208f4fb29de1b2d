/** The connections to the Redis that gateways share: for commands, for publishing, and for what is subscribed to there. */
import { setTimeout as pause } from 'node:timers/promises'
import { Redis, type RedisOptions } from 'ioredis'
import type { SharedRedis } from '../../src/asgi/adapter.ts'
import type { Log } from '../../src/asgi/context.ts'
import { reason, SignalboxError } from '../../src/runtime/errors.ts'
import { noCluster } from './options.ts'
import { RedisScripts } from './redis-scripts.ts'

/** The longest wait between two attempts to connect, in milliseconds. */
export const longestRetry = 500
export interface LinkEvents {
  /** Redis is there, for the first time or `again`. Nothing is published until the promise resolves. */
  up(again: boolean): Promise<void>
  /** Every few seconds, while Redis is there. */
  beat(): Promise<void>
}

/** Something came from Redis that could not be dealt with. */
export type Rejected = (error: unknown) => void

/**
 * While Redis is away commands wait, and are sent again when it is back; what is published waits too. A Redis that does not
 * answer is treated as one that is away.
 */
export class RedisLink {
  /** Keys get the prefix by themselves. */
  readonly commands: Redis
  readonly scripts: RedisScripts
  readonly subscriber: Redis
  /** Without a sign of life for so long, a gateway is gone; in milliseconds. */
  readonly presenceTimeout: number
  /** What names of message channels begin with. */
  readonly channelPrefix: string
  readonly #publisher: Redis
  readonly #log: Log
  readonly #startTimeout: number
  readonly #answerTimeout: number
  readonly #cluster: boolean | undefined
  #events: LinkEvents | undefined
  /** Those that owe us a sign of life, each with the timer that gives it up. */
  readonly #awaited = new Map<Redis, NodeJS.Timeout>()
  #beatTimer: NodeJS.Timeout | undefined
  #closed = false
  /** Counts the times that a connection was lost. */
  #generation = 0
  /** The next time. */
  #loss = Promise.withResolvers<void>()
  #started = false
  #seen = false
  #arriving = false
  #readySince: number | undefined
  #readiness = Promise.withResolvers<void>()
  #complained = false

  constructor(address: SharedRedis, log: Log, rejected: Rejected) {
    const options = connectionOptions(address)
    this.#log = log
    this.#startTimeout = address.connectTimeout ?? 5000
    this.#answerTimeout = address.answerTimeout ?? 10_000
    this.presenceTimeout = address.presenceTimeout ?? 15_000
    this.#cluster = address.cluster
    this.channelPrefix = `${address.prefix}:mqtt/`
    this.commands = new Connection(
      { ...options, keyPrefix: `${address.prefix}:mqtt:`, maxRetriesPerRequest: null },
      rejected,
    )
    this.scripts = new RedisScripts(this.commands)
    this.subscriber = new Connection({ ...options, maxRetriesPerRequest: null }, rejected)
    // What is under way when the connection breaks is sent again from here, not before the other gateways listen again.
    this.#publisher = new Connection({ ...options, maxRetriesPerRequest: 0, enableOfflineQueue: false }, rejected)
    this.#readiness.promise.catch(() => undefined)
    for (const connection of this.#connections) {
      connection.on('error', (error) => this.#complain(error))
      // What the package asks before it is ready has no time limit of its own.
      connection.on('connect', () => this.#await(connection))
      connection.on('ready', () => {
        this.#answered(connection)
        void this.#arrive()
      })
      connection.on('close', () => {
        this.#answered(connection)
        this.#lose()
      })
    }
  }

  /** Between two signs of life, in milliseconds. */
  get heartbeat(): number {
    return Math.floor(this.presenceTimeout / 3)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Redis is there, and what is to be known from it is known. */
  get ready(): boolean {
    return this.#readySince !== undefined
  }

  /** Another one each time that a connection was lost. */
  get generation(): number {
    return this.#generation
  }

  /** Resolves when it is ready; rejects when it is closed. */
  async whenReady(): Promise<void> {
    while (!this.ready) await this.#readiness.promise
  }

  /** For how long it has been ready, in milliseconds. */
  get readyFor(): number {
    return this.#readySince === undefined ? 0 : performance.now() - this.#readySince
  }

  /**
   * Waits a moment for Redis, and goes on without when it does not come.
   * @throws SignalboxError `listen_failed` when it is a cluster.
   */
  async start(events: LinkEvents): Promise<void> {
    this.#events = events
    for (const connection of this.#connections) connection.connect().catch(() => undefined) // `error` has said it
    this.#beatTimer = setInterval(() => void this.#beat(), Math.min(this.heartbeat, this.#answerTimeout))
    const late = new AbortController()
    await Promise.race([
      this.#readiness.promise,
      pause(this.#startTimeout, undefined, { signal: late.signal }).catch(() => undefined),
    ])
    late.abort()
    this.#started = true
    if (!this.ready) this.#log.warn({}, 'Redis is not there: MQTT clients are refused until it is')
  }

  /** Resolves with the number of connections that got it; waits for as long as Redis is away. */
  async publish(channel: string, message: Buffer): Promise<number> {
    for (;;) {
      await this.whenReady()
      const generation = this.#generation
      try {
        return await this.#publisher.publish(channel, message)
      } catch (error) {
        // A Redis that says no is one that is there.
        if (this.#closed || isAnswer(error)) throw error
        // The connection broke, and that is not known here yet: to a Redis that hangs, closing it takes seconds.
        if (generation === this.#generation) await this.#loss.promise
      }
    }
  }

  /** How many connections have subscribed to this channel. */
  async listeners(channel: string): Promise<number> {
    const answer = await this.commands.pubsub('NUMSUB', channel)
    return Number(answer[1] ?? 0)
  }

  /** What waits is rejected. */
  close(): void {
    this.#closed = true
    clearInterval(this.#beatTimer)
    this.#lose()
    this.#readiness.reject(new SignalboxError('closing', 'the MQTT broker is closed'))
    for (const connection of this.#connections) {
      this.#answered(connection)
      connection.disconnect()
    }
  }

  get #connections(): readonly Redis[] {
    return [this.commands, this.subscriber, this.#publisher]
  }

  async #arrive(): Promise<void> {
    if (this.#arriving || this.#closed) return
    this.#arriving = true
    try {
      while (!this.ready && !this.#closed && this.#connections.every(({ status }) => status === 'ready'))
        await this.#prepare(this.#generation)
    } finally {
      this.#arriving = false
    }
  }

  async #prepare(generation: number): Promise<void> {
    try {
      if (!this.#seen) await this.#refuseCluster()
      // Answered when what was subscribed to before is subscribed to again; and who may not do this hears nothing of others.
      const probe = `${this.channelPrefix}$SYS/probe/*`
      await this.subscriber.psubscribe(probe)
      await this.subscriber.punsubscribe(probe)
      await this.#events?.up(this.#seen)
    } catch (error) {
      if (this.#closed) return
      if (generation === this.#generation) this.#complain(error)
      await pause(longestRetry, undefined, { ref: false })
      return
    }
    if (generation !== this.#generation || this.#closed) return
    if (this.#seen || this.#complained) this.#log.info({}, 'Redis is there: MQTT goes on')
    this.#seen = true
    this.#complained = false
    this.#readySince = performance.now()
    this.#readiness.resolve()
  }

  async #refuseCluster(): Promise<void> {
    const isCluster = this.#cluster ?? (await this.commands.info('cluster')).includes('cluster_enabled:1')
    if (!isCluster) return
    const error = new SignalboxError('listen_failed', noCluster)
    this.#readiness.reject(error)
    // It came too late for the start to fail.
    if (this.#started) this.#complain(error)
    this.close()
  }

  #lose(): void {
    this.#generation++
    this.#loss.resolve()
    this.#loss = Promise.withResolvers()
    if (!this.ready) return
    this.#readySince = undefined
    this.#readiness = Promise.withResolvers()
    this.#readiness.promise.catch(() => undefined)
    if (!this.#closed) this.#complain(new Error('the connection was closed'))
  }

  /** Once for each time that it is away. */
  #complain(error: unknown): void {
    if (this.#complained || this.#closed) return
    this.#complained = true
    this.#log.error({ err: error }, `Redis is away, MQTT waits for it: ${reason(error)}`)
  }

  async #beat(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => this.#probe(connection)))
    if (!this.ready) return
    try {
      await this.#events?.beat()
    } catch (error) {
      this.#complain(error)
    }
  }

  async #probe(connection: Redis): Promise<void> {
    if (connection.status !== 'ready' || this.#awaited.has(connection)) return
    this.#await(connection)
    await connection.ping().catch(() => undefined)
    this.#answered(connection)
  }

  /** A server that hangs, or is behind a broken network, closes nothing by itself. */
  #await(connection: Redis): void {
    this.#answered(connection)
    if (this.#closed) return
    const giveUp = () => {
      if (this.#awaited.get(connection) === timer) connection.disconnect(true)
    }
    // A turn later: what came while this process stood still is heard first.
    const timer = setTimeout(() => setImmediate(giveUp), this.#answerTimeout)
    this.#awaited.set(connection, timer)
  }

  #answered(connection: Redis): void {
    clearTimeout(this.#awaited.get(connection))
    this.#awaited.delete(connection)
  }
}

/** A connection whose commands may fail with nobody waiting, and that survives whatever it is told. */
class Connection extends Redis {
  readonly #rejected: Rejected

  constructor(options: RedisOptions, rejected: Rejected) {
    super(options)
    this.#rejected = rejected
  }

  override sendCommand(...args: Parameters<Redis['sendCommand']>): unknown {
    const answer = super.sendCommand(...args)
    // The packages above leave some answers to nobody: a rejection would end the process.
    if (answer instanceof Promise) answer.catch(() => undefined)
    return answer
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event !== 'messageBuffer' && event !== 'pmessageBuffer') return super.emit(event, ...args)
    try {
      return super.emit(event, ...args)
    } catch (error) {
      // Anybody may publish anything there.
      this.#rejected(error)
      return true
    }
  }

  /** Its pattern is the beginning of a topic, whatever is in it; and ten at a time are too few. */
  override hscanBufferStream(...[key, options]: Parameters<Redis['hscanBufferStream']>) {
    const beginning = (options?.match ?? '*').slice(0, -1).replaceAll(/[*?[\]\\^-]/g, String.raw`\$&`)
    return super.hscanBufferStream(key, { ...options, match: `${beginning}*`, count: 1000 })
  }
}

/** Whether Redis itself said it; anything else is a connection that broke. */
function isAnswer(error: unknown): boolean {
  return Error.isError(error) && error.name === 'ReplyError'
}

function connectionOptions({ url, username, password, database, tls }: SharedRedis): RedisOptions {
  const address = new URL(url)
  const secure = tls !== undefined || address.protocol === 'rediss:'
  const name = username ?? decodeURIComponent(address.username)
  const secret = password ?? decodeURIComponent(address.password)
  return {
    lazyConnect: true,
    host: address.hostname.replaceAll(/[[\]]/g, ''),
    port: Number(address.port || 6379),
    db: database ?? Number(address.pathname.slice(1) || 0),
    ...(name !== '' && { username: name }),
    ...(secret !== '' && { password: secret }),
    ...(secure && { tls: typeof tls === 'object' ? tls : {} }),
    keepAlive: 5000,
    connectTimeout: 5000,
    retryStrategy: (attempts) => Math.min(longestRetry, 50 * 2 ** Math.min(attempts, 10)) * (0.5 + Math.random() / 2),
    // A primary that became a replica: the next connection finds the new one.
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 2 : false),
  }
}

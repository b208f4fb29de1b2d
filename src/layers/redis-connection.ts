/** The life of the link to Redis: opened, lost, opened again. Nobody outside has to do with more than `link`. */
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '../asgi/context.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { silentLog } from '../runtime/log.ts'
import { checkName } from './names.ts'
import { type RedisBase, type RedisNames, redisNames } from './redis-base.ts'
import { openLink } from './redis-connect.ts'
import { type RedisLink, ignore, loginText, retryDelay } from './redis-link.ts'
import type { RedisLayerOptions } from './redis-options.ts'

export interface ConnectionEvents {
  /** Redis is there, for the first time or again. */
  readonly onReady: (link: RedisLink) => void
  /** The link will be another one. */
  readonly onReplaced: () => void
  readonly onMessage: (name: string, payload: Buffer) => void
  /** What was subscribed to may not be subscribed to again. */
  readonly onRefused: (error: unknown) => void
}

export class RedisConnection implements RedisBase {
  readonly process: string
  readonly names: RedisNames
  readonly log: Log
  readonly #options: RedisLayerOptions
  readonly #events: ConnectionEvents
  readonly #stop = new AbortController()
  #link: RedisLink | undefined
  #ready = Promise.withResolvers<void>()
  /** What the log says of a Redis that is away; undefined: it is there. */
  #down: string | undefined

  constructor(options: RedisLayerOptions, events: ConnectionEvents) {
    this.#options = options
    this.#events = events
    this.process = options.process ?? `p${randomBytes(8).toString('hex')}`
    checkName('group', this.process)
    this.names = redisNames(options.prefix ?? 'signalbox')
    this.log = options.log ?? silentLog
  }

  get link(): RedisLink | undefined {
    return this.#link?.ready ? this.#link : undefined
  }

  get closed(): boolean {
    return this.#stop.signal.aborted
  }

  async untilReady(signal: AbortSignal): Promise<RedisLink> {
    const ended = AbortSignal.any([signal, this.#stop.signal])
    for (;;) {
      ended.throwIfAborted()
      const { link } = this
      if (link) return link
      await first(this.#ready.promise, ended)
      // One of the connections can be away again without having said so.
      if (!this.link) await pause(10, undefined, { signal: ended }).catch(ignore)
    }
  }

  /** Connects, for as long as it takes. */
  async open(): Promise<void> {
    const events = {
      onReady: () => this.#onReady(),
      onDown: (error: unknown) => this.#onDown(error),
      onLost: (error: unknown) => this.#onLost(error),
      onMessage: this.#events.onMessage,
      onRefused: this.#events.onRefused,
    }
    const { signal } = this.#stop
    for (let attempts = 0; !this.closed; attempts++) {
      try {
        const link = await openLink(this.#options, events, signal)
        if (this.closed) link.close()
        else this.#link = link
        this.#onReady()
        return
      } catch (error) {
        this.#onDown(error)
        await pause(retryDelay(attempts), undefined, { signal }).catch(ignore)
      }
    }
  }

  close(): void {
    this.#stop.abort(new SignalboxError('closing', 'the channel layer is closed'))
    this.#ready.resolve()
    this.#link?.close()
    this.#link = undefined
  }

  #onReady(): void {
    const { link } = this
    if (!link) return
    if (this.#down !== undefined) this.log.info({}, 'Redis is back')
    this.#down = undefined
    this.#events.onReady(link)
    this.#ready.resolve()
  }

  #onDown(error: unknown): void {
    if (this.closed) return
    const words = `${loginText(error) ?? 'Redis is away'}: going on within this process, trying to connect again`
    if (words === this.#down) return
    if (this.#down === undefined) {
      this.#ready.resolve()
      this.#ready = Promise.withResolvers()
    }
    this.#down = words
    this.log.error({ err: error }, words)
  }

  /** Broken, or silent: a server that does not answer may never close its connections. */
  #onLost(error: unknown): void {
    if (this.closed) return
    this.#onDown(error)
    this.#link?.close()
    this.#link = undefined
    this.#events.onReplaced()
    void this.open()
  }
}

/** Resolves with the promise, or rejects when the signal aborts. */
async function first(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: either, resolve, reject } = Promise.withResolvers<void>()
  const abort = () => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  promise.then(resolve, reject)
  try {
    await either
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

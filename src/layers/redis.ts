/** The Redis channel layer: this process's own traffic stays in it; groups, other processes and work go over Redis, pushed. */
import { setTimeout as pause } from 'node:timers/promises'
import type {
  ChannelLayer,
  ConsumeOptions,
  GroupSendResult,
  LayerStats,
  Receiver,
  SendResult,
  WorkHandler,
} from '../asgi/channel-layer.ts'
import type { Event } from '../asgi/protocol.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { Drops } from './drops.ts'
import { type DeadLetter, layerDefaults, tell } from './limits.ts'
import { LocalChannels } from './local.ts'
import { fullError } from './memory.ts'
import { seal } from './message.ts'
import { checkName, checkNamed, processOf } from './names.ts'
import { RedisConnection } from './redis-connection.ts'
import type { RedisLayerOptions } from './redis-options.ts'
import { defaultAnswerTimeout, ignore, isRefusal } from './redis-link.ts'
import { Presence } from './redis-presence.ts'
import { Publisher } from './redis-publisher.ts'
import { evalArgs, sendScript } from './redis-scripts.ts'
import { Subscriptions } from './redis-subscriptions.ts'
import { WorkStream } from './redis-work.ts'
import { type Address, type Incoming, addressed, fromJson, toJson } from './wire.ts'

/** How long closing may wait for a Redis that is slow, in milliseconds. */
const closeTime = 2000

export class RedisLayer implements ChannelLayer {
  readonly #options: RedisLayerOptions
  readonly #maxSize: number
  readonly #maxDeadLetters: number
  readonly #connection: RedisConnection
  readonly #drops = new Drops()
  readonly #local: LocalChannels
  readonly #publisher: Publisher
  readonly #subscriptions: Subscriptions
  readonly #presence: Presence
  readonly #streams = new Map<string, WorkStream>()
  /** What a message of this process begins with when it comes back from Redis. */
  readonly #own: Buffer
  readonly #inbox: string
  #next = 0
  #sent = 0
  /** Which group message is being handed to the members, for those that hand it on. */
  #current = ''
  #complained = 0
  #closing: Promise<void> | undefined

  /** Resolves when Redis is there, or has not been for `connectTimeout`: then it goes on without, and connects when it can. */
  static async open(options: RedisLayerOptions = {}): Promise<RedisLayer> {
    const layer = new RedisLayer(options)
    void layer.#connection.open()
    try {
      await layer.#connection.untilReady(AbortSignal.timeout(options.connectTimeout ?? 5000))
      await layer.#subscriptions.settled(layer.#inbox)
    } catch {
      layer.#connection.log.warn({}, 'Redis cannot be used yet: going on within this process until it can')
    }
    return layer
  }

  private constructor(options: RedisLayerOptions) {
    this.#options = options
    this.#maxSize = options.maxMessageSize ?? layerDefaults.maxMessageSize
    this.#maxDeadLetters = options.maxDeadLetters ?? 1000
    this.#connection = new RedisConnection(options, {
      onReady: (link) => {
        void this.#subscriptions.restore(link)
        void this.#presence.restore()
      },
      onReplaced: () => {
        for (const stream of this.#streams.values()) stream.reconnect()
      },
      onMessage: (name, payload) => this.#onMessage(name, payload),
      onRefused: (error) => this.#subscriptions.refuse(error),
    })
    const { names } = this.#connection
    this.#own = Buffer.from(`{"$from":"${this.process}.`)
    this.#inbox = names.inbox(this.process)
    this.#publisher = new Publisher(this.#connection, this.#drops)
    this.#subscriptions = new Subscriptions(this.#connection)
    this.#local = new LocalChannels(options, this.#drops, {
      onEmpty: (group) => this.#subscriptions.remove(names.group(group)),
      onLeave: (group, channel) => void this.#presence.change(group, channel, false),
    })
    this.#presence = new Presence({
      base: this.#connection,
      timeout: options.presenceTimeout ?? 15_000,
      memberships: () => this.#local.memberships(),
      onBeat: () => {
        this.#local.sweep()
        this.#connection.link?.probe()
      },
    })
    void this.#subscriptions.add(this.#inbox)
  }

  /** The name of this process, with which its channels begin. */
  get process(): string {
    return this.#connection.process
  }

  async send<M extends Event>(channel: string, message: M): Promise<SendResult> {
    checkName('channel', channel)
    const sealed = seal(message, this.#maxSize)
    const process = processOf(channel)
    if (process === undefined) {
      await this.#sendWork(channel, toJson(sealed), '')
      return 'sent'
    }
    if (process === this.process) {
      const outcome = this.#local.send(channel, sealed.message)
      if (outcome === 'full' || outcome === 'overloaded') throw fullError(channel, outcome, this.#local)
      return outcome
    }
    const { link } = this.#connection
    await this.#tell(process, toJson(sealed), { to: channel })
    return link ? 'published' : 'unreachable'
  }

  async receive(channel: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Event> {
    checkName('channel', channel)
    const process = processOf(channel)
    if (process === undefined) return this.#stream(channel).receive(signal)
    if (process === this.process) return (await this.#local.take(channel, signal)).message
    throw new SignalboxError(
      'bad_name',
      `channel ${channel} belongs to another process, which alone can receive from it`,
    )
  }

  async consume(channel: string, handler: WorkHandler, options: ConsumeOptions): Promise<void> {
    checkNamed(channel)
    await this.#stream(channel).consume(handler, options)
  }

  newChannel(receiver?: Receiver): string {
    const name = `${this.process}!${(++this.#next).toString(36)}`
    this.#local.open(name, receiver)
    return name
  }

  async closeChannel(channel: string): Promise<void> {
    this.#local.close(channel)
  }

  async groupAdd(group: string, channel: string): Promise<void> {
    checkName('group', group)
    checkName('channel', channel)
    const process = processOf(channel)
    if (process !== undefined && process !== this.process) {
      await this.#tell(process, '{}', { to: channel, join: group })
      return
    }
    // A named channel gets what its groups get from the process that added it.
    if (process === undefined && !this.#local.has(channel))
      this.#local.open(channel, { deliverMessage: (message) => this.#handOn(channel, message) })
    const isNew = this.#local.join(group, channel)
    if (isNew === undefined) return
    const name = this.#connection.names.group(group)
    await Promise.all([
      isNew ? this.#subscriptions.add(name) : this.#subscriptions.settled(name),
      this.#presence.change(group, channel, true),
    ])
  }

  async groupDiscard(group: string, channel: string): Promise<void> {
    const process = processOf(channel)
    if (process === undefined || process === this.process) this.#local.leave(group, channel)
    else await this.#tell(process, '{}', { to: channel, leave: group })
  }

  async groupSend<M extends Event>(group: string, message: M): Promise<GroupSendResult> {
    checkName('group', group)
    const sealed = seal(message, this.#maxSize)
    const from = this.#from()
    const result = this.#sendToMembers(group, sealed.message, from)
    // Published before anything is awaited: that keeps the order of this sender.
    const slow = this.#publisher.publish(this.#connection.names.group(group), addressed(toJson(sealed), { from }))
    if (slow) await slow
    return result
  }

  async groupMembers(group: string): Promise<readonly string[]> {
    checkName('group', group)
    return [...new Set([...this.#local.members(group), ...(await this.#presence.members(group))])]
  }

  async groupSize(group: string): Promise<number> {
    checkName('group', group)
    const { channels, named } = await this.#presence.count(group)
    // A named channel is one member, however many processes added it.
    return new Set([...this.#local.members(group), ...named]).size + channels
  }

  /** Also what other processes have stored under this prefix. */
  async flush(): Promise<void> {
    this.#local.clear()
    const { link, names } = this.#connection
    await link?.deleteKeys(names.all)
  }

  stats(): LayerStats {
    const refused = this.#subscriptions.refused || this.#publisher.refused
    const connected = this.#connection.link !== undefined && !refused
    return { ...this.#local.size, dropped: this.#drops.counts(), connected }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#local.clear()
    this.#subscriptions.close()
    const cut = new AbortController()
    await Promise.race([this.#settle(), pause(closeTime, undefined, { signal: cut.signal }).catch(ignore)])
    cut.abort()
    this.#connection.close()
  }

  /** What was sent is out, and what others are to know of the end is said. */
  async #settle(): Promise<void> {
    const parts = [this.#presence, ...this.#streams.values()]
    await Promise.allSettled(parts.map((part) => part.close()))
    await this.#connection.link?.settled()
  }

  #onMessage(name: string, payload: Buffer): void {
    // Its local members have it already.
    if (payload.subarray(0, this.#own.length).equals(this.#own)) return
    if (payload.length > this.#maxSize + 1000) return this.#refuse('too_large', name, `it has ${payload.length} bytes`)
    let incoming: Incoming
    try {
      incoming = fromJson(payload.toString())
    } catch (error) {
      return this.#refuse('malformed', name, reason(error))
    }
    if (name === this.#inbox) this.#onInbox(incoming)
    else if (incoming.message)
      this.#sendToMembers(name.slice(this.#connection.names.group('').length), incoming.message, incoming.from ?? '')
    else this.#refuse('malformed', name, 'it has no message')
  }

  #onInbox({ to, join, leave, message }: Incoming): void {
    if (to === undefined || processOf(to) !== this.process)
      return this.#refuse('malformed', this.#inbox, 'its $to is no channel of this process')
    if (message) {
      this.#local.send(to, message)
      return
    }
    const change = join === undefined ? this.groupDiscard(leave ?? '', to) : this.groupAdd(join, to)
    change.catch((error: unknown) => this.#refuse('malformed', this.#inbox, reason(error)))
  }

  #sendToMembers(group: string, message: Event, from: string): GroupSendResult {
    this.#current = from
    return this.#local.groupSend(group, message)
  }

  #handOn(channel: string, message: Event): boolean {
    this.#sendWork(channel, toJson({ message, special: true }), this.#current).catch(() => {}) // counted there
    return true
  }

  async #sendWork(channel: string, json: string, once: string): Promise<void> {
    const { link, names } = this.#connection
    const { capacity, expiry } = this.#local.limits
    const keys = [names.stream(channel), names.once(channel), names.dead(channel)] as const
    const args = [capacity(channel), json, this.#local.now(), once, expiry(channel), this.#maxDeadLetters]
    let reply: unknown
    try {
      if (!link) throw away
      reply = await link.command(keys[0], evalArgs(sendScript, keys, args))
    } catch (error) {
      this.#drops.add('unreachable')
      throw notStored(channel, error)
    }
    const [stored, ...expired] = reply as readonly [number, ...string[]]
    for (const message of expired)
      this.#buried({ channel, message, attempts: 0, reason: 'expired', error: 'no worker took it in time' })
    if (stored === 1) return
    this.#drops.add('full')
    throw fullError(channel, 'full', this.#local)
  }

  #stream(channel: string): WorkStream {
    const { retry = {}, claimAfter = 30_000 } = this.#options
    const found = this.#streams.get(channel)
    if (found) return found
    if (this.#connection.closed) throw new SignalboxError('closing', 'the channel layer is closed')
    const stream = new WorkStream({
      base: this.#connection,
      channel,
      retry,
      claimAfter,
      answerTimeout: this.#options.answerTimeout ?? defaultAnswerTimeout,
      maxDeadLetters: this.#maxDeadLetters,
      maxMessageSize: this.#maxSize,
      expiry: this.#local.limits.expiry(channel),
      now: this.#local.now,
      onDeadLetter: (letter) => this.#buried(letter),
      onIdle: () => this.#streams.delete(channel),
    })
    this.#streams.set(channel, stream)
    return stream
  }

  #buried(letter: DeadLetter): void {
    const { channel, attempts, reason, error } = letter
    this.#drops.add(reason === 'failed' ? 'dead' : reason)
    this.#connection.log.error({ channel, attempts, reason, error }, `a message of channel ${channel} is a dead letter`)
    tell(this.#options, letter, (error) =>
      this.#connection.log.error({ err: error }, 'who is told of dead letters failed'),
    )
  }

  /** Into the inbox of another process. */
  #tell(process: string, json: string, address: Address): Promise<void> | undefined {
    const message = addressed(json, { from: this.#from(), ...address })
    return this.#publisher.publish(this.#connection.names.inbox(process), message, 'closed')
  }

  #from(): string {
    return `${this.process}.${++this.#sent}`
  }

  /** Anybody may publish anything: it is counted, and said from time to time. */
  #refuse(why: 'malformed' | 'too_large', name: string, error: string): void {
    this.#drops.add(why)
    const now = Date.now()
    if (now - this.#complained < 10_000) return
    this.#complained = now
    this.#connection.log.warn({ name, error }, 'something that is no message came from Redis')
  }
}

const away = new Error('Redis is away')

function notStored(channel: string, error: unknown): SignalboxError {
  const what =
    error === away || isRefusal(error)
      ? `was not stored: ${reason(error)}`
      : 'may not have been stored: the connection to Redis broke before the answer came'
  return new SignalboxError('send_failed', `the message for channel ${channel} ${what}`, { cause: error })
}

/** mqemitter-redis, put right where a topic or a message could do harm: what is brokered here reaches every gateway. */
import { EventEmitter } from 'node:events'
import MQEmitterRedis from 'mqemitter-redis'
import type { Redis } from 'ioredis'
import type { RedisLink } from './redis-link.ts'

type Message = Record<string, unknown> & { readonly topic: string }

export interface EmitterPolicy {
  /** Of one message, topic and payload together. */
  readonly maxBytes: number
  /** Something on one of our channels that no gateway of ours would have sent. */
  rejected(why: string): void
}

interface Seen {
  get(id: unknown): unknown
  set(id: unknown, isSeen: true): void
}

/** What there is of mqemitter-redis beside its types, and can be overridden. */
interface Emitter {
  readonly state: EventEmitter
  closed: boolean
  closing?: boolean
  /** The identifiers of messages that came: one comes for each pattern that it matches. */
  _cache: Seen
  _subTopic(topic: string): string
  _emit(message: unknown, done?: (error?: Error) => void): void
  _close(done: () => void): void
  on(topic: string, listener: (message: unknown, done: () => void) => void, done?: () => void): void
  emit(message: Message, done?: (error?: Error) => void): void
  removeListener(topic: string, listener: unknown, done?: () => void): void
  close(done?: () => void): void
}

const Base = MQEmitterRedis as unknown as new (options: object) => Emitter

export class SharedEmitter extends Base {
  readonly #link: RedisLink
  readonly #policy: EmitterPolicy

  constructor(link: RedisLink, policy: EmitterPolicy) {
    super({ matchEmptyLevels: true, subConn: link.subscriber, pubConn: new Publisher(link) as unknown as Redis })
    this.#link = link
    this.#policy = policy
    this._cache = onlyNamed(this._cache)
    // The link has said it; without a listener it would end the process.
    this.state.on('error', () => undefined)
  }

  /** The channel of a topic, or the pattern of a filter. */
  override _subTopic(topic: string): string {
    return this.#link.channelPrefix + super._subTopic(escaped(topic))
  }

  /** What came from Redis, our own messages too. */
  override _emit(message: unknown): void {
    const wrong = problemOf(message, this.#policy.maxBytes)
    if (wrong === undefined) super._emit(message)
    else this.#policy.rejected(wrong)
  }

  override emit(message: Message, done: (error?: Error) => void = () => undefined): void {
    // One that says that we are there now is of no use to anybody later.
    if (!this.#link.ready && /^\$SYS\/[^/]+\/heartbeat$/.test(message.topic)) return done()
    super.emit(message, done)
  }

  /** `done` is called when everything comes that is published from then on, also when somebody else has just asked for it. */
  override on(topic: string, listener: (message: unknown, done: () => void) => void, done?: () => void): void {
    super.on(topic, listener)
    // Answered after the subscription.
    if (done) void this.#link.subscriber.ping(() => done())
  }

  /** Nobody is to wait for Redis to forget something. */
  override removeListener(topic: string, listener: unknown, done?: () => void): void {
    super.removeListener(topic, listener)
    if (done) setImmediate(done)
  }

  /** The link is closed by whoever opened it. */
  override close(done: () => void = () => undefined): void {
    if (this.closed || this.closing) return done()
    this.closing = true
    this._close(done)
  }
}

/** What it takes for the connection to publish on. */
class Publisher extends EventEmitter {
  readonly #link: RedisLink

  constructor(link: RedisLink) {
    super()
    this.#link = link
  }

  publish(topic: string, message: Buffer): Promise<number> {
    return this.#link.publish(this.#link.channelPrefix + escaped(topic), message)
  }
}

/** What is no message has no identifier, and would be taken for the last one that had none. */
function onlyNamed(seen: Seen): Seen {
  return {
    get: (id) => (typeof id === 'string' ? seen.get(id) : undefined),
    set: (id, isSeen) => {
      if (typeof id === 'string') seen.set(id, isSeen)
    },
  }
}

/** What has a meaning in the patterns of Redis, and in MQTT has none. */
function escaped(topic: string): string {
  return topic.replaceAll(/[%*?[\]\\]/g, (character) => encodeURIComponent(character).replace('*', '%2A'))
}

function problemOf(message: unknown, maxBytes: number): string | undefined {
  if (typeof message !== 'object' || message === null) return 'it is no message'
  const { topic, payload, qos, cmd } = message as Record<string, unknown>
  if (typeof topic !== 'string' || topic === '' || /[+#\0]/.test(topic)) return 'its topic is none'
  if (topic.split('/').length > 100) return 'its topic has more than 100 levels'
  if (typeof payload !== 'string' && !Buffer.isBuffer(payload)) return 'its payload is neither text nor bytes'
  if (cmd !== 'publish' || ![0, 1, 2].includes(qos as number)) return 'it is no PUBLISH'
  const bytes = Buffer.byteLength(topic) + Buffer.byteLength(payload)
  return bytes > maxBytes ? `it has ${bytes} bytes, and ${maxBytes} are taken` : undefined
}

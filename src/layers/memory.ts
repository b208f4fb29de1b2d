/** The in-memory channel layer: the default, for one process. */
import { randomUUID } from 'node:crypto'
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
import { type LayerOptions, layerDefaults, tell } from './limits.ts'
import { type Entry, LocalChannels } from './local.ts'
import { seal } from './message.ts'
import { checkName, checkNamed } from './names.ts'
import { toJson } from './wire.ts'
import { type Job, Retries, workOff } from './work.ts'

/** A named channel that somebody consumes. */
interface Consumed {
  consumers: number
  readonly retries: Retries<Entry>
}

export class MemoryLayer implements ChannelLayer {
  readonly #options: LayerOptions
  readonly #maxSize: number
  readonly #prefix = randomUUID().slice(0, 8)
  readonly #drops = new Drops()
  readonly #local: LocalChannels
  readonly #consumed = new Map<string, Consumed>()
  #next = 0

  constructor(options: LayerOptions = {}) {
    this.#options = options
    this.#maxSize = options.maxMessageSize ?? layerDefaults.maxMessageSize
    this.#local = new LocalChannels(options, this.#drops, {
      onExpired: (channel, entry) => this.#expired(channel, entry),
    })
  }

  async send<M extends Event>(channel: string, message: M): Promise<SendResult> {
    checkName('channel', channel)
    const outcome = this.#local.send(channel, seal(message, this.#maxSize).message)
    if (outcome === 'full' || outcome === 'overloaded') throw fullError(channel, outcome, this.#local)
    return outcome
  }

  async receive(channel: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Event> {
    checkName('channel', channel)
    return (await this.#local.take(channel, signal)).message
  }

  async consume(channel: string, handler: WorkHandler, options: ConsumeOptions): Promise<void> {
    checkNamed(channel)
    const consumed = this.#consumedOf(channel)
    const { retries } = consumed
    consumed.consumers++
    try {
      const take = async (signal: AbortSignal) => this.#job(channel, await this.#local.take(channel, signal), retries)
      await workOff(take, handler, options)
    } finally {
      consumed.consumers--
      if (consumed.consumers === 0) this.#giveBack(channel, retries)
    }
  }

  newChannel(receiver?: Receiver): string {
    const name = `local.${this.#prefix}!${(++this.#next).toString(36)}`
    this.#local.open(name, receiver)
    return name
  }

  async closeChannel(channel: string): Promise<void> {
    this.#local.close(channel)
  }

  async groupAdd(group: string, channel: string): Promise<void> {
    checkName('group', group)
    checkName('channel', channel)
    this.#local.join(group, channel)
  }

  async groupDiscard(group: string, channel: string): Promise<void> {
    this.#local.leave(group, channel)
  }

  async groupSend<M extends Event>(group: string, message: M): Promise<GroupSendResult> {
    checkName('group', group)
    return this.#local.groupSend(group, seal(message, this.#maxSize).message)
  }

  async groupMembers(group: string): Promise<readonly string[]> {
    return this.#local.members(group)
  }

  async groupSize(group: string): Promise<number> {
    return this.#local.members(group).length
  }

  async flush(): Promise<void> {
    for (const { retries } of this.#consumed.values()) retries.clear()
    this.#local.clear()
  }

  stats(): LayerStats {
    return { ...this.#local.size, dropped: this.#drops.counts() }
  }

  async close(): Promise<void> {
    await this.flush()
  }

  #consumedOf(channel: string): Consumed {
    const known = this.#consumed.get(channel)
    if (known) return known
    const retries = new Retries<Entry>(this.#options.retry ?? {}, (entry) => this.#local.putBack(channel, entry))
    const consumed = { consumers: 0, retries }
    this.#consumed.set(channel, consumed)
    return consumed
  }

  /** Nobody consumes it any more: what waits for its next attempt is for whoever comes next. */
  #giveBack(channel: string, retries: Retries<Entry>): void {
    this.#consumed.delete(channel)
    for (const entry of retries.clear()) this.#local.putBack(channel, entry)
  }

  #job(channel: string, entry: Entry, retries: Retries<Entry>): Job {
    const attempt = entry.failures + 1
    return {
      message: entry.message,
      attempt,
      done: () => Promise.resolve(),
      failed: async (error, stopped) => {
        if (retries.isLast(attempt)) {
          this.#drops.add('dead')
          tell(this.#options, {
            channel,
            message: toJson({ message: entry.message, special: true }),
            attempts: attempt,
            reason: 'failed',
            error: reason(error),
          })
        } else await retries.later({ ...entry, failures: attempt }, attempt, stopped)
      },
    }
  }

  #expired(channel: string, { message, failures }: Entry): void {
    if (channel.includes('!')) return
    const error = 'no worker took it in time'
    tell(this.#options, {
      channel,
      message: toJson({ message, special: true }),
      attempts: failures,
      reason: 'expired',
      error,
    })
  }
}

/** What a sender is told; see `ChannelLayer.send`. */
export function fullError(channel: string, outcome: 'full' | 'overloaded', { limits }: LocalChannels): SignalboxError {
  const why =
    outcome === 'full'
      ? `channel ${channel} already holds ${limits.capacity(channel)} messages`
      : 'all channels together are full'
  return new SignalboxError('channel_full', why)
}

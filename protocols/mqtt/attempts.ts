/** Attempts at stored publishes: by the client's own instance while it is there, else by one of their own. */
import type { StoredRecord } from '../../src/asgi/delivery.ts'
import { Slot, type SlotOptions } from './slot.ts'
import type { MqttProtocol, MqttPublish, MqttScope } from './scope.ts'
import type { Unrouted } from '../../src/asgi/adapter.ts'

interface Fresh {
  readonly slot: Slot
  waiting: number
  timer: NodeJS.Timeout | undefined
}

/** How long an instance waits for the next one of its lane, which may have to be read first, in milliseconds. */
const linger = 250

export class Attempts {
  readonly #options: SlotOptions
  /** Those of one lane that come one after the other share an instance. */
  readonly #fresh = new Map<string, Fresh>()
  readonly #underway = new Set<(error: unknown) => void>()
  readonly #watched = new WeakSet<AbortSignal>()

  constructor(options: Omit<SlotOptions, 'close'>) {
    // There is no connection to close.
    this.#options = { ...options, close: () => undefined }
  }

  /** Resolves when the application has handled it. */
  attempt(record: StoredRecord<MqttProtocol>): Promise<void> {
    this.#watch(record.signal)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#underway.add(reject)
    const settle = (error?: unknown) => {
      this.#underway.delete(reject)
      if (error === undefined) resolve()
      else reject(error)
    }
    const event = record.event as MqttPublish // as it was stored
    const { live } = record
    if (live instanceof Slot && !live.ending) live.put(event, event.payload.length, settle, 'told')
    else this.#renew(record, event, settle)
    return promise
  }

  /** Resolves when no instance is left. */
  async close(): Promise<void> {
    for (const { timer } of this.#fresh.values()) clearTimeout(timer)
    await Promise.all(Array.from(this.#fresh.values(), ({ slot }) => slot.end('shutdown')))
  }

  #renew(record: StoredRecord<MqttProtocol>, event: MqttPublish, settle: (error?: unknown) => void): void {
    const { id, lane, scope, attempt, redelivered } = record
    // A rule may put several clients into one lane, and what has no lane shares nothing.
    const key = `${attempt} ${redelivered} ${(scope as Unrouted<MqttScope>).clientId} ${lane || id}`
    const fresh = this.#fresh.get(key) ?? this.#open(key, record)
    fresh.waiting++
    const done = (error?: unknown) => {
      settle(error)
      fresh.waiting--
      fresh.timer?.refresh()
      fresh.timer ??= setTimeout(() => this.#leave(key, fresh), linger)
    }
    fresh.slot.put(event, event.payload.length, done, 'told')
  }

  #open(key: string, { scope, attempt, redelivered }: StoredRecord<MqttProtocol>): Fresh {
    const tried = { ...(attempt > 1 && { attempt }), ...(redelivered && { redelivered }) }
    const fresh = {
      slot: new Slot({ ...(scope as Unrouted<MqttScope>), ...tried }, this.#options),
      waiting: 0,
      timer: undefined,
    }
    this.#fresh.set(key, fresh)
    return fresh
  }

  #leave(key: string, fresh: Fresh): void {
    if (fresh.waiting > 0) return
    this.#fresh.delete(key)
    void fresh.slot.end('redelivered')
  }

  /** The gateway waits no longer. One signal serves all of a journal, and all journals end together. */
  #watch(signal: AbortSignal): void {
    if (this.#watched.has(signal)) return
    this.#watched.add(signal)
    const cut = () => {
      for (const reject of this.#underway) reject(signal.reason)
      this.#underway.clear()
    }
    if (signal.aborted) queueMicrotask(cut)
    else signal.addEventListener('abort', cut, { once: true })
  }
}

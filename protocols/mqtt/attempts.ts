/** Attempts at stored publishes: by the client's own instance while it is there, else by one of their own. */
import type { Unrouted } from '../../src/asgi/adapter.ts'
import type { AttemptSettled, StoredRecord } from '../../src/asgi/delivery.ts'
import type { MqttProtocol, MqttPublish, MqttScope } from './scope.ts'
import { Slot, type SlotOptions } from './slot.ts'

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
  /** Those that may have something under way. */
  readonly #slots = new Set<Slot>()
  readonly #watched = new WeakSet<AbortSignal>()

  constructor(options: Omit<SlotOptions, 'close'>) {
    // There is no connection to close.
    this.#options = { ...options, close: () => undefined }
  }

  /** Makes one attempt. */
  attempt(record: StoredRecord<MqttProtocol>, settled: AttemptSettled): void {
    if (record.signal.aborted) return settled(record.signal.reason)
    const event = record.event as MqttPublish // as it was stored
    const { live } = record
    if (!(live instanceof Slot) || live.ending) return this.#renew(record, event, settled)
    if (!this.#slots.has(live)) this.#follow(live, record.signal)
    live.put(event, event.payload.length, settled, 'told')
  }

  /** Resolves when no instance is left. */
  async close(): Promise<void> {
    for (const { timer } of this.#fresh.values()) clearTimeout(timer)
    await Promise.all(Array.from(this.#fresh.values(), ({ slot }) => slot.end('shutdown')))
  }

  #renew(record: StoredRecord<MqttProtocol>, event: MqttPublish, settled: AttemptSettled): void {
    const { id, lane, scope, attempt, redelivered } = record
    // A rule may put several clients into one lane, and what has no lane shares nothing.
    const key = `${attempt} ${redelivered} ${(scope as Unrouted<MqttScope>).clientId} ${lane || id}`
    const fresh = this.#fresh.get(key) ?? this.#open(key, record)
    fresh.waiting++
    const done: AttemptSettled = (error, scopeId) => {
      settled(error, scopeId)
      fresh.waiting--
      fresh.timer?.refresh()
      fresh.timer ??= setTimeout(() => this.#leave(key, fresh), linger)
    }
    fresh.slot.put(event, event.payload.length, done, 'told')
  }

  #open(key: string, { scope, attempt, redelivered, signal }: StoredRecord<MqttProtocol>): Fresh {
    const tried = { ...(attempt > 1 && { attempt }), ...(redelivered && { redelivered }) }
    const fresh = {
      slot: new Slot({ ...(scope as Unrouted<MqttScope>), ...tried }, this.#options),
      waiting: 0,
      timer: undefined,
    }
    this.#follow(fresh.slot, signal)
    this.#fresh.set(key, fresh)
    return fresh
  }

  #leave(key: string, fresh: Fresh): void {
    if (fresh.waiting > 0) return
    this.#fresh.delete(key)
    void fresh.slot.end('redelivered')
  }

  /** One signal serves all of a journal, and all journals end together: then the gateway waits no longer. */
  #follow(slot: Slot, signal: AbortSignal): void {
    this.#slots.add(slot)
    void slot.over.then(() => this.#slots.delete(slot))
    if (this.#watched.has(signal)) return
    this.#watched.add(signal)
    const cut = () => {
      for (const one of this.#slots) one.cut(signal.reason)
    }
    signal.addEventListener('abort', cut, { once: true })
  }
}

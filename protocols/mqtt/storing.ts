/** Puts what one client publishes into the journal, in order; while that cannot be written, the client waits for its answer. */
import type { Log } from '../../src/asgi/context.ts'
import type { DeliveryJournal, NewRecord } from '../../src/asgi/delivery.ts'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import type { MqttProtocol } from './scope.ts'

type Record = NewRecord<MqttProtocol>

interface Item {
  readonly record: Record
  readonly done: () => void
  /** Whether its client would send it again. */
  readonly isRepeated: boolean
  state: 'waiting' | 'underway' | 'over'
}

const notStored = new SignalboxError('journal_failed', 'it could not be stored while its client was there')
/** How long a journal that could not store something is left alone, in milliseconds. */
const pause = 500

export class Storing {
  readonly #journal: DeliveryJournal<MqttProtocol>
  readonly #log: Log
  /** Those without an answer, in the order in which they came. */
  readonly #items: Item[] = []
  #timer: NodeJS.Timeout | undefined
  #failing = false
  #closed = false
  /** The last one that was stored; 0: none was. */
  last = 0

  constructor(journal: DeliveryJournal<MqttProtocol>, log: Log) {
    this.#journal = journal
    this.#log = log
  }

  /** `done` is called when it is on disk, and all before it. A will is not repeated. */
  put(record: Record, done: () => void, isRepeated: boolean): void {
    const item: Item = { record, done, isRepeated, state: 'waiting' }
    this.#items.push(item)
    if (!this.#failing || this.#closed) this.#store([item])
  }

  /** The client is gone: nobody waits for what could not be stored, and whoever sent it will send it again. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const item of this.#items) if (item.state === 'waiting') this.#giveUp(item, notStored)
    this.#answer()
  }

  #store(items: readonly Item[]): void {
    for (const item of items) item.state = 'underway'
    this.#journal.accept(items.map(({ record }) => record)).then(
      (accepted) => {
        this.#failing = false
        for (const { id } of accepted) if (id !== undefined && id > this.last) this.last = id
        for (const item of items) item.state = 'over'
        this.#answer()
      },
      (error: unknown) => this.#fail(items, error),
    )
  }

  #fail(items: readonly Item[], error: unknown): void {
    if (this.#closed) {
      for (const item of items) this.#giveUp(item, error)
      return this.#answer()
    }
    for (const item of items) item.state = 'waiting'
    if (!this.#failing) this.#log.warn({ err: error }, `an MQTT client waits: ${reason(error)}`)
    this.#failing = true
    this.#timer ??= setTimeout(() => this.#again(), pause)
  }

  #giveUp(item: Item, error: unknown): void {
    item.state = 'over'
    if (item.isRepeated) return
    this.#log.error({ err: error, client: item.record.scope.client }, 'a will could not be stored: it is a dead letter')
    this.#journal.bury(item.record, error)
  }

  /** All of them at once: they are in order then. */
  #again(): void {
    this.#timer = undefined
    const waiting = this.#items.filter(({ state }) => state === 'waiting')
    if (waiting.length > 0) this.#store(waiting)
  }

  /** [MQTT-4.6.0-2] */
  #answer(): void {
    for (let [first] = this.#items; first?.state === 'over'; [first] = this.#items) {
      this.#items.shift()
      first.done()
    }
  }
}

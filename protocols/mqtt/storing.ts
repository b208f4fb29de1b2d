/** Puts what one client publishes into the journal, in order; while that cannot be written, the client waits for its answer. */
import type { Log } from '../../src/asgi/context.ts'
import type { DeliveryJournal, Depositor, NewRecord } from '../../src/asgi/delivery.ts'
import type { Resolution } from '../../src/asgi/protocol.ts'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import type { MqttProtocol, MqttPublish } from './scope.ts'
import type { Slot } from './slot.ts'

type Fields = NewRecord<MqttProtocol>

/** What the publishes of a client to one rule have in common. */
export interface Origin {
  readonly scope: Fields['scope']
  readonly resolution: Resolution
  readonly lane: string
  readonly slot: Slot
}

/** What is known of a publish beside what it says. */
export interface PublishOptions {
  readonly key: string | undefined
  readonly mayRepeat: boolean
  /** Whether its client would send it again; a will is not repeated. */
  readonly isRepeated: boolean
  /** Called when it is on disk, and all before it; or with `comesAgain`. */
  readonly done: (error?: unknown) => void
}

const notStored = new SignalboxError('journal_failed', 'it could not be stored while its client was there')
/** What `done` is told of a publish that its client, who is gone, sends again: until then nothing is to come of it. */
export const comesAgain = Symbol('comes again')
const nothing = () => undefined
/** How long a journal that could not store something is left alone, in milliseconds. */
const pause = 500

/** One publish: what the journal is given, who waits for it there, and its place among those of its client. */
class Publish implements Fields, Depositor {
  readonly direction = 'in'
  readonly event: MqttPublish
  readonly key: string | undefined
  readonly mayRepeat: boolean
  readonly isRepeated: boolean
  state: 'waiting' | 'underway' | 'over' = 'waiting'
  next: Publish | undefined
  comesAgain = false
  readonly #origin: Origin
  readonly #storing: Storing
  #done: PublishOptions['done']

  constructor(
    event: MqttPublish,
    origin: Origin,
    { key, mayRepeat, isRepeated, done }: PublishOptions,
    storing: Storing,
  ) {
    this.event = event
    this.key = key
    this.mayRepeat = mayRepeat
    this.isRepeated = isRepeated
    this.#origin = origin
    this.#storing = storing
    this.#done = done
  }

  get scope(): Fields['scope'] {
    return this.#origin.scope
  }

  get resolution(): Resolution {
    return this.#origin.resolution
  }

  get lane(): string {
    return this.#origin.lane
  }

  get live(): Slot {
    return this.#origin.slot
  }

  stored(id: number): void {
    this.#storing.stored(this, id)
  }

  refused(error: unknown): void {
    this.#storing.refused([this], error)
  }

  answer(): void {
    const done = this.#done
    // The journal has it until it is handled, and the packet that it came in is not to wait for that.
    this.#done = nothing
    done(this.comesAgain ? comesAgain : undefined)
  }
}

export class Storing {
  readonly #journal: DeliveryJournal<MqttProtocol>
  readonly #log: Log
  /** Those without an answer, in the order in which they came. */
  #first: Publish | undefined
  #last: Publish | undefined
  #timer: NodeJS.Timeout | undefined
  /** Something waits to be stored again, and what comes now stands behind it. */
  #failing = false
  #closed = false
  /** The last one that was stored; 0: none was. */
  last = 0

  constructor(journal: DeliveryJournal<MqttProtocol>, log: Log) {
    this.#journal = journal
    this.#log = log
  }

  put(event: MqttPublish, origin: Origin, options: PublishOptions): void {
    const publish = new Publish(event, origin, options, this)
    if (this.#last) this.#last.next = publish
    else this.#first = publish
    this.#last = publish
    if (this.#failing && !this.#closed) return
    publish.state = 'underway'
    this.#journal.put(publish, publish)
  }

  /** The client is gone: nobody waits for what could not be stored, and whoever sent it will send it again. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const publish of this.#waiting()) this.#giveUp(publish, notStored)
    this.#answer()
  }

  stored(publish: Publish, id: number): void {
    if (id > this.last) this.last = id
    publish.state = 'over'
    // It is known by its key then. The broker must not hear of it in the middle of the next connection.
    publish.comesAgain = this.#closed && publish.key !== undefined && publish.event.qos === 2
    this.#answer()
  }

  refused(publishes: readonly Publish[], error: unknown): void {
    if (this.#closed) {
      for (const publish of publishes) this.#giveUp(publish, error)
      return this.#answer()
    }
    for (const publish of publishes) publish.state = 'waiting'
    if (!this.#failing) this.#log.warn({ err: error }, `an MQTT client waits: ${reason(error)}`)
    this.#failing = true
    this.#timer ??= setTimeout(() => this.#again(), pause)
  }

  #giveUp(publish: Publish, error: unknown): void {
    publish.state = 'over'
    publish.comesAgain = publish.isRepeated
    if (publish.comesAgain) return
    const { client } = publish.scope
    this.#log.error({ err: error, client }, 'a will could not be stored: it is a dead letter')
    this.#journal.bury(publish, error)
  }

  /** All of them in one call: they are in order then, and before what comes now. */
  #again(): void {
    this.#timer = undefined
    const waiting = this.#waiting()
    this.#failing = waiting.length > 0
    if (!this.#failing) return
    for (const publish of waiting) publish.state = 'underway'
    this.#journal.accept(waiting).then(
      (accepted) => {
        for (const [index, { id = 0 }] of accepted.entries()) waiting[index]?.stored(id)
        // What has come meanwhile.
        this.#again()
      },
      (error: unknown) => this.refused(waiting, error),
    )
  }

  #waiting(): Publish[] {
    const waiting: Publish[] = []
    for (let publish = this.#first; publish; publish = publish.next) {
      if (publish.state === 'waiting') waiting.push(publish)
    }
    return waiting
  }

  /** [MQTT-4.6.0-2] */
  #answer(): void {
    for (let first = this.#first; first?.state === 'over'; first = this.#first) {
      this.#first = first.next
      if (!this.#first) this.#last = undefined
      first.next = undefined
      first.answer()
    }
  }
}

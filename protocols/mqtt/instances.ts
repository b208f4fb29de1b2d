/** The application's instances for one client: one for the connection, or below a TopicRouter one for each rule that matched. */
import type { Unrouted } from '../../src/asgi/adapter.ts'
import type { Params, Resolution } from '../../src/asgi/protocol.ts'
import type { MqttPublish, MqttScope, Qos } from './scope.ts'
import { Slot, type ConnectAnswer, type Settled, type SlotOptions } from './slot.ts'

/** How many topics of a client are remembered with the rule that takes them. */
const remembered = 1000

/** A publish whose params are still to be filled in. */
export type PublishDraft = Omit<MqttPublish, 'params'> & { params: Params }

interface Target {
  readonly slot: Slot
  readonly params: Params
}

/** Shared by the adapter and the communicator: what a test sees is what a client gets. */
export class Instances {
  readonly #scope: Unrouted<MqttScope>
  readonly #options: SlotOptions
  /** The instance for the whole connection. */
  #whole: Target | undefined
  /** By the rule that they belong to. */
  readonly #slots = new Map<object, Slot>()
  readonly #topics = new Map<string, Target | undefined>()

  constructor(scope: Unrouted<MqttScope>, options: SlotOptions) {
    this.#scope = scope
    this.#options = options
  }

  /** Whether the application takes the client. Where only topics are routed there is nobody to ask yet. */
  async connect(): Promise<ConnectAnswer> {
    const resolution = this.#options.services.resolve(this.#scope)
    if (!resolution) return 'accepted'
    this.#whole = this.#target(resolution, this.#scope)
    return this.#whole.slot.connect()
  }

  /** An event that nobody takes counts as handled. */
  publish(event: PublishDraft, done: Settled): void {
    let target: Target | undefined
    try {
      target = this.#whole ?? this.#route(event.topic)
    } catch (error) {
      // A router of the user's that cannot be asked: nobody was opened for this event who could fail on it.
      const scope = { ...this.#scope, topic: event.topic, id: '', params: {}, route: '', state: {} }
      this.#options.services.failed(scope, event, error)
      return done(error)
    }
    if (target) {
      event.params = target.params
      return target.slot.put(event, event.payload.length, done)
    }
    this.#options.services.unrouted({ ...this.#scope, topic: event.topic }, event.topic)
    return done()
  }

  subscribe(filter: string, qos: Qos, done: Settled): void {
    this.#tellAll({ type: 'mqtt.subscribe', filter, qos }, done)
  }

  unsubscribe(filter: string, done: Settled): void {
    this.#tellAll({ type: 'mqtt.unsubscribe', filter }, done)
  }

  /** The client is gone. Resolves when what it sent was handled and no instance is left. */
  async end(reason: string): Promise<void> {
    await Promise.all(Array.from(this.#slots.values(), (slot) => slot.end(reason)))
  }

  #tellAll(event: Parameters<Slot['put']>[0], done: Settled): void {
    let left = this.#slots.size
    let failure: unknown
    if (left === 0) return done()
    const settled: Settled = (error) => {
      failure ??= error
      if (--left === 0) done(failure)
    }
    for (const slot of this.#slots.values()) slot.put(event, 0, settled)
  }

  #route(topic: string): Target | undefined {
    const known = this.#topics.get(topic)
    if (known || this.#topics.has(topic)) return known
    const scope = { ...this.#scope, topic }
    const resolution = this.#options.services.resolve(scope)
    const target = resolution && this.#target(resolution, scope)
    if (this.#topics.size >= remembered) this.#topics.clear()
    this.#topics.set(topic, target)
    return target
  }

  #target({ rules, params }: Resolution, scope: Unrouted<MqttScope>): Target {
    const rule = rules.at(-1) ?? this
    const slot = this.#slots.get(rule) ?? new Slot(scope, this.#options)
    this.#slots.set(rule, slot)
    return { slot, params }
  }
}

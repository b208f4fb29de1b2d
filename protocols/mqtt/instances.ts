/** The application's instances for one client: one for the connection, or below a TopicRouter one for each rule that matched. */
import type { Unrouted } from '../../src/asgi/adapter.ts'
import type { Params, Resolution } from '../../src/asgi/protocol.ts'
import type { MqttPublish, MqttScope, Qos } from './scope.ts'
import { type Origin, Storing } from './storing.ts'
import { Slot, type ConnectAnswer, type Settled, type SlotOptions } from './slot.ts'

/** How many topics of a client are remembered with the rule that takes them. */
const remembered = 1000

/** A publish whose params are still to be filled in. */
export type PublishDraft = Omit<MqttPublish, 'params'> & { params: Params }

/** The rule that takes an event, and its slot; the scope is with the topic, where rules look at that. */
type Target = Origin

/** What is known of a publish beside what it says. */
export interface Arrival {
  /** Called once; with an error when the application failed on it and nobody will try again, or with `comesAgain`. */
  readonly done: Settled
  /** What the client knows it by; only asked when it is stored. Left out: by nothing. */
  readonly key?: (() => string) | undefined
  /** Said by the gateway in the client's name: nobody sends it again. */
  readonly isWill?: boolean
}

/** Events that may wait without the client waiting with them, of rules with `delivery: none`. */
const mostUnanswered = 100

/** Shared by the adapter and the communicator: what a test sees is what a client gets. */
export class Instances {
  readonly #scope: Unrouted<MqttScope>
  readonly #options: SlotOptions
  /** The instance for the whole connection. */
  #whole: Target | undefined
  #storing: Storing | undefined
  /** By the rule that they belong to. Like the next one made when it is needed: many clients only listen. */
  #slots: Map<object, Slot> | undefined
  #topics: Map<string, Target | undefined> | undefined

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
  publish(event: PublishDraft, arrival: Arrival): void {
    let target: Target | undefined
    try {
      target = this.#whole ?? this.#route(event.topic)
    } catch (error) {
      // A router of the user's that cannot be asked: nobody was opened for this event who could fail on it.
      const scope = { ...this.#scope, topic: event.topic, id: '', params: {}, route: '', state: {} }
      this.#options.services.failed(scope, event, error)
      return arrival.done(error)
    }
    if (target) return this.#give(target, event, arrival)
    this.#options.services.unrouted({ ...this.#scope, topic: event.topic }, event.topic)
    return arrival.done()
  }

  subscribe(filter: string, qos: Qos, done: Settled): void {
    this.#tellAll({ type: 'mqtt.subscribe', filter, qos }, done)
  }

  unsubscribe(filter: string, done: Settled): void {
    this.#tellAll({ type: 'mqtt.unsubscribe', filter }, done)
  }

  /** The client is gone. Resolves when what it sent was handled and no instance is left. */
  async end(reason: string): Promise<void> {
    this.#storing?.close()
    // [MQTT-3.1.4-2]: its successor is not to wait for all that it has sent; that goes to an instance of its own.
    if (reason !== 'takeover') await this.#attempted()
    if (this.#slots) await Promise.all(Array.from(this.#slots.values(), (slot) => slot.end(reason)))
  }

  #give(target: Target, event: PublishDraft, { done, key, isWill = false }: Arrival): void {
    const { slot, resolution } = target
    const { storing } = this.#options
    event.params = resolution.params
    const mode = resolution.delivery?.mode ?? (event.qos === 0 ? 'none' : 'stored')
    if (mode === 'stored' && storing) {
      this.#storing ??= new Storing(storing.journal, storing.log)
      // [MQTT-3.3.1-1]: without DUP it is the first time that the client sends it.
      const options = { key: key?.(), mayRepeat: event.dup, isRepeated: !isWill, done }
      return this.#storing.put(event, target, options)
    }
    // QoS 0 has no answer: there it is the socket that waits.
    if (mode !== 'none' || event.qos === 0 || slot.waiting >= mostUnanswered) {
      return slot.put(event, event.payload.length, done)
    }
    slot.put(event, event.payload.length, () => undefined)
    return done()
  }

  /** What the client sent is given to the instance that it had, if that does not take too long. */
  async #attempted(): Promise<void> {
    const { storing } = this.#options
    if (!storing || !this.#storing?.last) return
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, storing.patience)
    await Promise.race([storing.journal.attempted(this.#storing.last), late.promise])
    clearTimeout(timer)
  }

  #tellAll(event: Parameters<Slot['put']>[0], done: Settled): void {
    const slots = this.#slots
    if (!slots) return done()
    let left = slots.size
    let failure: unknown
    const settled: Settled = (error) => {
      failure ??= error
      if (--left === 0) done(failure)
    }
    for (const slot of slots.values()) slot.put(event, 0, settled)
  }

  #route(topic: string): Target | undefined {
    const topics = (this.#topics ??= new Map())
    const known = topics.get(topic)
    if (known || topics.has(topic)) return known
    const scope = { ...this.#scope, topic }
    const resolution = this.#options.services.resolve(scope)
    const target = resolution && this.#target(resolution, scope)
    if (topics.size >= remembered) topics.clear()
    topics.set(topic, target)
    return target
  }

  #target(resolution: Resolution, scope: Unrouted<MqttScope>): Target {
    const rule = resolution.rules.at(-1) ?? this
    const slots = (this.#slots ??= new Map())
    const slot = slots.get(rule) ?? new Slot(scope, this.#options)
    slots.set(rule, slot)
    return { slot, resolution, scope, lane: `${this.#scope.clientId} ${resolution.route ?? ''}` }
  }
}

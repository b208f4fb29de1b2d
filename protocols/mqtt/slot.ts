/** One rule's place for one client: the instance that serves it now, and the events that it has not handled yet. */
import type { Connection, Outcome, Progress, Services, Transport, Unrouted } from '../../src/asgi/adapter.ts'
import { hasCode, SignalboxError } from '../../src/runtime/errors.ts'
import { checkPublish, type SendLimits } from './send.ts'
import type { MqttProtocol, MqttPublishSend, MqttScope } from './scope.ts'

export interface SlotOptions {
  readonly services: Pick<Services<MqttProtocol>, 'open' | 'resolve' | 'unrouted' | 'failed'>
  /** Left out: nothing is stored, and what would be is answered when it is handled. */
  readonly storing?: StoringOptions
  readonly limits: SendLimits
  /** How long the application may take for one event, in milliseconds. */
  readonly handlerTimeout: number
  /** To the broker, or with `direct` to the client; resolves when it was taken. */
  publish(event: MqttPublishSend): Promise<void>
  /** The application closes the client's connection. */
  close(): void
}

export interface StoringOptions extends Pick<Services<MqttProtocol>, 'journal' | 'log'> {
  /** How long a client that has left is not let go for the sake of what it sent before, in milliseconds. */
  readonly patience: number
}

/** How the application answered `mqtt.connect`; `failed`: it did not. */
export type ConnectAnswer = 'accepted' | 'refused' | 'failed'

type Event = MqttProtocol['receive']

/** Called once, when the event was handled, or with an error when the application failed on it, and the id of its scope. */
export type Settled = (error?: unknown, scopeId?: string) => void

/** What becomes of an event that the application fails on: it is a dead letter, or only `done` is told. */
export type Failure = 'buried' | 'told'

interface Item {
  readonly event: Event
  readonly bytes: number
  done: Settled
  readonly failure: Failure
  /** It was with an instance that ended before it came to it. */
  again: boolean
}

/**
 * Gives its instance one event at a time. An instance that ended, however it ended, is followed by a fresh one when the
 * next event comes: a new scope that starts with `mqtt.connect`. So one bad event costs no other.
 */
export class Slot {
  readonly #scope: Unrouted<MqttScope>
  readonly #options: SlotOptions
  #current: Run | undefined
  readonly #runs = new Set<Run>()
  readonly #queue: Item[] = []
  #busy: Item | undefined
  #busySince = 0
  #timer: NodeJS.Timeout | undefined
  #ending: string | undefined
  readonly #idle = Promise.withResolvers<void>()

  constructor(scope: Unrouted<MqttScope>, options: SlotOptions) {
    this.#scope = scope
    this.#options = options
  }

  /** Opens the first instance and waits for its answer, which decides on the connection. */
  connect(): Promise<ConnectAnswer> {
    const answer = Promise.withResolvers<ConnectAnswer>()
    const { handlerTimeout } = this.#options
    const timer = setTimeout(() => {
      this.#detach(new SignalboxError('timed_out', `mqtt.connect was not answered within ${handlerTimeout} ms`))
      answer.resolve('failed')
    }, handlerTimeout)
    this.#open((given) => {
      clearTimeout(timer)
      answer.resolve(given)
    })
    return answer.promise
  }

  /** How many events wait for their turn. */
  get waiting(): number {
    return this.#queue.length
  }

  /** Whether the client is gone. */
  get ending(): boolean {
    return this.#ending !== undefined
  }

  put(event: Event, bytes: number, done: Settled, failure: Failure = 'buried'): void {
    this.#queue.push({ event, bytes, done, failure, again: false })
    this.#next()
  }

  /** Who is only told of a failure is told this one now, of all that is not handled yet. */
  cut(error: unknown): void {
    for (const item of this.#busy ? [this.#busy, ...this.#queue] : [...this.#queue]) {
      if (item.failure !== 'told') continue
      const { done } = item
      item.done = () => undefined
      done(error)
    }
  }

  /** Resolves when the client is gone, and what it sent was handled. */
  get over(): Promise<void> {
    return this.#idle.promise
  }

  /** The client is gone. Resolves when what it sent was handled and no instance is left. */
  async end(reason: string): Promise<void> {
    if (this.#ending === undefined) {
      this.#ending = reason
      this.#current?.connection.abort(gone())
      this.#next()
    }
    await this.#idle.promise
    await Promise.all(Array.from(this.#runs, ({ connection }) => connection.completed))
    clearTimeout(this.#timer)
  }

  #next(): void {
    if (this.#busy) return
    const item = this.#queue.shift()
    if (!item) {
      if (this.#ending !== undefined) this.#finish(this.#ending)
      return
    }
    this.#busy = item
    this.#watch()
    // One that has just ended says so here before it calls `end`.
    const run = this.#current && !this.#current.connection.ended ? this.#current : this.#open()
    run.connection.deliver(item.event, { bytes: item.bytes, handled: (error) => this.#handled(item, run, error) })
  }

  #handled(item: Item, run: Run, error: unknown): void {
    if (this.#busy !== item) return
    if (hasCode(error, 'scope_ended')) {
      // The instance has ended and did not come to this event. Why, it says in a moment: see `ended`.
      run.unreached = item
      return
    }
    this.#busy = undefined
    this.#settle(item, run, error)
    this.#next()
  }

  #settle({ event, done, failure }: Item, run: Run, error: unknown): void {
    if (error === undefined) return done()
    const { scope } = run.connection
    run.isReported = true
    if (failure === 'told') return done(error, scope.id)
    const { services } = this.#options
    if (!hasCode(error, 'no_route')) services.failed(scope, event, error)
    else services.unrouted(this.#scope, 'topic' in event ? event.topic : event.type)
    return done(error, scope.id)
  }

  #open(onAnswer?: (answer: ConnectAnswer) => void): Run {
    const run = new Run(this.#options, (outcome) => this.#ended(run, outcome), onAnswer)
    run.connection = this.#options.services.open(this.#scope, run)
    this.#current = run
    this.#runs.add(run)
    run.connection.deliver({ type: 'mqtt.connect' }, { handled: (error) => (run.connected = error === undefined) })
    if (this.#ending !== undefined) run.connection.abort(gone())
    return run
  }

  #ended(run: Run, outcome: Outcome): void {
    this.#runs.delete(run)
    if (this.#current === run) this.#current = undefined
    const item = run.unreached
    if (!item || item !== this.#busy) return
    this.#busy = undefined
    if (run.connected && !item.again) {
      // Something else ended it: a message of the channel layer, or it had enough.
      item.again = true
      this.#queue.unshift(item)
    } else {
      const over = new SignalboxError('scope_ended', `the application ended without taking ${item.event.type}`)
      this.#settle(item, run, outcome.kind === 'raised' ? outcome.error : over)
    }
    this.#next()
  }

  /** Gives an instance that takes too long no more events, and nobody waits for it any longer. */
  #detach(error: SignalboxError): void {
    const run = this.#current
    this.#current = undefined
    if (!run) return
    run.detached = true
    run.connection.abort(error)
  }

  /** One timer serves all events: it is looked at when it is due, not set anew for each. */
  #watch(): void {
    this.#busySince = performance.now()
    this.#timer ??= setTimeout(() => this.#look(), this.#options.handlerTimeout)
  }

  #look(): void {
    this.#timer = undefined
    const { handlerTimeout } = this.#options
    const item = this.#busy
    const run = this.#current
    if (!item || !run) return
    const left = handlerTimeout - (performance.now() - this.#busySince)
    if (left > 0) {
      this.#timer = setTimeout(() => this.#look(), Math.ceil(left))
      return
    }
    const late = new SignalboxError('timed_out', `${item.event.type} was not handled within ${handlerTimeout} ms`)
    this.#detach(late)
    this.#handled(item, run, late)
  }

  #finish(reason: string): void {
    // Not `disconnect`: what an application then publishes is for the others, and is to reach them.
    this.#current?.connection.deliver({ type: 'mqtt.disconnect', reason }, { last: true })
    this.#idle.resolve()
  }
}

/** One instance, as its application sees the outside. */
class Run implements Transport<MqttProtocol> {
  /** Set right after the instance was opened, before it runs. */
  connection!: Connection<MqttProtocol>
  /** It has handled `mqtt.connect`. */
  connected = false
  /** The event that it ended before. */
  unreached: Item | undefined
  detached = false
  isReported = false
  #answered: boolean
  #accepted = false
  #closed = false
  readonly #options: SlotOptions
  readonly #onEnd: (outcome: Outcome) => void
  readonly #onAnswer: ((answer: ConnectAnswer) => void) | undefined

  constructor(
    options: SlotOptions,
    onEnd: (outcome: Outcome) => void,
    onAnswer: ((answer: ConnectAnswer) => void) | undefined,
  ) {
    this.#options = options
    this.#onEnd = onEnd
    this.#onAnswer = onAnswer
    // Only the first instance of an application without topic rules decides on the connection.
    this.#answered = onAnswer === undefined
  }

  get progress(): Progress {
    return this.#answered ? 'finished' : 'none'
  }

  send(event: MqttProtocol['send']): void | Promise<void> {
    if (this.detached) return undefined
    if (this.#closed) throw unexpected('the connection is closed', 'nothing more', event)
    switch (event.type) {
      case 'mqtt.accept':
        if (this.#accepted) throw unexpected('the connection is accepted', 'mqtt.publish or mqtt.close', event)
        this.#accepted = true
        return this.#answer('accepted')
      case 'mqtt.close':
        this.#closed = true
        return this.#answered ? this.#options.close() : this.#answer('refused')
      case 'mqtt.publish':
        if (!this.#answered) throw unexpected('mqtt.connect is not answered', 'mqtt.accept or mqtt.close', event)
        checkPublish(event, this.#options.limits)
        return this.#options.publish(event)
      default:
        throw unexpected('the connection is open', 'mqtt.publish or mqtt.close', event satisfies never)
    }
  }

  end(outcome: Outcome): void {
    this.#onEnd(outcome)
    // Who returned without an answer did not want the client; who raised may want it another time.
    if (!this.#answered) this.#answer(outcome.kind === 'unanswered' ? 'refused' : 'failed')
  }

  #answer(answer: ConnectAnswer): void {
    this.#answered = true
    this.#onAnswer?.(answer)
  }
}

function gone(): SignalboxError {
  return new SignalboxError('disconnected', 'the MQTT client is gone')
}

function unexpected(state: string, expected: string, event: { readonly type: string }): SignalboxError {
  return new SignalboxError('unexpected_event', `${state}: expected ${expected}, found ${event.type}`)
}

/** One scope whose application lives on a worker: hands it the events there, and does here what it asks for. */
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Context, Log } from '../asgi/context.ts'
import type { BaseScope, Event } from '../asgi/protocol.ts'
import { SignalboxError, hasCode } from '../runtime/errors.ts'
import { encodeError } from './envelope.ts'
import type { Place } from './messages.ts'
import { describe } from './modules.ts'
import { pack, packToMove } from './pack.ts'
import type { Lane } from './lanes.ts'
import { layerMethods } from './layer-methods.ts'
import type { BridgePool, Resident } from './pool.ts'
import { Task, type Host, type Prepared } from './task.ts'

export interface SeatOptions {
  readonly pool: BridgePool
  readonly place: Place
  /** Whether the bytes of events move to the worker instead of being copied. */
  readonly moveBytes: boolean
  readonly scope: BaseScope
  readonly receive: () => Promise<Event>
  readonly send: (event: Event) => Promise<void>
  readonly context: Context
}

/** How long, in milliseconds, a blocked worker waits for a peer that does not read. The rest is waited for without it. */
const sendPatience = 100

let nextId = 1

export class Seat implements Resident {
  host: Host | undefined
  readonly #id = nextId++
  readonly #options: SeatOptions
  #lane: Lane | undefined
  #task: Task | undefined
  /** What the worker has not been told yet. */
  #aborted: { readonly reason: unknown } | undefined
  /** Whether the worker has something to forget. */
  #isKnown = false
  /** What was sent and not yet taken. */
  #sending: Promise<void> | undefined
  #dead: Error | undefined
  #onDeath: (error: Error) => void = () => undefined

  constructor(options: SeatOptions) {
    this.#options = options
    const { pool, context } = options
    pool.residents.set(this.#id, this)
    if (context.signal.aborted) this.#onAbort()
    else context.signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  get log(): Log {
    return this.#options.context.log
  }

  /** Gives a consumer its events, one after the other; between them it takes up nothing but memory on its worker. */
  async serveEvents(): Promise<void> {
    const { pool } = this.#options
    const lane = pool.lane()
    this.#lane = lane
    lane.seats++
    let handled = false
    for (;;) {
      let event: Event
      try {
        event = await this.#nextEvent()
      } catch (error) {
        // The last event was handled, and nobody had said that it was the last one.
        if (handled && hasCode(error, 'scope_ended')) return
        throw error
      }
      const over = await pool.submit(this.#eventTask(event, !handled), { lane })
      handled = true
      if (over === true) this.#isKnown = false
      await this.#flush()
      if (over === true) return
    }
  }

  /** Runs a function for the whole of the scope. It keeps a thread until it returns, also while it waits in `receive()`. */
  async hold(): Promise<void> {
    const { pool, place, scope } = this.#options
    this.#task = new Task({
      ...this.#named(() => describe(place)),
      bounded: true,
      prepare: (task, host) => {
        this.host = host
        const aborted = this.#takeAborted()
        return {
          parcel: { kind: 'scope', task, scope: scope.id, seat: this.#id, open: { place, scope }, aborted },
          transfer: [],
        }
      },
    })
    await pool.submit(this.#task, { holds: true })
    await this.#flush()
  }

  /** What the worker asks for. */
  async call(method: string, args: readonly unknown[]): Promise<unknown> {
    const { receive, context } = this.#options
    switch (method) {
      case 'receive':
        return receive()
      case 'send':
        return this.#send(args[0] as Event) // whoever sends what is no event is told so by the transport
      case 'channel':
        return context.channel
      case 'join':
        await Promise.all(args.map((group) => context.layer.groupAdd(String(group), context.channel)))
        return undefined
      default:
        return onLayer(context.layer, method, args)
    }
  }

  die(error: Error): void {
    this.#dead = error
    this.#onDeath(error)
    this.#task?.cancel(error)
  }

  close(): void {
    const { pool, context } = this.#options
    context.signal.removeEventListener('abort', this.#onAbort)
    pool.residents.delete(this.#id)
    if (this.#lane) this.#lane.seats--
    if (this.host && this.#isKnown) pool.forget(this.host, this.#id)
  }

  readonly #onAbort = (): void => {
    const { reason } = this.#options.context.signal
    this.#aborted = { reason }
    // The time that the scope's own rule or protocol gives it is up. For any other reason it may finish what it does.
    if (hasCode(reason, 'timed_out')) this.#task?.cancel(reason as Error)
    else if (this.#task && this.host && !this.#task.over) {
      this.#isKnown = true
      this.host.abort(this.#id, this.#takeAborted())
    }
  }

  #takeAborted() {
    const aborted = this.#aborted
    this.#aborted = undefined
    return aborted && encodeError(aborted.reason, 'the abort')
  }

  /** Not a race with a promise that lives as long as the scope: each event would stay with it. */
  #nextEvent(): Promise<Event> {
    if (this.#dead) return Promise.reject(this.#dead)
    const { promise, resolve, reject } = Promise.withResolvers<Event>()
    this.#onDeath = reject
    this.#options.receive().then(resolve, reject)
    return promise
  }

  #eventTask(event: Event, first: boolean): Task {
    const { place, scope, moveBytes } = this.#options
    const prepare = (task: number, host: Host): Prepared => {
      this.host = host
      this.#isKnown = true
      const { value, transfer } = moveBytes ? packToMove(event) : pack(event)
      return {
        parcel: {
          kind: 'event',
          task,
          scope: scope.id,
          seat: this.#id,
          event: value as Event, // packed, it is the same
          open: first ? { place, scope } : undefined,
          aborted: this.#takeAborted(),
        },
        transfer,
      }
    }
    this.#task = new Task({
      ...this.#named(() => `${event.type} in ${describe(place)}`),
      resident: true,
      bounded: first,
      prepare,
    })
    return this.#task
  }

  #named(label: () => string) {
    const { pool, scope, context } = this.#options
    return { label, scope: scope.id, timeout: context.timeout ?? pool.options.timeout }
  }

  async #send(event: Event): Promise<void> {
    await this.#flush()
    const sent = this.#options.send(event)
    const patience = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => patience.resolve(false), sendPatience)
    const taken = await Promise.race([sent.then(() => true), patience.promise]).finally(() => clearTimeout(timer))
    if (taken) return
    this.#sending = sent
    sent.catch(() => undefined) // whoever waits for it next is told
  }

  async #flush(): Promise<void> {
    const sending = this.#sending
    this.#sending = undefined
    await sending
  }
}

function onLayer(layer: ChannelLayer, method: string, args: readonly unknown[]): Promise<unknown> {
  const name = layerMethods.find((each) => `layer.${each}` === method)
  if (name) return Reflect.apply(layer[name], layer, args) as Promise<unknown>
  throw new SignalboxError('bridge_failed', `found no method ${method} that a worker may call on its layer`)
}

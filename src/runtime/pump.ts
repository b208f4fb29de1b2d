/** Calls a handler with each event of a scope as it comes, one at a time and in order, without a promise an event. */
import { AsyncResource } from 'node:async_hooks'
import type { Protocol, Receive } from '../asgi/protocol.ts'
import { hasCode } from './errors.ts'
import { isPending, settled } from './settled.ts'

/** What is done with the events of scopes. It is told whose event it is, so that many scopes share one. */
export interface EventHandler<E, T = undefined> {
  /** Whether nothing is to be handled after this one. */
  isLast(event: E, of: T): boolean
  /** A promise means that it is handled when that resolves. */
  handle(event: E, of: T): unknown
  /** Something went wrong before the last event was handled, or it never came. An error goes on when this is done. */
  failed(error: unknown, of: T): Promise<void>
  /** See {@link touchNext}. */
  touch?(all: readonly T[]): number
}

export interface Source<E> {
  /**
   * Says that the event before is handled, and answers the next one. Undefined: there is none now, the pump is idle from here on,
   * and {@link handleSoon} brings it.
   * @throws when there will be none.
   */
  next(): E | undefined
}

/** Who wants to know how a call ends. */
export interface Hearer {
  hear(call: Promise<void>): void
}

/** Handlers run in the asynchronous context of their application, not in that of whoever sent the event. */
export class Pump<E, T> extends AsyncResource {
  /** Resolves when the last event is handled, or the scope is over; rejects with what a handler raised. */
  readonly over: Promise<void>
  readonly #source: Source<E>
  readonly #handler: EventHandler<E, T>
  readonly #of: T
  /** Undefined when it is over. */
  #settle: ((outcome: Promise<void> | void) => void) | undefined
  #hearer: Hearer | undefined

  constructor(source: Source<E>, handler: EventHandler<E, T>, of: T) {
    super('signalbox.scope')
    this.#source = source
    this.#handler = handler
    this.#of = of
    this.over = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.#next()
  }

  /** Tells of `over` when it is settled: whoever heard of it before would hold five objects more for as long as a socket is open. */
  whenOver(hearer: Hearer): void {
    if (this.#settle) this.#hearer = hearer
    else hearer.hear(this.over)
  }

  /** Handles what came. */
  work(event: E): void {
    this.runInAsyncScope(handleOne, undefined, this, event)
  }

  /** See {@link touchNext}. Those of another handler than the first one's are left out. */
  static touch(pumps: readonly Pump<unknown, unknown>[]): number {
    const all: unknown[] = []
    let handler: EventHandler<unknown, unknown> | undefined
    let sum = 0
    for (const pump of pumps) {
      sum += pump.asyncId()
      handler ??= pump.#handler
      if (pump.#handler === handler) all.push(pump.#of)
    }
    return sum + (handler?.touch?.(all) ?? 0)
  }

  handleOne(event: E): void {
    let last = false
    try {
      last = this.#handler.isLast(event, this.#of)
      const result = this.#handler.handle(event, this.#of)
      if (!isPending(result)) return this.#handled(last)
      Promise.resolve(result).then(
        () => this.#handled(last),
        (error: unknown) => this.#raised(error, last),
      )
    } catch (error) {
      this.#raised(error, last)
    }
  }

  #handled(last: boolean): void {
    if (last) this.#end()
    else this.#next()
  }

  #raised(error: unknown, last: boolean): void {
    if (last) this.#end(Promise.reject(error))
    else this.#fail(error)
  }

  #next(): void {
    let event: E | undefined
    try {
      event = this.#source.next()
    } catch (error) {
      return this.end(error)
    }
    if (event !== undefined) handleSoon(this, event)
  }

  #fail(error: unknown): void {
    const rethrow = () => {
      throw error
    }
    this.#end(this.#cleanUp(error).then(rethrow))
  }

  /** There will be no further event; called while it is idle. That is an error only if it says more than that. */
  end(error: unknown): void {
    if (hasCode(error, 'scope_ended')) this.#end(this.#cleanUp(error))
    else this.#fail(error)
  }

  #end(outcome?: Promise<void>): void {
    const settle = this.#settle
    if (!settle) return
    this.#settle = undefined
    settle(outcome)
    this.#hearer?.hear(this.over)
  }

  #cleanUp(error: unknown): Promise<void> {
    return this.runInAsyncScope(() => this.#handler.failed(error, this.#of))
  }
}

function handleOne(pump: Pump<unknown, unknown>, event: unknown): void {
  pump.handleOne(event)
}

/** Who has been given an event, in that order, and which: two lists, because most often there are many. */
class Ready {
  readonly pumps: Pump<unknown, unknown>[] = []
  readonly events: unknown[] = []
}

let ready = new Ready()

/**
 * The next event of a pump that is idle. Handled a microtask later: whoever sends it goes on first. A function and no method: that
 * would look at the pump, which a message to many others has pushed out of the cache again when it has its turn.
 */
export function handleSoon<E, T>(pump: Pump<E, T>, event: E): void {
  // Not kept in the pump: a new event in an old one costs V8 a note of its own.
  ready.events.push(event)
  // At a third of what `queueMicrotask` costs, which keeps a context that is not needed here.
  if (ready.pumps.push(pump) === 1) void settled.then(handleReady)
}

function handleReady(): void {
  const { pumps, events } = ready
  // Those that get another event meanwhile have their turn after everybody else has had one.
  ready = new Ready()
  for (let index = 0; index < pumps.length; index++) {
    if (index % lot === 0) touchNext(pumps, index)
    pumps[index]?.work(events[index])
  }
}

/** How many are touched before the first of them has its turn. */
const lot = 32
/** What came of it: V8 leaves out what nobody asks for. */
const touched = new Float64Array(1)

/**
 * A thousand scopes are more than a processor's cache holds, and in its turn each object of a scope is waited for before the next
 * one is known. So what a lot of scopes will need is read beforehand, as far as the peers' sockets, one kind of object after the
 * other: those of one kind know nothing of each other, and are fetched side by side.
 */
function touchNext(pumps: readonly Pump<unknown, unknown>[], first: number): void {
  touched[0] = Pump.touch(pumps.slice(first, first + lot))
}

/** The same where somebody stands between, who wants to see every event. */
export async function handleInLoop<P extends Protocol, T>(
  receive: Receive<P>,
  handler: EventHandler<P['receive'], T>,
  of: T,
): Promise<void> {
  let last = false
  let asking = false
  try {
    while (!last) {
      asking = true
      // Events of a scope are handled strictly in order.
      const event = await receive()
      asking = false
      last = handler.isLast(event, of)
      const result = handler.handle(event, of)
      if (isPending(result)) await result
    }
  } catch (error) {
    if (!last) await handler.failed(error, of)
    if (!asking || !hasCode(error, 'scope_ended')) throw error
  }
}

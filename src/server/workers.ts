/** Serves named channels in this process: one scope of the application for each message, so many of them at once. */
import type { Connection, Outcome, Transport, Unrouted } from '../asgi/adapter.ts'
import type { ChannelLayer, Work } from '../asgi/channel-layer.ts'
import type { ChannelProtocol, ChannelScope } from '../asgi/channel.ts'
import type { Log } from '../asgi/context.ts'
import type { Event } from '../asgi/protocol.ts'
import { SignalboxError } from '../runtime/errors.ts'

/** A named channel that is served. */
export interface WorkerOptions {
  readonly channel: string
  /** How many of its messages are handled at once. */
  readonly concurrency: number
}

export interface WorkerParts {
  readonly layer: ChannelLayer
  readonly log: Log
  /** Opens a scope of the application. */
  readonly open: (scope: Unrouted<ChannelScope>, transport: Transport<ChannelProtocol>) => Connection
}

/** How long a layer may take to note what became of the last messages, in milliseconds; what it did not note comes again. */
const settleTime = 1000

export class Workers {
  readonly #parts: WorkerParts
  readonly #stop = new AbortController()
  readonly #consuming: Promise<void>[] = []
  readonly #busy = new Set<Connection>()

  constructor(parts: WorkerParts) {
    this.#parts = parts
  }

  /** Takes messages from now on, until `close`. */
  serve({ channel, concurrency }: WorkerOptions): void {
    const { layer, log } = this.#parts
    const handle = (message: Event, work: Work) => this.#handle(channel, message, work)
    const consuming = layer.consume(channel, handle, { signal: this.#stop.signal, concurrency })
    const failed = (error: unknown) => log.error({ err: error, channel }, `channel ${channel} is not served any more`)
    this.#consuming.push(consuming.catch(failed))
  }

  /** Takes nothing more and lets what is in hand finish; at the signal it is interrupted, and left to be tried again. */
  async close(signal: AbortSignal): Promise<void> {
    this.#stop.abort(closing)
    const done = Promise.all(this.#consuming)
    const late = Promise.withResolvers<void>()
    const cut = () => void this.#interrupt(done).then(late.resolve)
    signal.addEventListener('abort', cut, { once: true })
    if (signal.aborted) cut()
    await Promise.race([done, late.promise])
    signal.removeEventListener('abort', cut)
  }

  /** Rejects when the application failed on the message. */
  async #handle(channel: string, message: Event, { attempt }: Work): Promise<void> {
    let failure: { readonly error: unknown } | undefined
    let outcome: Outcome | undefined
    const connection = this.#parts.open(
      { type: 'channel', channel, client: null, server: null, ...(attempt > 1 && { attempt }) },
      { progress: 'finished', send: refuse, end: (ending) => (outcome = ending) },
    )
    const handled = (error?: unknown) => {
      if (error !== undefined) failure = { error }
    }
    connection.deliver(message, { last: 'of the peer', handled })
    this.#busy.add(connection)
    await connection.completed
    this.#busy.delete(connection)
    // What it raised before it took the message says more than that nobody took it.
    if (failure) throw outcome?.kind === 'raised' ? outcome.error : failure.error
  }

  /** Resolves when `done` does, or when it has had its time. */
  async #interrupt(done: Promise<unknown>): Promise<void> {
    const busy = [...this.#busy]
    for (const connection of busy) connection.abort(closing)
    await Promise.all(busy.map(({ completed }) => completed))
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, settleTime)
    await Promise.race([done, promise])
    clearTimeout(timer)
  }
}

const closing = new SignalboxError('closing', 'the gateway is closing')

function refuse(): never {
  throw new SignalboxError('unexpected_event', 'a channel scope has no peer: it answers through the layer')
}

/** A level database whose operations end in the order in which they began, many to a trip to the disk. */

export type WriteOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: string }
export interface Range {
  readonly gte: string
  readonly lt: string
}
interface Encoding {
  readonly valueEncoding: 'buffer'
}

/** What is used of the database below. */
export interface Level {
  getMany(keys: string[], encoding: Encoding): Promise<(Buffer | undefined)[]>
  batch(operations: WriteOperation[], encoding: Encoding): Promise<unknown>
  clear(range: Range): Promise<unknown>
  values(range: Range & Encoding): AsyncIterable<Buffer>
  keys(range: Range): AsyncIterable<string>
  close(): Promise<void>
}

interface Chain {
  del(key: string): void
  write(): Promise<unknown>
}

type Operation = { readonly settle: PromiseWithResolvers<unknown> } & (
  | { readonly kind: 'get'; readonly key: string }
  | { readonly kind: 'write'; readonly operations: readonly WriteOperation[] }
  | { readonly kind: 'clear'; readonly range: Range }
  | { readonly kind: 'wait' }
)

const encoding = { valueEncoding: 'buffer' } as const
/** Operations in one trip. */
const longestTrip = 500

/**
 * The part of a level database that aedes-persistence-level uses. It leaves several operations under way at once, which a
 * database answers in any order; messages would overtake one another there [MQTT-4.6.0-6].
 */
export class OrderedLevel {
  readonly #level: Level
  #queue: Operation[] = []
  #running = false

  constructor(level: Level) {
    this.#level = level
  }

  get(key: string): Promise<unknown> {
    return this.#do({ kind: 'get', key })
  }

  put(key: string, value: Buffer): Promise<unknown> {
    return this.#do({ kind: 'write', operations: [{ type: 'put', key, value }] })
  }

  del(key: string): Promise<unknown> {
    return this.#do({ kind: 'write', operations: [{ type: 'del', key }] })
  }

  /** With operations it does them; without, it gives a list to fill and write. */
  batch(operations: readonly WriteOperation[]): Promise<unknown>
  batch(): Chain
  batch(operations?: readonly WriteOperation[]): unknown {
    if (operations) return this.#do({ kind: 'write', operations })
    const collected: WriteOperation[] = []
    const chain: Chain = {
      del: (key) => void collected.push({ type: 'del', key }),
      write: () => this.#do({ kind: 'write', operations: collected }),
    }
    return chain
  }

  clear(range: Range): Promise<unknown> {
    return this.#do({ kind: 'clear', range })
  }

  /** What was written before is seen. */
  async *values(range: Range): AsyncGenerator<Buffer> {
    await this.#do({ kind: 'wait' })
    yield* this.#level.values({ ...range, ...encoding })
  }

  async *keys(range: Range): AsyncGenerator<string> {
    await this.#do({ kind: 'wait' })
    yield* this.#level.keys(range)
  }

  async close(): Promise<void> {
    await this.#do({ kind: 'wait' })
    await this.#level.close()
  }

  #do(operation: OperationWithoutSettle): Promise<unknown> {
    const settle = Promise.withResolvers<unknown>()
    this.#queue.push({ ...operation, settle })
    if (!this.#running) {
      this.#running = true
      // A moment later, so that what begins in one turn goes together.
      queueMicrotask(() => void this.#run())
    }
    return settle.promise
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const trip = this.#nextTrip()
      try {
        const results = await this.#make(trip)
        for (const [index, { settle }] of trip.entries()) settle.resolve(results[index])
      } catch (error) {
        for (const { settle } of trip) settle.reject(error)
      }
    }
    this.#running = false
  }

  /** The operations of one kind at the head of the queue. */
  #nextTrip(): readonly Operation[] {
    const [first] = this.#queue
    const other = this.#queue.findIndex((operation) => operation.kind !== first?.kind)
    const length = Math.min(other === -1 ? this.#queue.length : other, first?.kind === 'clear' ? 1 : longestTrip)
    return this.#queue.splice(0, length)
  }

  async #make(trip: readonly Operation[]): Promise<readonly unknown[]> {
    const [first] = trip
    switch (first?.kind) {
      case 'get':
        return await this.#level.getMany(
          trip.flatMap((operation) => (operation.kind === 'get' ? operation.key : [])),
          encoding,
        )
      case 'write':
        await this.#level.batch(
          trip.flatMap((operation) => (operation.kind === 'write' ? operation.operations : [])),
          encoding,
        )
        return []
      case 'clear':
        await this.#level.clear(first.range)
        return []
      default:
        return []
    }
  }
}

type OperationWithoutSettle = Operation extends infer O ? (O extends Operation ? Omit<O, 'settle'> : never) : never

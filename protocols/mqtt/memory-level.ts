/** A level database in memory, for a broker that forgets everything when it ends. */
import type { Level, Range, WriteOperation } from './ordered-level.ts'

export class MemoryLevel implements Level {
  readonly #entries = new Map<string, Buffer>()

  async getMany(keys: string[]): Promise<(Buffer | undefined)[]> {
    return keys.map((key) => this.#entries.get(key))
  }

  async batch(operations: WriteOperation[]): Promise<void> {
    for (const operation of operations) {
      if (operation.type === 'put') this.#entries.set(operation.key, operation.value)
      else this.#entries.delete(operation.key)
    }
  }

  async clear(range: Range): Promise<void> {
    for (const key of this.#within(range)) this.#entries.delete(key)
  }

  async *values(range: Range): AsyncGenerator<Buffer> {
    for (const key of this.#within(range)) {
      const value = this.#entries.get(key)
      if (value) yield value
    }
  }

  async *keys(range: Range): AsyncGenerator<string> {
    yield* this.#within(range)
  }

  async close(): Promise<void> {
    this.#entries.clear()
  }

  #within({ gte, lt }: Range): string[] {
    return Array.from(this.#entries.keys())
      .filter((key) => key >= gte && key < lt)
      .toSorted()
  }
}

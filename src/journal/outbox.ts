/** What the main thread wants of the worker: the calls and questions of a turn, and who waits for their answers. */
import type { Accepted } from '../asgi/delivery.ts'
import { errorOf } from './group.ts'
import type { Answer, Ask, Batch, EncodedRecord } from './messages.ts'
import { Packer } from './parcel.ts'

interface Call {
  readonly count: number
  resolve(accepted: readonly Accepted[]): void
  reject(error: Error): void
}

type Question = Pick<PromiseWithResolvers<unknown>, 'resolve' | 'reject'>

export class Outbox {
  readonly #packer = new Packer()
  /** In the order in which the worker answers. */
  #calls: Call[] = []
  readonly #questions = new Map<number, Question>()
  #asks: { readonly number: number; readonly ask: Ask }[] = []
  #lastAsk = 0

  get isEmpty(): boolean {
    return this.#packer.isEmpty && this.#asks.length === 0
  }

  accept(records: readonly EncodedRecord[]): Promise<readonly Accepted[]> {
    this.#packer.add(records)
    return new Promise((resolve, reject) => {
      this.#calls.push({ count: records.length, resolve, reject })
    })
  }

  ask(ask: Ask): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const number = ++this.#lastAsk
    this.#questions.set(number, { resolve, reject })
    this.#asks.push({ number, ask })
    return promise
  }

  /** What has come together since the last time. */
  take(): Batch {
    const asks = this.#asks
    if (asks.length > 0) this.#asks = []
    return {
      ...(!this.#packer.isEmpty && { parcel: this.#packer.take() }),
      ...(asks.length > 0 && { asks }),
    }
  }

  settle({ results, failures, replies = [] }: Answer): void {
    if (results.length > 0) this.#settleCalls(results, failures)
    for (const reply of replies) {
      const question = this.#questions.get(reply.number)
      this.#questions.delete(reply.number)
      if ('failure' in reply) question?.reject(errorOf(reply.failure))
      else question?.resolve(reply.value)
    }
  }

  /** Nobody will answer. */
  fail(error: Error): void {
    if (!this.isEmpty) this.take()
    for (const call of this.#calls.splice(0)) call.reject(error)
    for (const question of this.#questions.values()) question.reject(error)
    this.#questions.clear()
  }

  #settleCalls(results: Answer['results'], failures: Answer['failures']): void {
    let position = 0
    let failed = 0
    let settled = 0
    while (position < results.length) {
      const call = this.#calls[settled++]
      const failure = results[position] === 0 ? failures[failed++] : undefined
      if (failure) {
        position++
        call?.reject(errorOf(failure))
      } else {
        const end = position + (call?.count ?? 1)
        call?.resolve(results.slice(position, end).map(acceptedOf))
        position = end
      }
    }
    this.#calls = this.#calls.slice(settled)
  }
}

function acceptedOf(id: number): Accepted {
  return id > 0 ? { id, known: false } : { id: -id, known: true }
}

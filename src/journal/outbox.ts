/** What the main thread wants of the worker: the calls and questions of a turn, and who waits for their answers. */
import type { Accepted } from '../asgi/delivery.ts'
import type { SignalboxError } from '../runtime/errors.ts'
import { elsewhere } from './elsewhere.ts'
import { errorOf } from './failure.ts'
import type { Answer, Ask, Batch, EncodedRecord, Outcome } from './messages.ts'
import { Packer } from './parcel.ts'

/** Who waits for the records of one call to be on disk: one of the two is called, once. */
export interface Caller {
  /** How many records it has. */
  readonly count: number
  /** Their ids, from this place on; negative for those that were known. */
  stored(ids: readonly number[], at: number): void
  refused(error: SignalboxError): void
}

type Question = Pick<PromiseWithResolvers<unknown>, 'resolve' | 'reject'>

export class Outbox {
  readonly #packer = new Packer()
  /** Those of the next parcel. */
  #callers: Caller[] = []
  /** Those of the parcels under way, in the order in which the worker answers. */
  #sent: Caller[][] = []
  readonly #questions = new Map<number, Question>()
  #asks: { readonly number: number; readonly ask: Ask }[] = []
  #lastAsk = 0
  readonly #onError: (error: unknown) => void

  /** `onError` is told what callers throw. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  get isEmpty(): boolean {
    return this.#packer.isEmpty && this.#asks.length === 0
  }

  /** How many calls of `store` the next batch has. */
  get calls(): number {
    return this.#callers.length
  }

  /** @throws SignalboxError `journal_full` when so much has come in this turn that it cannot be counted. */
  store(records: readonly EncodedRecord[], caller: Caller): void {
    this.#packer.add(records)
    this.#callers.push(caller)
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
    const parcel = this.#packer.isEmpty ? undefined : this.#packer.take()
    if (parcel) {
      this.#sent.push(this.#callers)
      this.#callers = []
    }
    return { ...(parcel && { parcel }), ...(asks.length > 0 && { asks }) }
  }

  settle({ outcomes, replies = [] }: Answer): void {
    for (const outcome of outcomes) this.#settleCallers(this.#sent.shift() ?? [], outcome)
    for (const reply of replies) {
      const question = this.#questions.get(reply.number)
      this.#questions.delete(reply.number)
      if ('failure' in reply) question?.reject(errorOf(reply.failure))
      else question?.resolve(reply.value)
    }
  }

  /** Nobody will answer. */
  fail(error: SignalboxError): void {
    if (!this.isEmpty) this.take()
    for (const caller of this.#sent.splice(0).flat()) this.#refuse(caller, error)
    for (const question of this.#questions.values()) question.reject(error)
    this.#questions.clear()
  }

  #settleCallers(callers: readonly Caller[], outcome: Outcome): void {
    const { results: ids, failures } = typeof outcome === 'number' ? allFrom(outcome, callers) : outcome
    let position = 0
    let failed = 0
    for (const caller of callers) {
      const failure = ids[position] === 0 ? failures[failed++] : undefined
      if (failure) this.#refuse(caller, errorOf(failure))
      else this.#tell(caller, ids, position)
      position += failure ? 1 : caller.count
    }
  }

  /** Whoever fails on what it is told is no reason not to tell the others. */
  #tell(caller: Caller, ids: readonly number[], at: number): void {
    try {
      caller.stored(ids, at)
    } catch (error) {
      this.#onError(error)
    }
  }

  #refuse(caller: Caller, why: SignalboxError): void {
    try {
      caller.refused(why)
    } catch (error) {
      this.#onError(error)
    }
  }
}

/** All of them are new, and have the ids from this one on. */
function allFrom(first: number, callers: readonly Caller[]): Exclude<Outcome, number> {
  const results: number[] = []
  for (const { count } of callers) for (let left = count; left > 0; left--) results.push(first + results.length)
  return { results, failures: [] }
}

export function acceptedOf(id: number): Accepted {
  return id > 0 ? { id, known: false } : { id: id === -elsewhere ? undefined : -id, known: true }
}

/** Whether anything of a parcel is new. */
export function hasStored(outcome: Outcome): boolean {
  return typeof outcome === 'number' || outcome.results.some((id) => id > 0)
}

/** The store beside the simplest model of it, which says what it has to keep. */
import { expect, jest } from '@jest/globals'
import { eventOf } from '../../src/journal/codec.ts'
import { openFile } from '../../src/journal/file.ts'
import { commitGroup, type Committed } from '../../src/journal/group.ts'
import type { EncodedRecord, Note, Parcel, RecordState, Tally } from '../../src/journal/messages.ts'
import { Packer } from '../../src/journal/parcel.ts'
import { keptOf, selectKept } from '../../src/journal/parcels.ts'
import { Reader } from '../../src/journal/reader.ts'
import { JournalStore } from '../../src/journal/store.ts'
import { day, Folder } from './support.ts'

export const bodies = [Buffer.from('a whole mail'), Buffer.from('another')]
export const limits = { maxSize: 3000, deadLetterAge: 30 * day, dedupeWindow: day }

const now = Date.now.bind(Date)
let passed = 0
jest.spyOn(Date, 'now').mockImplementation(() => now() + passed)

/** So many milliseconds pass. */
export function pass(time: number): void {
  passed += time
}

export interface ModelRecord {
  state: RecordState
  readonly route: string
  readonly event: string
  readonly body: Buffer | undefined
  attempts: number
  due: number
  error: string
}

/** What the store must be, in the simplest words. */
class Model {
  readonly records = new Map<number, ModelRecord>()
  readonly keys = new Map<string, number>()
  readonly tally = { accepted: 0, handled: 0, discarded: 0, expired: 0 }
  lastId = 0

  known(key: string | undefined, mayRepeat: boolean): number | undefined {
    return key === undefined || !mayRepeat ? undefined : this.keys.get(key)
  }

  add(given: EncodedRecord, state: RecordState, error = ''): number {
    const id = ++this.lastId
    const { route, body, key } = given
    const content = { route, event: Buffer.from(eventOf(given)).toString(), body: body as Buffer | undefined }
    this.records.set(id, { ...content, state, attempts: 0, due: 0, error })
    if (key !== undefined && state === 'waiting') this.keys.set(key, id)
    this.tally.accepted++
    return id
  }

  waiting(id: number): ModelRecord | undefined {
    const found = this.records.get(id)
    return found?.state === 'waiting' ? found : undefined
  }

  end(id: number, state: RecordState, end: 'handled' | 'discarded' | 'expired'): void {
    if (this.records.get(id)?.state !== state) return
    this.records.delete(id)
    this.tally[end]++
  }

  ids(state: RecordState): number[] {
    return [...this.records].flatMap(([id, found]) => (found.state === state ? id : [])).toSorted((a, b) => a - b)
  }
}

/** The real one beside its model. */
export class Pair implements Disposable {
  readonly model = new Model()
  readonly #folder = new Folder()
  readonly #maxSize: number
  #batch = 0
  store: JournalStore

  constructor(maxSize = limits.maxSize) {
    this.#maxSize = maxSize
    this.store = this.#open()
  }

  reopen(): void {
    this.store.database.close()
    this.store = this.#open()
  }

  accept(calls: readonly EncodedRecord[][]) {
    return commitGroup(this.store, [{ parcel: parcelOf(calls) }])
  }

  note(list: readonly Note[]) {
    return commitGroup(this.store, [{ notes: { number: ++this.#batch, list } }])
  }

  check(): void {
    const reader = new Reader(this.store)
    const { model } = this
    const counts = reader.counts()
    const { accepted, handled, waiting, dead, discarded, expired } = counts
    expect({ accepted, handled, discarded, expired }).toEqual(model.tally)
    expect([waiting, dead]).toEqual([model.ids('waiting').length, model.ids('dead').length])
    expect(accepted).toBe(handled + waiting + dead + discarded + expired)
    for (const place of counts.byProtocolAndRoute) expect(place.accepted).toBe(sumOf(place))
    expect(counts.bytes).toBe(this.#bytes())
    expect(reader.waiting(0, 1000).map(({ id }) => id)).toEqual(model.ids('waiting'))
    const listed = finish(reader.list({ limit: 1000 }))
    expect(listed.map(({ id }) => id)).toEqual([...model.records.keys()].toSorted((a, b) => b - a))
    for (const { id, state, route, attempts, due, error } of listed) {
      expect({ state, route, attempts, due, error }).toEqual(this.#light(id))
    }
    for (const { id, event, body } of reader.load([...model.records.keys()])) {
      expect(Buffer.from(event).toString()).toBe(model.records.get(id)?.event)
      expect(body && Buffer.from(body)).toEqual(model.records.get(id)?.body)
    }
  }

  [Symbol.dispose](): void {
    this.store.database.close()
    this.#folder[Symbol.dispose]()
  }

  #light(id: number) {
    const { event: _, body: __, ...light } = this.model.records.get(id) as ModelRecord
    return light
  }

  #bytes(): unknown {
    const bodyBytes = this.store.database
      .prepare('SELECT coalesce(sum(length(data) + 100), 0) AS sum FROM bodies')
      .get()
    const listed = finish(new Reader(this.store).list({ limit: 1000 }))
    return listed.reduce((sum, { size }) => sum + size, Number(bodyBytes?.['sum']) + this.#bodiesTogether())
  }

  #bodiesTogether(): number {
    let sum = 0
    for (const row of this.store.database.prepare(selectKept).all()) {
      const kept = keptOf(row)
      const sizes = new Map(kept.ids().map((each) => [kept.head(each).body?.from, kept.head(each).body?.size]))
      for (const size of sizes.values()) sum += size === undefined ? 0 : size + 100
    }
    return sum
  }

  #open(): JournalStore {
    const { database } = openFile(this.#folder.path)
    // What the disk has is not the matter here.
    database.exec('PRAGMA synchronous = OFF')
    return new JournalStore(database, { ...limits, maxSize: this.#maxSize })
  }
}

/** What the calls of the one parcel of this answer were told: the ids of each record, 0 for a call that failed. */
export function resultsOf(answer: Committed | undefined, records = 0): number[] {
  const [outcome] = answer?.outcomes ?? []
  if (typeof outcome === 'number') return Array.from({ length: records }, (_, index) => outcome + index)
  return [...(outcome?.results ?? [])]
}

export function failuresOf(answer: Committed | undefined) {
  const [outcome] = answer?.outcomes ?? []
  return typeof outcome === 'object' ? outcome.failures : []
}

export function parcelOf(given: readonly (readonly EncodedRecord[])[]): Parcel {
  const packer = new Packer()
  for (const call of given) packer.add(call)
  return packer.take()
}

function sumOf({ handled, waiting, dead, discarded, expired }: Tally): number {
  return handled + waiting + dead + discarded + expired
}

export function finish<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

/** The store against a simple model: whatever is done to it, in whatever order, and with what comes to nothing in between. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { decode, eventOf } from '../../src/journal/codec.ts'
import { openFile } from '../../src/journal/file.ts'
import { commitGroup, type Committed } from '../../src/journal/group.ts'
import type { EncodedRecord, Note, Parcel, RecordFilter, RecordState, Tally } from '../../src/journal/messages.ts'
import { Packer } from '../../src/journal/parcel.ts'
import { Reader } from '../../src/journal/reader.ts'
import { JournalStore } from '../../src/journal/store.ts'
import { discard, retry, sweep } from '../../src/journal/work.ts'
import { day, Folder, record } from './support.ts'

const routes = ['gateway.yaml:3', 'gateway.yaml:9']
/** Each start belongs to a scope. */
const starts = [Buffer.from('start '), Buffer.from('beginning ')]
const bodies = [Buffer.from('a whole mail'), Buffer.from('another')]
const limits = { maxSize: 3000, deadLetterAge: 30 * day, dedupeWindow: day }

interface ModelRecord {
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
class Pair implements Disposable {
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
    return listed.reduce((sum, { size }) => sum + size, Number(bodyBytes?.['sum']))
  }

  #open(): JournalStore {
    const { database } = openFile(this.#folder.path)
    // What the disk has is not the matter here.
    database.exec('PRAGMA synchronous = OFF')
    return new JournalStore(database, { ...limits, maxSize: this.#maxSize })
  }
}

/** What the calls of the one parcel of this answer were told: the ids of each record, 0 for a call that failed. */
function resultsOf(answer: Committed | undefined, records = 0): number[] {
  const [outcome] = answer?.outcomes ?? []
  if (typeof outcome === 'number') return Array.from({ length: records }, (_, index) => outcome + index)
  return [...(outcome?.results ?? [])]
}

function failuresOf(answer: Committed | undefined) {
  const [outcome] = answer?.outcomes ?? []
  return typeof outcome === 'object' ? outcome.failures : []
}

function parcelOf(given: readonly (readonly EncodedRecord[])[]): Parcel {
  const packer = new Packer()
  for (const call of given) packer.add(call)
  return packer.take()
}

function sumOf({ handled, waiting, dead, discarded, expired }: Tally): number {
  return handled + waiting + dead + discarded + expired
}

function finish<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

type Step = (pair: Pair) => void

const id = fc.integer({ min: 1, max: 30 })
const text = fc.string({ unit: 'grapheme', maxLength: 30 })

const someRecord = fc
  .record(
    {
      route: fc.constantFrom(...routes),
      key: fc.constantFrom('k1', 'k2', 'k3'),
      mayRepeat: fc.boolean(),
      event: text.map((given) => Buffer.from(given)),
      body: fc.constantFrom(...bodies),
    },
    { requiredKeys: ['route', 'event'] },
  )
  .map((given) => record(given))

/** As most are: those of a turn are kept together. */
const plainRecord = fc
  .record(
    {
      route: fc.constantFrom(...routes),
      key: fc.constantFrom('k1', 'k2', 'k3'),
      mayRepeat: fc.constant(false),
      start: fc.constantFrom(...starts),
      event: text.map((given) => Buffer.from(given)),
    },
    { requiredKeys: ['route', 'event'] },
  )
  .map((given) =>
    record({ ...given, ...(given.start && { scope: Buffer.from(`scope of ${given.start.toString()}`) }) }),
  )

const calls = (one: fc.Arbitrary<EncodedRecord>) =>
  fc.array(fc.array(one, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 })

const accept = fc
  .oneof({ weight: 2, arbitrary: calls(plainRecord) }, calls(someRecord), calls(fc.oneof(plainRecord, someRecord)))
  .map((given): Step => (pair) => {
    const results = resultsOf(pair.accept(given), given.flat().length)
    for (const call of given) {
      if (results[0] === 0) {
        results.shift()
        continue
      }
      for (const each of call) {
        const known = pair.model.known(each.key, each.mayRepeat)
        const expected = known === undefined ? pair.model.add(each, 'waiting') : -known
        expect(results.shift()).toBe(expected)
      }
    }
    expect(results).toEqual([])
  })

const handled = fc.array(id, { minLength: 1 }).map((ids): Step => (pair) => {
  pair.note([{ kind: 'handled', ids }])
  for (const each of ids) pair.model.end(each, 'waiting', 'handled')
})

const failed = fc.tuple(id, fc.nat(9), fc.nat(1e12), text).map(([target, attempts, due, error]): Step => (pair) => {
  pair.note([{ kind: 'failed', id: target, attempts, due, error }])
  const found = pair.model.waiting(target)
  if (found) Object.assign(found, { attempts, due, error })
})

const dead = fc.tuple(id, fc.nat(9), text).map(([target, attempts, error]): Step => (pair) => {
  pair.note([{ kind: 'dead', id: target, attempts, error }])
  const found = pair.model.waiting(target)
  if (found) Object.assign(found, { state: 'dead', attempts, due: 0, error })
})

const begun = fc.array(id).map((ids): Step => (pair) => {
  pair.note([{ kind: 'begun', ids }])
  for (const each of ids) {
    const found = pair.model.waiting(each)
    if (found) found.attempts++
  }
})

const letter = fc.tuple(someRecord, text).map(([given, error]): Step => (pair) => {
  const answer = pair.note([{ kind: 'letter', record: given, error }])
  if (!answer?.dropped) pair.model.add(given, 'dead', error)
})

const filter = fc.record(
  {
    state: fc.constantFrom<RecordState>('waiting', 'dead'),
    route: fc.constantFrom(...routes),
    olderThan: fc.constant(1),
  },
  { requiredKeys: [] },
)
const selection = fc.oneof(fc.array(id), filter)

function isChosen(given: readonly number[] | RecordFilter, target: number, { state, route }: ModelRecord): boolean {
  if (Array.isArray(given)) return given.includes(target)
  const wanted = given as RecordFilter
  // Nothing is as old as the filter's only age.
  return (wanted.state ?? state) === state && (wanted.route ?? route) === route && wanted.olderThan === undefined
}

const retried = selection.map((given): Step => ({ store, model }) => {
  const chosen = model.ids('dead').filter((each) => isChosen(given, each, model.records.get(each) as ModelRecord))
  const ids = finish(retry(store, new Reader(store), given)) as number[]
  expect(ids.toSorted((a, b) => a - b)).toEqual(chosen)
  for (const each of chosen) Object.assign(model.records.get(each) ?? {}, { state: 'waiting', attempts: 0, due: 0 })
})

const discarded = selection.map((given): Step => ({ store, model }) => {
  const chosen = [...model.records].filter(([each, found]) => isChosen(given, each, found))
  const ids = finish(discard(store, new Reader(store), given)) as number[]
  expect(ids.toSorted((a, b) => a - b)).toEqual(chosen.map(([each]) => each).toSorted((a, b) => a - b))
  for (const [each, { state }] of chosen) model.end(each, state, 'discarded')
})

/** Everything is a little too old. */
const aged = fc.constant<Step>(({ store, model }) => {
  store.database.exec(`UPDATE dead SET died = died - ${31 * day}; UPDATE keys SET at = at - ${2 * day}`)
  store.database.exec(`UPDATE parcels SET at = at - ${day}`)
  finish(sweep(store))
  for (const each of model.ids('dead')) model.end(each, 'dead', 'expired')
  model.keys.clear()
  expect(store.database.prepare('SELECT count(*) AS count FROM keys').get()?.['count']).toBe(0)
  expect(store.ledger.keyBytes).toBe(0)
})

/** A transaction that comes to nothing: neither on disk nor in memory. */
const undone = fc.array(someRecord, { minLength: 1, maxLength: 3 }).map((records): Step => ({ store }) => {
  const work = () =>
    store.write(() => {
      store.note({ kind: 'handled', ids: [1, 2, 3] }, Date.now())
      store.note({ kind: 'dead', id: 4, attempts: 1, error: 'undone' }, Date.now())
      store.keep(parcelOf([[record(), record(), record(), record()]]), Date.now())
      store.accept(records, Date.now())
      throw new Error('undone')
    })
  expect(work).toThrow(/undone|journal keeps/)
})

const reopened = fc.constant<Step>((pair) => pair.reopen())

const step = fc.oneof(
  { weight: 6, arbitrary: accept },
  { weight: 3, arbitrary: handled },
  { weight: 2, arbitrary: failed },
  { weight: 3, arbitrary: dead },
  begun,
  { weight: 2, arbitrary: letter },
  retried,
  discarded,
  aged,
  undone,
  reopened,
)

test('whatever happens in whatever order, it keeps what the model keeps, and accepted = handled + waiting + dead + discarded + expired', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      using pair = new Pair()
      for (const each of steps) {
        each(pair)
        pair.check()
      }
    }),
    { numRuns: 150 },
  )
})

test('notes whose answer was lost are not written twice', () => {
  using pair = new Pair()
  const notes = { number: 7, list: [{ kind: 'letter', record: record(), error: 'dead at once' } as const] }
  expect(commitGroup(pair.store, [{ notes }])?.notes).toEqual({ number: 7 })
  pair.reopen()
  expect(commitGroup(pair.store, [{ notes }])?.notes).toEqual({ number: 7 })
  expect(new Reader(pair.store).counts()).toMatchObject({ accepted: 1, dead: 1 })
})

test('a call that finds no room is refused whole; the others of its group are stored, up to the last byte', () => {
  using pair = new Pair()
  const size = 100 + 'a'.length + '127.0.0.1:4000'.length + 'scope'.length
  const filling = (bytes: number) => record({ event: Buffer.alloc(bytes - size) })
  const answer = pair.accept([[filling(1000)], [filling(1000), filling(1001)], [filling(2000)], [filling(200)]])
  expect(resultsOf(answer)).toEqual([1, 0, 2, 0])
  expect(failuresOf(answer).map(({ code }) => code)).toEqual(['journal_full', 'journal_full'])
  expect(failuresOf(answer)[0]?.message).toContain('1000 bytes of at most 3000, so 2001 more find no room')
  expect(new Reader(pair.store).counts()).toMatchObject({ bytes: 3000, waiting: 2 })
})

test('a note that cannot be written keeps no other one from the disk, and is said', () => {
  using pair = new Pair()
  pair.accept([[record()], [record()]])
  const answer = pair.note([
    { kind: 'handled', ids: [1] },
    { kind: 'failed', id: 2, attempts: Number.NaN, due: 0, error: '' },
    { kind: 'dead', id: 2, attempts: 1, error: 'last' },
  ])
  expect(answer?.faults).toEqual([expect.stringContaining('failed: ')])
  expect(answer?.written).toEqual({ failure: undefined })
  expect(new Reader(pair.store).counts()).toMatchObject({ handled: 1, dead: 1 })
})

test('what was stored and never answered, because the worker ended, is unmade', () => {
  using pair = new Pair()
  pair.accept([[record({ key: 'k1', body: bodies[0] })]])
  pair.accept([[record({ key: 'k2', body: bodies[1] }), record({ body: bodies[1] })]])
  pair.store.write(() => pair.store.unmake(1))
  expect(new Reader(pair.store).counts()).toMatchObject({ accepted: 1, waiting: 1 })
  expect(pair.store.database.prepare('SELECT count(*) AS count FROM bodies').get()?.['count']).toBe(1)
  expect(resultsOf(pair.accept([[record({ key: 'k1' }), record({ key: 'k2' })]]))).toEqual([-1, 4])
})

test('a thousand rules have their own counters; of more, those with nothing left stand together', () => {
  using pair = new Pair()
  const rule = (number: number) => record({ route: `gateway.yaml:${number}`, event: Buffer.alloc(0) })
  for (let number = 1; number <= 1100; number++) {
    pair.accept([[rule(number)]])
    if (number > 5) pair.note([{ kind: 'handled', ids: [number] }])
  }
  const { byProtocolAndRoute, accepted, handled, waiting } = new Reader(pair.store).counts()
  expect({ accepted, handled, waiting }).toEqual({ accepted: 1100, handled: 1095, waiting: 5 })
  expect(byProtocolAndRoute.length).toBeLessThanOrEqual(1000)
  expect(byProtocolAndRoute.reduce((sum, place) => sum + place.accepted, 0)).toBe(1100)
  expect(byProtocolAndRoute.find(({ route }) => route === '(others)')?.handled).toBeGreaterThan(400)
  const { route } = new Reader(pair.store).waiting(0, 1)[0] ?? {}
  expect(route).toBe('gateway.yaml:1')
})

test('keys that take more than their share are forgotten sooner, the oldest first', () => {
  using pair = new Pair()
  const keyed = (key: string) => record({ key, event: Buffer.alloc(0) })
  pair.accept([
    [keyed('old 1'), keyed('old 2'), keyed('old 3'), keyed('old 4'), keyed('old 5'), keyed('old 6'), keyed('old 7')],
  ])
  pair.store.database.exec(`UPDATE keys SET at = at - ${0.6 * day}`)
  pair.accept([[keyed('new')]])
  expect(pair.store.ledger.keyBytes).toBeGreaterThan(limits.maxSize / 8)
  finish(sweep(pair.store))
  expect(pair.store.ledger.keyBytes).toBeLessThan(limits.maxSize / 8)
  expect(resultsOf(pair.accept([[keyed('new')]]))).toEqual([-8])
})

test('a key is known for the window from the last time on that it came', () => {
  using pair = new Pair()
  const keyed = [[record({ key: 'k' })]]
  const later = () => pair.store.database.exec(`UPDATE keys SET at = at - ${0.6 * day}`)
  pair.accept(keyed)
  for (let time = 0; time < 3; time++) {
    later()
    expect(resultsOf(pair.accept(keyed))).toEqual([-1])
  }
  later()
  later()
  expect(resultsOf(pair.accept(keyed))).toEqual([2])
})

test('a file that was large and is nearly empty gives the disk its room back, step by step', () => {
  using pair = new Pair(2 ** 30)
  const pages = () => Number(pair.store.database.prepare('PRAGMA page_count').get()?.['page_count'])
  pair.accept([[record()], ...Array.from({ length: 30 }, () => [record({ event: Buffer.alloc(2 ** 20) })])])
  finish(sweep(pair.store))
  expect(pages()).toBeGreaterThan(30 * 256)
  pair.note([{ kind: 'handled', ids: Array.from({ length: 30 }, (_, index) => index + 2) }])
  expect([...sweep(pair.store)].length).toBeGreaterThan(5)
  // 16 MiB stay for what comes.
  expect(pages()).toBeLessThan(4200)
  expect(new Reader(pair.store).waiting(0, 10)).toEqual([expect.objectContaining({ id: 1 })])
})

test('without room on the disk what is new is refused, and what takes room away is written', () => {
  using pair = new Pair(2 ** 20)
  pair.accept([Array.from({ length: 10 }, () => record())])
  const pages = pair.store.database.prepare('PRAGMA page_count').get()?.['page_count']
  pair.store.database.exec(`PRAGMA max_page_count = ${Number(pages)}`)
  const parcel = parcelOf([[record({ event: Buffer.alloc(2000), body: Buffer.alloc(20_000) })]])
  const notes = { number: 50, list: [{ kind: 'handled', ids: [1, 2, 3] } as const satisfies Note] }
  const answer = commitGroup(pair.store, [{ parcel }, { notes }])
  expect(answer).toMatchObject({
    outcomes: [{ results: [0], failures: [{ code: 'journal_failed' }] }],
    notes: { number: 50 },
  })
  expect(answer?.written?.failure?.message).toContain('full')
  expect(new Reader(pair.store).counts()).toMatchObject({ accepted: 10, handled: 3, waiting: 7 })
  pair.store.database.exec('PRAGMA max_page_count = 100000')
  expect(resultsOf(pair.accept([[record()]]))).toEqual([11])
})

const five = [1, 2, 3, 4, 5]
const numbered = () => five.map((number) => record({ event: Buffer.from(`event ${number}`) }))
const count = ({ store }: Pair, table: string) =>
  store.database.prepare(`SELECT count(*) AS count FROM ${table}`).get()?.['count']

describe('records that came together', () => {
  test('are one row, until the last of them is handled', () => {
    using pair = new Pair()
    expect(resultsOf(pair.accept([numbered()]), 5)).toEqual(five)
    expect([count(pair, 'parcels'), count(pair, 'waiting')]).toEqual([1, 0])
    pair.note([{ kind: 'handled', ids: [5, 1, 3, 2] }])
    pair.reopen()
    expect([count(pair, 'parcels'), count(pair, 'gone')]).toEqual([1, 1])
    expect(new Reader(pair.store).waiting(0, 10)).toEqual([expect.objectContaining({ id: 4 })])
    pair.note([{ kind: 'handled', ids: [4, 4, 5] }])
    expect([count(pair, 'parcels'), count(pair, 'gone')]).toEqual([0, 0])
    expect(new Reader(pair.store).counts()).toMatchObject({ accepted: 5, handled: 5, waiting: 0, bytes: 0 })
  })

  test('have rows of their own as soon as one of them is known by its key', () => {
    using pair = new Pair()
    pair.accept([[record({ key: 'k' })]])
    const again = [...numbered(), record({ key: 'k' })]
    expect(resultsOf(pair.accept([again]))).toEqual([2, 3, 4, 5, 6, -1])
    expect([count(pair, 'parcels'), count(pair, 'waiting')]).toEqual([0, 6])
  })

  test('keep no room for those that are gone: what is left of an old parcel gets rows of its own', () => {
    using pair = new Pair()
    pair.accept([numbered()])
    pair.accept([numbered()])
    pair.note([{ kind: 'handled', ids: [1, 2, 4, 6] }])
    finish(sweep(pair.store))
    expect(count(pair, 'parcels')).toBe(2)
    pair.store.database.exec('UPDATE parcels SET at = at - 61000')
    finish(sweep(pair.store))
    // More than half of the second one is left.
    expect([count(pair, 'parcels'), count(pair, 'waiting')]).toEqual([1, 2])
    const reader = new Reader(pair.store)
    expect(reader.waiting(0, 10).map(({ id: one }) => one)).toEqual([3, 5, 7, 8, 9, 10])
    expect(Buffer.from(reader.show(5)?.event ?? []).toString()).toBe('event 5')
    expect(reader.counts()).toMatchObject({ accepted: 10, handled: 4, waiting: 6 })
  })

  test('and were never answered are unmade, all of them', () => {
    using pair = new Pair()
    pair.accept([numbered()])
    pair.accept([numbered().map((one, index) => ({ ...one, key: `k${index}`, mayRepeat: false }))])
    pair.note([{ kind: 'failed', id: 7, attempts: 1, due: 0, error: 'no' }])
    pair.store.write(() => pair.store.unmake(5))
    expect(new Reader(pair.store).counts()).toMatchObject({ accepted: 5, waiting: 5, bytes: pair.store.ledger.bytes })
    expect([count(pair, 'parcels'), count(pair, 'waiting'), count(pair, 'keys')]).toEqual([1, 0, 0])
  })

  test('are there though what the file says of them is damaged, without their content', () => {
    using pair = new Pair()
    pair.accept([numbered()])
    for (const damage of [`heads = 'nonsense'`, `bytes = x''`, `rows = zeroblob(40)`, `rows = zeroblob(37)`]) {
      pair.store.database.exec(`UPDATE parcels SET ${damage}`)
      pair.reopen()
      const reader = new Reader(pair.store)
      const ids = reader.waiting(0, 10).map(({ id: one }) => one)
      expect([damage, ids]).toEqual([damage, damage.includes('37') ? [1, 2, 3, 4] : five])
      for (const loaded of reader.load(ids)) expect(() => decode(loaded)).toThrow('cannot be read')
    }
  })
})

test('a file of the version before is taken over, with all that is in it', () => {
  using pair = new Pair()
  pair.accept([[record({ key: 'k', body: bodies[0] })]])
  pair.store.database.exec('DROP TABLE parcels; DROP TABLE gone; PRAGMA user_version = 1')
  pair.reopen()
  expect(resultsOf(pair.accept([[...numbered(), record({ key: 'k' })]]))).toEqual([2, 3, 4, 5, 6, -1])
  expect(resultsOf(pair.accept([numbered()]), 5)).toEqual([7, 8, 9, 10, 11])
  pair.reopen()
  expect(count(pair, 'parcels')).toBe(1)
  expect(new Reader(pair.store).counts()).toMatchObject({ accepted: 11, waiting: 11 })
})

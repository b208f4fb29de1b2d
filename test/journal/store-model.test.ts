/** The store against a simple model: whatever is done to it, in whatever order, and with what comes to nothing in between. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { type EncodedRecord, type RecordFilter, type RecordState, underWay } from '../../src/journal/messages.ts'
import { Reader } from '../../src/journal/reader.ts'
import { discard, retry, sweep } from '../../src/journal/work.ts'
import { bodies, finish, Pair, parcelOf, resultsOf, type ModelRecord, pass } from './model.ts'
import { day, record } from './support.ts'

const routes = ['gateway.yaml:3', 'gateway.yaml:9']
/** Each start belongs to a scope. */
const starts = [Buffer.from('start '), Buffer.from('beginning ')]

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

const begun = fc.tuple(fc.array(id), fc.constantFrom(1 as const, -1 as const)).map(([ids, by]): Step => (pair) => {
  pair.note([{ kind: 'begun', ids, by }])
  for (const each of ids) {
    const found = pair.model.waiting(each)
    if (found) Object.assign(found, { attempts: found.attempts + by, due: by > 0 ? underWay : 0 })
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
  pass(31 * day)
  finish(sweep(store))
  for (const each of model.ids('dead')) model.end(each, 'dead', 'expired')
  model.keys.clear()
  expect(store.database.prepare('SELECT count(*) AS count FROM known').get()?.['count']).toBe(0)
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

/** What the store promises, one by one: bounds, keys, room on the disk, and records that came together. */
import { describe, expect, test } from '@jest/globals'
import { decode } from '../../src/journal/codec.ts'
import { commitGroup } from '../../src/journal/group.ts'
import type { Note } from '../../src/journal/messages.ts'
import { Reader } from '../../src/journal/reader.ts'
import { sweep } from '../../src/journal/work.ts'
import { bodies, failuresOf, finish, limits, Pair, parcelOf, pass, resultsOf } from './model.ts'
import { day, record } from './support.ts'

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
  expect([count(pair, 'parcels'), count(pair, 'bodies')]).toEqual([1, 0])
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
  pass(0.6 * day)
  pair.accept([[keyed('new')]])
  expect(pair.store.ledger.keyBytes).toBeGreaterThan(limits.maxSize / 8)
  finish(sweep(pair.store))
  expect(pair.store.ledger.keyBytes).toBeLessThan(limits.maxSize / 8)
  expect(resultsOf(pair.accept([[keyed('new')]]))).toEqual([-8])
})

test('a key is known for the window from the last time on that it came', () => {
  using pair = new Pair()
  const keyed = [[record({ key: 'k' })]]
  const later = () => pass(0.6 * day)
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
    pass(61_000)
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
    expect([count(pair, 'parcels'), count(pair, 'waiting'), count(pair, 'known')]).toEqual([1, 0, 0])
    expect(pair.store.ledger.keyBytes).toBe(0)
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

const recipients = ['ann', 'bob', 'carol']
/** One mail to three. */
const mail = (body = Buffer.from('the whole mail')) =>
  recipients.map((name) => record({ scope: Buffer.from(`scope of ${name}`), key: `1 ${name}`, body }))

describe('records with bodies that came together', () => {
  test('are one row with their bodies and keys, which goes with the last of them', () => {
    using pair = new Pair()
    expect(resultsOf(pair.accept([mail()]), 3)).toEqual([1, 2, 3])
    expect([count(pair, 'parcels'), count(pair, 'bodies'), count(pair, 'known')]).toEqual([1, 0, 1])
    const { bytes } = new Reader(pair.store).counts()
    pair.note([{ kind: 'handled', ids: [1, 2] }])
    pair.reopen()
    const [shown] = new Reader(pair.store).load([3])
    expect(Buffer.from(shown?.body ?? []).toString()).toBe('the whole mail')
    expect(Buffer.from(shown?.scope ?? []).toString()).toBe('scope of carol')
    expect(new Reader(pair.store).counts().bytes).toBeGreaterThan(bytes / 3)
    pair.note([{ kind: 'handled', ids: [3] }])
    expect([count(pair, 'parcels'), count(pair, 'bodies')]).toEqual([0, 0])
    expect(new Reader(pair.store).counts()).toMatchObject({ accepted: 3, handled: 3, bytes: 0 })
    expect(resultsOf(pair.accept([mail()]))).toEqual([-1, -2, -3])
  })

  test('share their body still when one of them fails', () => {
    using pair = new Pair()
    pair.accept([mail(), [record({ body: bodies[0] })]])
    const { bytes } = new Reader(pair.store).counts()
    pair.note([{ kind: 'failed', id: 2, attempts: 1, due: 0, error: '' }])
    expect([count(pair, 'parcels'), count(pair, 'waiting'), count(pair, 'bodies')]).toEqual([1, 3, 1])
    expect(new Reader(pair.store).counts().bytes).toBe(bytes)
    pair.note([{ kind: 'handled', ids: [1, 2, 4] }])
    expect([count(pair, 'parcels'), count(pair, 'bodies')]).toEqual([0, 1])
    pair.note([{ kind: 'dead', id: 3, attempts: 1, error: '' }])
    const [dead] = new Reader(pair.store).load([3])
    expect(Buffer.from(dead?.body ?? []).toString()).toBe('the whole mail')
  })

  test('have rows of their own when they are large', () => {
    using pair = new Pair(2 ** 30)
    pair.accept([mail(Buffer.alloc(5 * 2 ** 20))])
    expect([count(pair, 'parcels'), count(pair, 'waiting'), count(pair, 'bodies')]).toEqual([0, 3, 1])
  })

  test('are known by their keys in the parcel itself too', () => {
    using pair = new Pair()
    expect(resultsOf(pair.accept([mail(), mail()]))).toEqual([1, 2, 3, -1, -2, -3])
    expect(resultsOf(pair.accept([mail()]))).toEqual([-1, -2, -3])
  })
})

test('very many keys are known after a start, each by its record', () => {
  using pair = new Pair(2 ** 30)
  const keyed = (number: number) => record({ key: `key ${number}`, body: bodies[0] })
  const numbers = Array.from({ length: 3000 }, (_, number) => number)
  for (let lot = 0; lot < 3000; lot += 500) {
    pair.accept(numbers.slice(lot, lot + 500).map((number) => [keyed(number)]))
    pass(day / 12)
  }
  pair.reopen()
  const answer = pair.accept(numbers.map((number) => [keyed(number)]))
  expect(resultsOf(answer)).toEqual(numbers.map((number) => -(number + 1)))
})

describe('a file of an earlier version is taken over, with all that is in it', () => {
  const keys = () => `
    CREATE TABLE keys (key TEXT PRIMARY KEY, id INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO keys VALUES ('in mqtt k', 1, ${Date.now()}), ('in mqtt old', 1, ${Date.now() - 2 * day}); DROP TABLE known;`

  test.each([
    [1, 'DROP TABLE parcels; DROP TABLE gone;'],
    [2, ''],
  ])('%i', (version, before) => {
    using pair = new Pair()
    pair.accept([[record()]])
    pair.store.database.exec(`${before} ${keys()} PRAGMA user_version = ${version}`)
    pair.reopen()
    expect(resultsOf(pair.accept([[...numbered(), record({ key: 'k' })]]))).toEqual([2, 3, 4, 5, 6, -1])
    expect(resultsOf(pair.accept([[record({ key: 'old' })]]))).toEqual([7])
    expect(resultsOf(pair.accept([numbered()]), 5)).toEqual([8, 9, 10, 11, 12])
    pair.reopen()
    expect(count(pair, 'parcels')).toBe(1)
    expect(new Reader(pair.store).counts()).toMatchObject({ accepted: 12, waiting: 12 })
  })
})

/** What is stored is there again, in the order in which it is shown. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Store, closeStore, lifespan, storeOf } from '../../config/handlers/store.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import { masked } from '../../config/handlers/store/texts.ts'
import type { NewMessage } from '../../config/handlers/store/tickets.ts'
import { scopeOf } from '../support/scopes.ts'
import { mailOf } from './sample.ts'

let data: string
let store: Store
beforeEach(() => {
  data = mkdtempSync(path.join(tmpdir(), 'signalbox-'))
  store = new Store(data)
})
afterEach(() => {
  store.close()
  rmSync(data, { recursive: true })
})
const reopen = () => {
  store.close()
  store = new Store(data)
}

describe('readings', () => {
  const noon = Date.parse('2026-01-01T12:00:00Z')
  const plain = (celsius: number, at: number, room = 'kitchen') => ({ room, celsius, at, stamped: false, received: at })
  const stamped = (celsius: number, at: number, room = 'kitchen') => ({ ...plain(celsius, at, room), stamped: true })

  test('are there again after a restart, newest first, with the time as it was given', () => {
    store.readings.add(stamped(21.5, noon))
    store.readings.add(plain(22, noon + 1))
    reopen()
    expect(store.readings.history('kitchen', 100)).toMatchObject([
      { room: 'kitchen', celsius: 22, at: '2026-01-01T12:00:00.001Z' },
      { room: 'kitchen', celsius: 21.5, at: '2026-01-01T12:00:00Z' },
    ])
    expect(store.readings.history('kitchen', 1)).toHaveLength(1)
    expect(store.readings.history('hall', 100)).toEqual([])
  })

  test('of one time by the device are one; of one time of arrival they are as many as came', () => {
    expect(store.readings.add(stamped(21.5, noon))).toMatchObject({ celsius: 21.5 })
    expect(store.readings.add(stamped(99, noon))).toBeUndefined()
    expect(store.readings.add(stamped(5, noon, 'hall'))).toMatchObject({ room: 'hall' })
    store.readings.add(plain(1, noon))
    store.readings.add(plain(2, noon))
    expect(store.readings.history('kitchen', 100).map(({ celsius }) => celsius)).toEqual([2, 1, 21.5])
  })

  test('the latest of each room is the newest by its time, in whatever order they came', () => {
    const reading = fc.record({ room: fc.constantFrom('a', 'b', 'c'), minute: fc.integer({ min: 0, max: 50 }) })
    fc.assert(
      fc.property(fc.array(reading, { maxLength: 30 }), (readings) => {
        const fresh = new Store(mkdtempSync(path.join(data, 'run-')))
        const newest = new Map<string, number>()
        for (const { room, minute } of readings) {
          fresh.readings.add(stamped(minute, noon + minute * 60_000, room))
          newest.set(room, Math.max(minute, newest.get(room) ?? 0))
        }
        const shown = fresh.readings.rooms(100)
        fresh.close()
        expect(new Map(shown.map(({ room, celsius }) => [room, celsius]))).toEqual(newest)
        expect(shown.map(({ celsius }) => celsius)).toEqual([...newest.values()].toSorted((a, b) => b - a))
      }),
      { numRuns: 20 },
    )
  })

  test('a room is found as it is typed on a phone, the exact spelling first', () => {
    store.readings.add(plain(1, noon, 'kitchen'))
    store.readings.add(plain(2, noon, 'Kitchen'))
    expect(store.readings.spelling('Kitchen')).toBe('Kitchen')
    expect(store.readings.spelling('kitchen')).toBe('kitchen')
    expect(store.readings.spelling('KITCHEN')).toMatch(/^kitchen$/i)
    expect(store.readings.spelling('hall')).toBeUndefined()
  })
})

describe('tickets', () => {
  test('with messages and attachments are there again after a restart', () => {
    const content = new Uint8Array([0, 1, 255])
    const id = store.tickets.open(
      mailOf({ messageId: '<1@x>', attachments: [{ filename: 'a.png', contentType: 'image/png', content }] }),
    )
    reopen()
    expect(store.tickets.find(id)).toMatchObject({
      id: 1,
      subject: 'Fire',
      from: 'ann@example.org',
      status: 'open',
      messageCount: 1,
    })
    const url = '/tickets/1/attachments/1'
    expect(store.tickets.messages(id, 100)).toMatchObject([
      {
        kind: 'mail',
        text: 'It burns.',
        messageId: '<1@x>',
        attachments: [{ filename: 'a.png', contentType: 'image/png', size: 3, url }],
      },
    ])
    expect(store.tickets.attachment(1, 1)?.content).toEqual(content)
    expect(store.tickets.attachment(2, 1)).toBeUndefined()
    expect(store.tickets.byMessageId(['<0@x>', '<1@x>'])).toBe(1)
    expect(store.tickets.byMessageId(['', '<0@x>'])).toBeUndefined()
    expect(store.tickets.hasParticipant(1, 'ann@example.org')).toBe(true)
    expect(store.tickets.hasParticipant(1, 'bob@example.org')).toBe(false)
  })

  test('the one with news comes first', () => {
    const first = store.tickets.open(mailOf())
    const second = store.tickets.open(mailOf())
    expect(store.tickets.list(100).map(({ id }) => id)).toEqual([second, first])
    expect(store.tickets.list(1).map(({ id }) => id)).toEqual([second])
  })

  test('a bounce marks a ticket, a notice does not, and the next mail opens it again', () => {
    const id = store.tickets.open(mailOf())
    const status = (kind: NewMessage['kind']) => {
      store.tickets.append(id, mailOf({ kind }))
      return store.tickets.find(id)?.status
    }
    expect(status('notice')).toBe('open')
    expect(status('bounce')).toBe('bounced')
    expect(status('notice')).toBe('bounced')
    expect(status('mail')).toBe('open')
    expect(store.tickets.messages(id, 2).map(({ kind }) => kind)).toEqual(['mail', 'notice'])
  })

  test('a message that cannot be stored whole is not stored at all', () => {
    const twice = mailOf()
    store.tickets.open(twice)
    expect(() => store.tickets.open({ ...twice, subject: 'Again' })).toThrow('UNIQUE')
    expect(store.tickets.list(100)).toHaveLength(1)
    expect(store.tickets.has(twice.digest)).toBe(true)
  })
})

describe('texts', () => {
  test('are stored once each, newest first, and their numbers are masked', () => {
    store.texts.add({ sid: 'SM1', from: '+14155550100', body: 'TEMP kitchen', answer: '' })
    store.texts.add({ sid: 'SM2', from: '+14155550142', body: 'hello', answer: 'hi' })
    expect(store.texts.add({ sid: 'SM1', from: '+14155550100', body: 'TEMP kitchen', answer: '' })).toBeUndefined()
    reopen()
    expect(store.texts.list(100)).toMatchObject([
      { from: '+1 *** 0142', body: 'hello', answer: 'hi' },
      { from: '+1 *** 0100', body: 'TEMP kitchen', answer: '' },
    ])
  })

  test('a masked number never shows what is between its ends', () => {
    expect(masked('+14155550100')).toBe('+1 *** 0100')
    expect(masked('12345')).toBe('***')
  })
})

describe('counters', () => {
  test('begin at nothing, count, and go on after a restart', () => {
    expect(store.counters.all()).toEqual({ http: 0, websocket: 0, mqtt: 0, email: 0, sms: 0 })
    store.counters.add('mqtt')
    store.counters.add('mqtt')
    reopen()
    store.counters.add('mqtt')
    expect(store.counters.all()).toMatchObject({ http: 0, mqtt: 3 })
  })

  test('can be saved too late', () => {
    const { counters } = store
    reopen()
    expect(() => counters.save()).not.toThrow()
  })
})

describe('the store', () => {
  test('is one for each data folder, until it is closed', () => {
    const scope = { state: { data: path.join(data, 'other') } }
    const first = storeOf(scope)
    expect(storeOf(scope)).toBe(first)
    closeStore(scope.state.data)
    expect(storeOf(scope)).not.toBe(first)
    closeStore(scope.state.data)
    closeStore(scope.state.data)
  })

  test('is for its owner only', () => {
    store.counters.save()
    for (const file of readdirSync(data))
      expect([file, statSync(path.join(data, file)).mode & 0o077]).toEqual([file, 0])
  })

  test('says what it needs: a data folder, a database, one that is not from the future', () => {
    expect(() => storeOf({ state: {} })).toThrow('expected the data folder in scope.state.data')
    writeFileSync(path.join(data, 'file'), '')
    expect(() => storeOf({ state: { data: path.join(data, 'file') } })).toThrow('EEXIST')
    const database = new DatabaseSync(path.join(data, 'sample.sqlite'))
    database.exec('PRAGMA user_version = 99')
    expect(() => new Store(data)).toThrow('it has version 99')
    // It holds nothing of the file then.
    database.exec('PRAGMA user_version = 1')
    database.close()
  })

  describe("is open from the gateway's start to its end", () => {
    const run = (folder: string) => {
      const scope = scopeOf('lifespan', { state: { data: folder } })
      return new ApplicationCommunicator(lifespan, scope, { layer: new MemoryLayer() })
    }

    test('and closed then, with the counters saved', async () => {
      const folder = path.join(data, 'other')
      const gateway = run(folder)
      void gateway.sendInput({ type: 'lifespan.startup' })
      expect(await gateway.receiveOutput()).toEqual({ type: 'lifespan.startup.complete' })
      const open = storeOf({ state: { data: folder } })
      open.counters.add('sms')
      void gateway.sendInput({ type: 'lifespan.shutdown' }, { last: true })
      expect(await gateway.receiveOutput()).toEqual({ type: 'lifespan.shutdown.complete' })
      expect(() => open.texts.list(1)).toThrow('finalized')
      expect(storeOf({ state: { data: folder } }).counters.all()).toMatchObject({ sms: 1 })
      closeStore(folder)
    })

    test('or the gateway does not start, and says why', async () => {
      writeFileSync(path.join(data, 'file'), '')
      const gateway = run(path.join(data, 'file'))
      void gateway.sendInput({ type: 'lifespan.startup' })
      const message = expect.stringMatching(/^the database in .*file cannot be opened: EEXIST/)
      expect(await gateway.receiveOutput()).toEqual({ type: 'lifespan.startup.failed', message })
    })
  })
})

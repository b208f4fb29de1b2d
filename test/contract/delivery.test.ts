/** The contract of every adapter that stores: a positive answer means that the event is on disk, and is handled or a dead letter. */
import { describe, expect, test } from '@jest/globals'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Application } from '../../src/asgi/protocol.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { hasCode, permanent } from '../../src/runtime/errors.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { deadIn } from '../support/letters.ts'
import { readableLog } from '../journal/support.ts'
import { drivers, type Driver } from './drivers.ts'
import { afterwards, newFolder, startGateway } from './gateway.ts'

interface Note {
  readonly scopeId: string
  readonly text: string
  readonly attempt: number
  readonly redelivered: boolean
}

/** Notes what it is told, then does what `act` does. */
function noting(driver: Driver, notes: Note[], act: (note: Note) => unknown): Application {
  return async (scope, receive) => {
    const { attempt = 1, redelivered = false } = scope
    try {
      for (;;) {
        const event = await receive()
        if (event.type.endsWith('.disconnect')) return
        const text = driver.said(event)
        if (text === undefined) continue
        const note = { scopeId: scope.id, text, attempt, redelivered }
        notes.push(note)
        await act(note)
      }
    } catch (error) {
      // A scope with one event is over when that one was handled.
      if (!hasCode(error, 'scope_ended')) throw error
    }
  }
}

interface Settings {
  readonly log?: typeof silentLog
  readonly data?: string
  readonly drainTimeout?: number
  readonly closeTimeout?: number
  readonly act?: (note: Note) => unknown
}

async function start(
  driver: Driver,
  { act = () => undefined, drainTimeout = 2000, closeTimeout = 50, log = silentLog, ...rest }: Settings,
) {
  const data = rest.data ?? (await newFolder())
  const notes: Note[] = []
  const options = { ...journalOptions.parse({}), attempts: 3, backoff: 5 }
  const journal = await Journal.open({ folder: data, ...options }, silentLog)
  afterwards(() => journal.close())
  const settings = { closeTimeout, drainTimeout, log, data, kept: { journal, options } }
  const { gateway, url } = await startGateway(driver, noting(driver, notes, act), settings)
  return {
    data,
    gateway,
    journal,
    notes,
    say: (text: string, sender = 0) => driver.exchange(url, { text, sender }),
    /** Resolves when so many are dead, or handled, and nothing waits. */
    async idle(accepted: number) {
      for (;;) {
        await journal.flush()
        const { waiting, ...counts } = await journal.counts()
        if (waiting === 0 && counts.accepted === accepted) return counts
      }
    },
  }
}

const storing = drivers.filter(({ stores }) => stores !== undefined)

describe.each(storing.map((driver) => [driver.name, driver] as const))('%s', (_name, driver) => {
  const positive = driver.wire.raised

  test('the answer comes when the event is on disk, however long the application takes', async () => {
    const go = Promise.withResolvers<void>()
    const { say, journal, idle } = await start(driver, { act: () => go.promise, closeTimeout: 60_000 })
    expect(await say('one')).toBe(positive)
    expect(await journal.counts()).toMatchObject({ accepted: 1, waiting: 1 })
    go.resolve()
    expect(await idle(1)).toMatchObject({ handled: 1, dead: 0 })
  })

  test('what the application fails on is tried again in a scope that counts', async () => {
    const act = ({ attempt }: Note) => {
      if (attempt < 3) throw new Error('not yet')
    }
    const { say, notes, idle } = await start(driver, { act })
    expect(await say('one')).toBe(positive)
    expect(await idle(1)).toMatchObject({ handled: 1, dead: 0 })
    expect(notes).toMatchObject([1, 2, 3].map((attempt) => ({ text: 'one', attempt, redelivered: false })))
  })

  test('a failure is one line with the scope that failed, its rule and its peer', async () => {
    const act = () => {
      throw permanent(new Error('not ours'))
    }
    const { log, lines } = readableLog()
    const { say, notes, idle } = await start(driver, { act, log })
    expect(await say('one')).toBe(positive)
    await idle(1)
    const [line, ...more] = lines.filter(({ level }) => Number(level) >= 40)
    expect(more).toEqual([])
    expect(line).toMatchObject({
      scope: notes[0]?.scopeId,
      protocol: driver.name,
      client: expect.any(String),
      peer: expect.any(String),
      event: expect.stringContaining('.'),
      record: expect.any(Number),
      attempt: 1,
    })
    expect(line).toHaveProperty('route')
    expect(line?.msg).toBe('an event is a dead letter: not ours')
  })

  test('what it fails on each time, or once for good, is a dead letter with the error', async () => {
    const act = ({ text }: Note) => {
      throw text === 'never' ? permanent(new Error('not ours')) : new Error('not yet')
    }
    const { say, idle, journal } = await start(driver, { act })
    expect(await say('never', 1)).toBe(positive)
    expect(await say('bad', 2)).toBe(positive)
    expect(await idle(2)).toMatchObject({ handled: 0, dead: 2 })
    const letters = await deadIn(journal)
    expect(letters.map(({ error, attempts }) => [error, attempts])).toEqual([
      ['not ours', 1],
      ['not yet', 3],
    ])
  })

  test('what it throws may be no error, and have no text: the next one of the same sender is handled', async () => {
    const act = ({ text }: Note) => {
      // oxlint-disable-next-line typescript/only-throw-error -- what a match without a result leads to
      if (text === 'hollow') throw Object.assign(Object.create(null), { year: '2026' })
    }
    const { say, idle, journal } = await start(driver, { act })
    expect(await say('hollow')).toBe(positive)
    expect(await idle(1)).toMatchObject({ handled: 0, dead: 1 })
    expect(await say('one')).toBe(positive)
    expect(await idle(2)).toMatchObject({ handled: 1, dead: 1 })
    expect(await deadIn(journal)).toMatchObject([{ error: expect.stringContaining(`year: '2026'`), attempts: 3 }])
  })

  test('what was not handled is handled after a restart, and says so', async () => {
    const data = await newFolder()
    const begun = Promise.withResolvers<void>()
    const act = () => {
      begun.resolve()
      return new Promise(() => {})
    }
    // Its sender may leave, and the gateway closes before it is told to end because of that.
    const before = await start(driver, { data, act, drainTimeout: 50, closeTimeout: 500 })
    expect(await before.say('one')).toBe(positive)
    await begun.promise
    await before.gateway.close()
    await before.journal.close()
    const { notes, idle } = await start(driver, { data })
    expect(await idle(1)).toMatchObject({ handled: 1, dead: 0 })
    expect(notes).toMatchObject([{ text: 'one', attempt: 1, redelivered: true }])
  })

  test('while the journal cannot be written nobody gets a positive answer; then all is as before', async () => {
    const { say, data, journal, notes, idle } = await start(driver, {})
    expect(await say('before')).toBe(positive)
    await idle(1)
    const other = new DatabaseSync(join(data, 'journal.sqlite'), { timeout: 10_000 })
    other.exec('BEGIN IMMEDIATE')
    const asked = say('meanwhile')
    if (driver.stores?.refusal !== undefined) expect(await asked).toBe(driver.stores.refusal)
    while (!journal.healthy) await journal.counts()
    expect(notes.map(({ text }) => text)).toEqual(['before'])
    other.exec('ROLLBACK')
    other.close()
    if (driver.stores?.refusal === undefined) expect(await asked).toBe(positive)
    else while ((await say('meanwhile')) !== positive) continue
    await idle(2)
    expect(notes.map(({ text }) => text)).toEqual(['before', 'meanwhile'])
  })

  test('one that is never done with keeps nobody waiting but its own sender', async () => {
    const go = Promise.withResolvers<void>()
    const act = ({ text }: Note) => (text === 'poison' ? go.promise : undefined)
    // Its sender may leave, and it goes on.
    const { say, journal, notes, idle } = await start(driver, { act, closeTimeout: 60_000 })
    expect(await say('poison', 1)).toBe(positive)
    expect(await say('good', 2)).toBe(positive)
    while ((await journal.counts()).handled === 0) await journal.flush()
    expect(notes.map(({ text }) => text).toSorted()).toEqual(['good', 'poison'])
    go.resolve()
    await idle(2)
  })

  test('a journal that cannot be written does not keep the gateway from closing', async () => {
    const { say, gateway, data, journal, notes } = await start(driver, { drainTimeout: 50 })
    expect(await say('one')).toBe(positive)
    const other = new DatabaseSync(join(data, 'journal.sqlite'), { timeout: 10_000 })
    other.exec('BEGIN IMMEDIATE')
    journal.deadLetter(letter, 'kept')
    expect(await gateway.close()).toBe(false)
    other.exec('ROLLBACK')
    other.close()
    expect(notes).toHaveLength(1)
  })
})

/** Something to write. */
const letter = {
  direction: 'in',
  protocol: 'toy',
  route: '',
  lane: '',
  mayRepeat: true,
  scope: new Uint8Array(1),
  event: new Uint8Array(1),
  peer: '',
} as const

/** Several processes on one data folder: what came to one of them is known to all, however it ends. */
import { expect, test } from '@jest/globals'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openFile } from '../../src/journal/file.ts'
import { journalFolder } from '../../src/journal/folders.ts'
import type { Journal, JournalSettings } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { Reader } from '../../src/journal/reader.ts'
import { Siblings } from '../../src/journal/siblings.ts'
import { JournalStore } from '../../src/journal/store.ts'
import { openLeftJournals } from '../../src/server/deliveries.ts'
import { Folder, openJournal, readableLog, record, rejection, settings } from './support.ts'

const open = (folder: Folder, number: number, options: Partial<JournalSettings> = {}): Promise<Journal> =>
  openJournal(journalFolder(folder.path, number), { sibling: { data: folder.path, number }, ...options })

const mail = (key: string) => record({ protocol: 'email', key })
const again = [{ id: undefined, known: true }]

test('what one process has stored is known to another one, and to one that was started later', async () => {
  using folder = new Folder()
  await using first = await open(folder, 1)
  await using second = await open(folder, 2)
  const [stored] = await first.accept([mail('a')])
  expect(stored).toMatchObject({ known: false })
  expect(await second.accept([mail('a')])).toEqual(again)
  await using third = await open(folder, 3)
  expect(await third.accept([mail('a')])).toEqual(again)
  expect(await first.accept([mail('a')])).toEqual([{ id: stored?.id, known: true }])
  expect(await second.accept([mail('b'), mail('a')])).toEqual([{ id: expect.any(Number), known: false }, ...again])
})

test('one that is not there any more is asked too, and so is one that began another file', async () => {
  using folder = new Folder()
  await using first = await open(folder, 1)
  const second = await open(folder, 2)
  await second.accept([mail('a')])
  expect(await first.accept([mail('a')])).toEqual(again)
  await second.close()
  expect(await first.accept([mail('a'), mail('b')])).toMatchObject([{ known: true }, { known: false }])
  writeFileSync(path.join(journalFolder(folder.path, 2), 'journal.sqlite'), 'damaged')
  await using replaced = await open(folder, 2)
  await replaced.accept([mail('c')])
  expect(await first.accept([mail('c')])).toEqual(again)
  expect(await replaced.accept([mail('b')])).toEqual(again)
})

test('what comes to several at the same moment is stored by one of them', async () => {
  using folder = new Folder()
  await using first = await open(folder, 1)
  await using second = await open(folder, 2)
  await using third = await open(folder, 3)
  const offer = async (journal: Journal, key: string): Promise<boolean> => {
    for (;;) {
      try {
        const [accepted] = await journal.accept([mail(key)])
        return accepted?.known === false
      } catch (error) {
        // Its sender comes again.
        expect(error).toMatchObject({ code: 'journal_failed' })
      }
    }
  }
  for (let round = 0; round < 10; round++) {
    const keys = Array.from({ length: 20 }, (_, number) => `${round} ${number}`)
    const offered = keys.map(async (key) => {
      const stored = await Promise.all([first, second, third].map((journal) => offer(journal, key)))
      return stored.filter(Boolean).length
    })
    expect(await Promise.all(offered)).toEqual(keys.map(() => 1))
  }
})

test('what a process that died was storing is refused until its successor says that it has not', async () => {
  using folder = new Folder()
  await using first = await open(folder, 1)
  await (await open(folder, 2)).close()
  using claims = new DatabaseSync(path.join(folder.path, 'claims.sqlite'))
  claims.exec(`INSERT INTO claims VALUES ('in email a', 2)`)
  const [refused, stored] = await Promise.all([rejection(first.accept([mail('a')])), first.accept([mail('b')])])
  expect(refused).toMatchObject({ code: 'journal_failed', message: expect.stringContaining('another process') })
  expect(stored).toMatchObject([{ known: false }])
  expect(first.healthy).toBeUndefined()
  await using second = await open(folder, 2)
  expect(await first.accept([mail('a')])).toMatchObject([{ known: false }])
  expect(await second.accept([mail('a')])).toEqual(again)
})

test('what was never answered is unmade, but not what another process may have answered for', () => {
  using folder = new Folder()
  const { database } = openFile(folder.path)
  const siblings = new Siblings({ data: folder.path, number: 1 }, settings(folder.path))
  const store = new JournalStore(database, settings(folder.path), siblings)
  for (const records of [[mail('a')], [mail('b')], [record()]]) store.write(() => store.accept(records, Date.now()))
  expect(store.write(() => store.unmake(1))).toEqual([2])
  const rows = new Reader(store).waiting(0, 10)
  expect(rows.map(({ id }) => id)).toEqual([1, 2])
  siblings.close()
  database.close()
})

test('claims of a damaged file are begun again', async () => {
  using folder = new Folder()
  writeFileSync(path.join(folder.path, 'claims.sqlite'), 'no database, but long enough to be looked at '.repeat(100))
  await using first = await open(folder, 1)
  expect(await first.accept([mail('a')])).toMatchObject([{ known: false }])
})

test('without others nothing is claimed', async () => {
  using folder = new Folder()
  await using journal = await openJournal(folder.path)
  await journal.accept([mail('a')])
  expect(existsSync(path.join(folder.path, 'claims.sqlite'))).toBe(false)
})

test('a journal that processes left is there as long as events are known by it', async () => {
  using folder = new Folder()
  await using first = await open(folder, 1)
  const third = await open(folder, 3)
  const [{ id = 0 } = {}] = await third.accept([mail('a')])
  third.handled(id)
  await third.close()
  const { log } = readableLog()
  const kept = journalFolder(folder.path, 3)
  expect(await openLeftJournals({ data: folder.path }, 1, log)).toEqual([])
  expect(existsSync(kept)).toBe(true)
  expect(await first.accept([mail('a')])).toEqual(again)
  const journal = { ...journalOptions.parse({}), dedupeWindow: 0 }
  expect(await openLeftJournals({ data: folder.path, journal }, 1, log)).toEqual([])
  expect(existsSync(kept)).toBe(false)
  expect(await first.accept([mail('b')])).toMatchObject([{ known: false }])
})

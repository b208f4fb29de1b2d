/** `signalbox journal`: on a data folder that nobody uses, and on one whose gateway runs. */
import { describe, expect, test } from '@jest/globals'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { NewRecord } from '../../src/asgi/delivery.ts'
import { encode } from '../../src/journal/codec.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { ControlSocket } from '../../src/server/control-socket.ts'
import { JournalDesk } from '../../src/server/journal-desk.ts'
import { journalPlaces } from '../../src/server/journal-places.ts'
import type { Ended } from '../support/child.ts'
import { commandLine } from '../support/command-line.ts'
import { temporaryFolder } from '../support/config-text.ts'

const yaml = 'listen: { http: {} }\ndata: ./data\napplication: ./handlers.ts#site\n'

/** A folder with a YAML and a journal: 1 waits, 2 and 3 are dead letters. */
async function newFolder() {
  const made = await temporaryFolder()
  await writeFile(path.join(made.folder, 'gateway.yaml'), yaml)
  await using journal = await open(made.folder)
  const record = (fields: object, from: string): NewRecord => ({
    direction: 'in',
    scope: { type: 'sms', client: ['192.0.2.7', 5000], server: null, from } as NewRecord['scope'],
    event: { type: 'sms.message', ...fields },
  })
  const placed = { protocol: 'sms', route: 'gateway.yaml:3', lane: '' }
  const mail = { ...record({ payload: Buffer.from([0, 1, 2]) }, 'x'), body: Buffer.from('Subject: Fire\r\n\r\nHelp') }
  await journal.accept([encode(record({ body: 'TEMP kitchen' }, '+14155550100'), placed)])
  journal.deadLetter(encode(record({ body: 'HELP' }, '+14155550111'), placed), 'no answer for +14155550111')
  journal.deadLetter(encode(mail, { ...placed, protocol: 'email', route: '' }), 'ann@example.org is unknown')
  await journal.flush()
  return made
}

const open = (folder: string): Promise<Journal> =>
  Journal.open({ folder: path.join(folder, 'data'), ...journalOptions.parse({}) }, silentLog)

const signalbox = (folder: string, ...line: readonly string[]): Promise<Ended> =>
  commandLine(['journal', ...line], { folder })

const idsIn = ({ out }: Ended): unknown[] => (JSON.parse(out) as { readonly id: number }[]).map(({ id }) => id)

test('lists the newest first, with what failed and where, and without whole numbers and addresses', async () => {
  await using made = await newFolder()
  const { code, out } = await signalbox(made.folder, 'list')
  const [head = '', ...rows] = out.trimEnd().split('\n')
  expect(code).toBe(0)
  expect(head).toMatch(/^id +state +protocol +direction +rule +from +attempts +stored +next +error$/)
  expect(rows.map((row) => row.split(/ {2,}/).slice(0, 3))).toEqual([
    ['3', 'dead', 'email'],
    ['2', 'dead', 'sms'],
    ['1', 'waiting', 'sms'],
  ])
  expect(out).toContain('gateway.yaml:3')
  expect(rows.map((row) => row.split(/ {2,}/)[5])).toEqual(['x', '+1…11', '+1…00'])
  expect(out).toContain('no answer for +1…11')
  expect(out).toContain('a…@example.org is unknown')
})

test.each([
  [
    ['--state', 'dead'],
    [3, 2],
  ],
  [
    ['--protocol', 'sms'],
    [2, 1],
  ],
  [['--rule', 'gateway.yaml:3', '--state', 'waiting'], [1]],
  [['--older', '1h'], []],
  [['--newer', '1h', '--limit', '1'], [3]],
  [['--before', '3', '--limit', '1'], [2]],
])('list %j', async (given, expected) => {
  await using made = await newFolder()
  expect(idsIn(await signalbox(made.folder, 'list', '--json', ...given))).toEqual(expected)
})

describe('show', () => {
  test('gives the whole record as text, bytes that are none in base64', async () => {
    await using made = await newFolder()
    const { out } = await signalbox(made.folder, 'show', '3')
    expect(out).toContain('error: a…@example.org is unknown')
    expect(out).toContain('"base64": "AAEC"')
    expect(out).toContain('body:\nSubject: Fire')
  })

  test('gives what can be read of a damaged record, and says why the rest cannot', async () => {
    await using made = await newFolder()
    const database = new DatabaseSync(path.join(made.folder, 'data', 'journal.sqlite'))
    database.exec(`UPDATE dead SET event = CAST('+14155550111' AS BLOB) WHERE id = 2`)
    database.close()
    const { code, out } = await signalbox(made.folder, 'show', '2', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ id: 2, scope: { from: '+1…11' }, event: '12 bytes' })
    expect(JSON.parse(out)).toHaveProperty('unreadable', expect.stringContaining('event: '))
    const revealed = await signalbox(made.folder, 'show', '2', '--reveal')
    expect(revealed.out).toContain('unreadable: event: ')
    expect(revealed.out).toContain('+14155550111')
  })

  test('shows addresses and numbers to whoever asks for them', async () => {
    await using made = await newFolder()
    expect((await signalbox(made.folder, 'show', '2')).out).toContain('"from": "+1…11"')
    const { out } = await signalbox(made.folder, 'show', '2', '--reveal', '--json')
    expect(JSON.parse(out)).toMatchObject({
      id: 2,
      state: 'dead',
      scope: { from: '+14155550111' },
      event: { body: 'HELP' },
      error: 'no answer for +14155550111',
    })
  })
})

describe.each(['that nobody uses', 'whose gateway runs'])('on a data folder %s', (which) => {
  async function start() {
    const made = await newFolder()
    const stack = new AsyncDisposableStack()
    stack.use(made)
    if (which === 'whose gateway runs') {
      const journal = stack.use(await open(made.folder))
      const places = journalPlaces(new JournalDesk(journal))
      const socket = await ControlSocket.open(path.join(made.folder, 'data'), () => places, silentLog)
      stack.defer(async () => socket?.close())
    }
    return { folder: made.folder, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  }

  test('retry makes dead letters wait again, by number or by what they are', async () => {
    await using made = await start()
    expect((await signalbox(made.folder, 'retry', '2')).out).toBe('1 will be tried again\n')
    expect(idsIn(await signalbox(made.folder, 'list', '--json', '--state', 'waiting'))).toEqual([2, 1])
    expect((await signalbox(made.folder, 'retry', '--state', 'dead', '--json')).out).toBe('{"ids":[3]}\n')
  })

  test('discard takes them out', async () => {
    await using made = await start()
    expect((await signalbox(made.folder, 'discard', '--protocol', 'sms')).out).toBe('2 taken out\n')
    expect(idsIn(await signalbox(made.folder, 'list', '--json'))).toEqual([3])
    expect((await signalbox(made.folder, 'discard', '3')).code).toBe(0)
    expect((await signalbox(made.folder, 'list')).out).toBe('no records\n')
  })

  test('a record that is not there is named', async () => {
    await using made = await start()
    const { code, error } = await signalbox(made.folder, 'show', '99')
    expect(code).toBe(1)
    expect(error).toContain('found no record 99')
  })

  test('a number that names nothing to retry or discard is said, and the others are done', async () => {
    await using made = await start()
    // 1 waits: it needs no retry.
    const retried = await signalbox(made.folder, 'retry', '2', '1', '99')
    expect(retried).toEqual({ code: 1, out: '1 will be tried again\n', error: 'found no dead letter 1, 99\n' })
    const discarded = await signalbox(made.folder, 'discard', '3', '99')
    expect(discarded).toEqual({ code: 1, out: '1 taken out\n', error: 'found no record 99\n' })
  })

  test('nothing is retried or discarded that was not named', async () => {
    await using made = await start()
    for (const act of ['retry', 'discard']) {
      const { code, error } = await signalbox(made.folder, act)
      expect(code).toBe(64)
      expect(error).toContain('expected the numbers of records, or which ones: --state')
    }
    expect(idsIn(await signalbox(made.folder, 'list', '--json'))).toEqual([3, 2, 1])
  })
})

test.each([
  [['show', 'x'], 'found "x", expected a number such as 17'],
  [['retry', '1.5'], 'found "1.5", expected a number'],
  [['list', '--older', 'soon'], '--older: found "soon", expected a duration'],
  [['list', '--limit', 'all'], '--limit: found "all"'],
  [['list', '--state', 'lost'], '--state: found "lost", expected waiting or dead'],
  [['retry', '--direction', 'up'], '--direction: found "up", expected in or out'],
])('%j is a mistake that is said', async (line, message) => {
  await using made = await newFolder()
  const { code, error } = await signalbox(made.folder, ...line)
  expect(error).toContain(message)
  expect(code).toBe(64)
})

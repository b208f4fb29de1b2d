/** `signalbox journal`: on a data folder that nobody uses, and on one whose gateway runs. */
import { describe, expect, test } from '@jest/globals'
import { mkdir, open as openHandle, readdir, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { email } from '../../protocols/email/protocol.ts'
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
import { toyRegistry } from '../support/toy-registry.ts'

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
  expect(head).toMatch(/^id +state +protocol +direction +rule +from\/to +attempts +stored +next +error$/)
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
  ['list', 'other.yaml'],
  ['list', '--config', 'other.yaml'],
  ['show', '3', 'other.yaml'],
  ['discard', '3', 'other.yaml'],
])('the file may be the last argument, as with the other commands: %s %s %s', async (...line) => {
  await using made = await newFolder()
  await rename(path.join(made.folder, 'gateway.yaml'), path.join(made.folder, 'other.yaml'))
  await expect(signalbox(made.folder, ...line)).resolves.toMatchObject({ code: 0, error: '' })
  const twice = await signalbox(made.folder, 'list', 'other.yaml', '--config', 'other.yaml')
  expect(twice).toEqual({ code: 64, out: '', error: 'found other.yaml and --config, expected one of them\n' })
})

test('says of what goes out who it goes to, and why it did not to the end', async () => {
  await using made = await temporaryFolder()
  await writeFile(path.join(made.folder, 'gateway.yaml'), yaml)
  {
    await using journal = await open(made.folder)
    const scope = { type: 'sms', client: null, server: null, from: '+14155550100', to: '+14155550123' }
    const sent = (event: object) =>
      encode({ direction: 'out', scope, event } as unknown as NewRecord, { protocol: 'sms', route: '', lane: '' })
    const why = `the relay smtp://${'relay.'.repeat(10)}example.org does not take it now: mailbox full`
    journal.deadLetter(sent({ type: 'sms.outgoing', to: '+14155550177', body: 'hi' }), why)
    journal.deadLetter(sent({ type: 'email.outgoing', envelope: { from: '', to: ['ann@example.org', 'b@c.de'] } }), why)
    await journal.flush()
  }
  const { out } = await signalbox(made.folder, 'list')
  const rows = out.trimEnd().split('\n').slice(1)
  expect(rows.map((row) => row.split(/ {2,}/)[5])).toEqual(['a…@example.org, b…@c.de', '+1…77'])
  for (const row of rows) expect(row).toMatch(/does not take it now: mailbox full$/)
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
  test('gives the whole record as text, and bytes that are none in base64 to whoever asks for them', async () => {
    await using made = await newFolder()
    const { out } = await signalbox(made.folder, 'show', '3')
    expect(out).toContain('error: a…@example.org is unknown')
    expect(out).toContain('"payload": "3 bytes"')
    expect(out).toContain('body:\nSubject: Fire')
    expect((await signalbox(made.folder, 'show', '3', '--reveal')).out).toContain('"base64": "AAEC"')
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

describe('what is encoded', () => {
  const secret = 'Ann, password=hunter2, call +14155550100 or ann@example.org'
  const mail = (encoding: string, text: string) =>
    Buffer.from(
      [
        `Subject: =?utf-8?B?${Buffer.from('Dörte: +14155550199').toString('base64')}?=`,
        'Content-Type: text/plain; charset=utf-8',
        `Content-Transfer-Encoding: ${encoding}`,
        '',
        text,
      ].join('\r\n'),
    )

  async function stored(body: Buffer) {
    const made = await temporaryFolder()
    await writeFile(path.join(made.folder, 'gateway.yaml'), yaml)
    await using journal = await open(made.folder)
    const scope = { type: 'email', client: null, server: null } as NewRecord['scope']
    const record: NewRecord = { direction: 'in', scope, event: { type: 'email.message' }, body }
    journal.deadLetter(encode(record, { protocol: 'email', route: '', lane: '' }), 'no: secret-token=abc was refused')
    await journal.flush()
    return made
  }
  const loadRegistry = () =>
    Promise.resolve({
      ...toyRegistry,
      definitions: [...toyRegistry.definitions.filter(({ name }) => name !== 'email'), email],
    })

  test.each([
    ['base64', Buffer.from(secret).toString('base64')],
    ['quoted-printable', secret.replace('=', '=3D').replace('@', '=40')],
  ])('is shown decoded, and masked unless it is asked for: %s', async (encoding, text) => {
    await using made = await stored(mail(encoding, text))
    const shown = (...line: string[]) =>
      commandLine(['journal', 'show', '1', ...line], { folder: made.folder, loadRegistry })
    const { out } = await shown()
    expect(out).toContain('Subject: Dörte: +1…99')
    expect(out).toContain('Ann, password=…, call +1…00 or a…@example.org')
    expect(out).toContain('error: no: secret-token=… was refused')
    const { out: revealed } = await shown('--reveal')
    expect(revealed).toContain('Subject: Dörte: +14155550199')
    expect(revealed).toContain(secret)
    expect(revealed).toContain('secret-token=abc')
  })
})

describe('on a data folder that nobody uses, looking', () => {
  test('leaves a damaged journal where it is, and says so', async () => {
    await using made = await newFolder()
    const data = path.join(made.folder, 'data')
    const handle = await openHandle(path.join(data, 'journal.sqlite'), 'r+')
    await handle.write(Buffer.alloc(12_000, 0xa5), 0, 12_000, 8192)
    await handle.close()
    for (const line of [['list'], ['show', '2'], ['discard', '2']]) {
      const { code, out, error } = await signalbox(made.folder, ...line)
      expect([code, out]).toEqual([1, ''])
      expect(error).toContain(`the journal ${path.join(data, 'journal.sqlite')} is damaged: `)
      expect(error).toContain('the next start of the gateway sets it aside, and names it')
    }
    expect((await readdir(data)).filter((name) => name.includes('sqlite'))).toEqual(['journal.sqlite'])
  })

  test('takes out nothing that the YAML keeps, and makes no folder', async () => {
    await using made = await newFolder()
    const file = path.join(made.folder, 'data', 'journal.sqlite')
    await writeFile(path.join(made.folder, 'gateway.yaml'), `${yaml}journal: { deadLetterAge: 365d }\n`)
    {
      using database = new DatabaseSync(file)
      database.prepare('UPDATE dead SET at = ?1, died = ?1').run(Date.now() - 40 * 86_400_000)
    }
    expect((await signalbox(made.folder, 'retry', '1')).code).toBe(1)
    expect(idsIn(await signalbox(made.folder, 'list', '--json', '--older', '30d'))).toEqual([3, 2])
    await rm(path.dirname(file), { recursive: true })
    expect(await signalbox(made.folder, 'list')).toEqual({ code: 0, out: 'no records\n', error: '' })
    expect(await readdir(made.folder)).not.toContain('data')
  })
})

const longName = 'long'.repeat(30)

describe.each([
  ['that nobody uses', ''],
  ['whose gateway runs', ''],
  ['with a path that no socket can have, and that nobody uses', longName],
  ['with a path that no socket can have, and whose gateway runs', longName],
])('on a data folder %s', (which, below) => {
  async function start() {
    const made = await newFolder()
    const stack = new AsyncDisposableStack()
    stack.use(made)
    const folder = path.join(made.folder, below)
    if (below !== '') {
      await mkdir(folder)
      for (const name of ['data', 'gateway.yaml']) await rename(path.join(made.folder, name), path.join(folder, name))
    }
    if (which.endsWith('whose gateway runs')) {
      const data = path.join(folder, 'data')
      const journal = stack.use(await open(folder))
      const places = journalPlaces(new JournalDesk(journal, []))
      const socket = await ControlSocket.open(data, () => places, silentLog)
      stack.defer(async () => {
        await socket?.close()
        expect(await readdir(data)).not.toContain('control.sock')
      })
    }
    return { folder, [Symbol.asyncDispose]: () => stack.disposeAsync() }
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

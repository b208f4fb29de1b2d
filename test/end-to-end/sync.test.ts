/** Handlers that block beside asynchronous ones, in one gateway that is a process of its own. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as later } from 'node:timers/promises'
import nodemailer from 'nodemailer'
import { Gateways, type RunningGateway, type Socket } from '../support/gateways.ts'

let gateways: Gateways
let gateway: RunningGateway
beforeAll(async () => {
  gateways = await Gateways.create(path.join(import.meta.dirname, 'fixtures', 'sync'), {})
  gateway = await gateways.serve('a')
  // Both threads have begun, and have loaded their modules.
  await Promise.all([get('/hash/1'), get('/hash/1')])
})
afterEach(() => gateways.closeSockets())
afterAll(() => gateways?.[Symbol.asyncDispose]())

const get = (where: string) => fetch(new URL(where, gateway.urls['http']), { method: 'POST', body: 'attachment' })
/** The worker thread that a socket's consumer lives on; its first answer says so. */
async function threadOf(socket: Socket): Promise<number> {
  socket.send('first')
  await socket.hearsMore()
  return Number(socket.heard.at(-1)?.split(' ')[1])
}
/** Lets those go on who block until then. */
const unblock = (name: string) => writeFile(path.join(gateways.folder, 'data-a', name), '')
/** The lines of the gateway's log that have this text, parsed. */
const logged = (text: string) =>
  gateway.process.error
    .split('\n')
    .filter((line) => line.includes(text))
    .map((line) => JSON.parse(line) as Record<string, unknown>)

test('a consumer keeps its state on a thread of its own, and while it blocks another socket is answered', async () => {
  const busy = await gateways.connect(gateway, '/')
  const thread = await threadOf(busy)
  expect(thread).toBeGreaterThan(0)
  // Where little is to be done: what was before may not be quite over, and then that is the same one once more.
  let other = await gateways.connect(gateway, '/')
  while ((await threadOf(other)) === thread) other = await gateways.connect(gateway, '/')
  busy.send('block')
  other.send('meanwhile')
  await other.hearsMore()
  expect(busy.heard).toEqual([`1 ${thread}`])
  await unblock('socket')
  await busy.hears(`2 ${thread}`)
})

test('the id of the scope goes with a chain of sync, async, sync and async code, and stands in the log of each', async () => {
  const scopes = (await (await get('/chain')).json()) as string[]
  expect(scopes).toHaveLength(4)
  expect(new Set(scopes).size).toBe(1)
  await gateway.process.sees('error', /"step":4/)
  expect(logged('"msg":"chain"').map(({ step, scope }) => [step, scope])).toEqual(
    [1, 2, 3, 4].map((step) => [step, scopes[0]]),
  )
})

test('a socket is echoed on the main loop while every thread burns CPU', async () => {
  /** Two long hashes at once, and how late the main loop was meanwhile. */
  async function echoDuring(where: string) {
    const socket = await gateways.connect(gateway, '/echo')
    await get('/delay')
    let over = false
    const hashing = Promise.all([get(where), get(where)]).finally(() => (over = true))
    for (let round = 0; !over; round++) {
      socket.send(String(round))
      await socket.hears(String(round))
      await later(2)
    }
    const hashes = await Promise.all((await hashing).map((answer) => answer.text()))
    const { median, p99 } = (await (await get('/delay')).json()) as { readonly median: number; readonly p99: number }
    return { median, p99, hashes, rounds: socket.heard.length }
  }
  const blocking = await echoDuring('/hash-here/20')
  const bridged = await echoDuring('/hash/20')
  expect(bridged.hashes).toEqual(blocking.hashes)
  // On a machine that others use too the ratio is what can be said; alone it is some twenty times.
  expect(bridged.median).toBeLessThan(blocking.p99 / 2)
  expect(bridged.rounds).toBeGreaterThan(blocking.rounds)
})

describe('what a handler does wrong is its own affair', () => {
  test.each([
    ['a value that cannot be cloned', 'no-clone', 500, /send\(\) cannot go to the main thread/],
    ['a function in a result', 'function', 500, /the result of bad\.ts#giveFunction/],
    ['an error that is no error', 'text', 500, /threw 'just text', expected an Error/],
    ['process.exit', 'exit', 500, /worker exited with code: 3/],
    ['a handler that gives a promise', 'promise', 500, /gave a promise, expected a plain function/],
    ['a module that does not load in a worker', 'module', 500, /only-main\.ts, which fails to load.*not in a worker/],
    [
      'an endless loop',
      'loop',
      503,
      /thread of this scope ended: the application worked on one event for more than 300 ms/,
    ],
  ])('%s', async (_, what, status, words) => {
    expect((await get(`/bad/${what}`)).status).toBe(status)
    await gateway.process.sees('error', words)
    expect((await get('/hash/1')).status).toBe(200)
  })
})

test('a stored event whose thread died is tried again', async () => {
  const port = Number(gateway.urls['email']?.port)
  const transport = nodemailer.createTransport({ host: '127.0.0.1', port, ignoreTLS: true })
  await transport.sendMail({ from: 'ann@example.org', to: 'help@support.org', subject: 'Fire', text: 'hot' })
  await gateway.process.sees('error', /worker exited with code: 4/)
  await gateway.process.sees('error', /"subject":"Fire","attempt":2,"msg":"handled after all"/)
})

test('more than may wait is refused with 503, and when to come again', async () => {
  const refused: Response[] = []
  const both = Promise.withResolvers<void>()
  const waiting = Array.from({ length: 6 }, async () => {
    const answer = await get('/wait')
    if (answer.status === 503 && refused.push(answer) === 2) both.resolve()
    return answer.status
  })
  await both.promise
  await unblock('requests')
  const statuses = await Promise.all(waiting)
  expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 200, 200, 200, 503, 503])
  expect(refused.map(({ headers }) => headers.get('retry-after'))).toEqual(['1', '1'])
})

/** Large messages in the journal: kept once for all of their recipients, and not in memory while they wait. */
import { expect, test } from '@jest/globals'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { EmailProtocol } from '../../../protocols/email/scope.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { mailText, serve } from './support.ts'

const mebi = 2 ** 20
const line = `${'x'.repeat(62)}\r\n`

const mailOf = (bytes: number, headers: Readonly<Record<string, string>> = {}): string =>
  mailText(headers) + line.repeat(Math.ceil(bytes / line.length))

/** Bytes in buffers, after what nobody holds any more is gone. */
function held(): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') collect()
  return process.memoryUsage().arrayBuffers
}

test('a mail of 20 MB to three recipients is stored once, and each gets all of it', async () => {
  const sizes: number[] = []
  const go = Promise.withResolvers<void>()
  const app: Application<EmailProtocol> = async (_scope, receive) => {
    const { raw } = await receive()
    await go.promise
    sizes.push(raw.length)
  }
  await using served = await serve(app, {}, { delivery: {} })
  const client = await served.connect()
  const mail = mailOf(20e6)
  const to = ['a', 'b', 'c'].map((name) => `${name}@support.org`)
  expect(await client.mail(mail, to)).toMatch(/^250/)
  const { bytes, accepted } = await served.stored.counts()
  expect(accepted).toBe(3)
  expect(bytes).toBeGreaterThan(20e6)
  expect(bytes).toBeLessThan(21e6)
  go.resolve()
  await served.stored.idle()
  expect(sizes).toHaveLength(3)
  for (const size of sizes) expect(size).toBeGreaterThanOrEqual(20e6)
}, 60_000)

test('of 200 large mails that wait no more is in memory than there is room for', async () => {
  const subjects: string[] = []
  const go = Promise.withResolvers<void>()
  const app: Application<EmailProtocol> = async (_scope, receive) => {
    const { subject } = await receive()
    await go.promise
    subjects.push(subject)
  }
  await using served = await serve(app, { handlerTimeout: '5m' }, { delivery: {} })
  const client = await served.connect()
  const before = held()
  for (let number = 0; number < 200; number++) {
    expect(await client.mail(mailOf(2 * mebi, { Subject: String(number) }))).toMatch(/^250/)
  }
  const more = held() - before
  // Of 400: 64 of those that are handled, 64 of those that wait for their turn, and what the journal's thread has not collected yet.
  expect(more).toBeLessThan(300 * mebi)
  go.resolve()
  await served.stored.idle()
  expect(subjects.map(Number).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, index) => index))
}, 120_000)

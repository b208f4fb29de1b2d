/** `delivery: stored`: 250 means that the mail is on disk, and that it will be handled or kept as a dead letter. */
import { describe, expect, test } from '@jest/globals'
import { mkdtempSync, rmSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmailToRouter } from '../../../protocols/email/router.ts'
import type { EmailProtocol } from '../../../protocols/email/scope.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { permanent } from '../../../src/runtime/errors.ts'
import { delivery } from '../../../src/middleware/delivery.ts'
import { mailText, serve } from './support.ts'

interface Note {
  readonly recipient: string
  readonly subject: string
  readonly attempt: number
  readonly redelivered: boolean
}

/** Notes what it is given, and raises as long as `fails` says so. */
function noting(notes: Note[], fails: (note: Note) => Error | undefined = () => undefined): Application<EmailProtocol> {
  return async (scope, receive) => {
    const { subject } = await receive()
    const { recipient, attempt = 1, redelivered = false } = scope
    const note = { recipient, subject, attempt, redelivered }
    notes.push(note)
    const error = fails(note)
    if (error !== undefined) throw error
  }
}

const stored = { delivery: {} }

function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-test-'))
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

test('one mail to two rules is kept once and tried apart: what fails for one is handled for the other', async () => {
  const notes: Note[] = []
  const app = noting(notes, ({ recipient }) => (recipient.startsWith('bad') ? permanent('not mine') : undefined))
  const router = EmailToRouter([
    { address: 'bad@support.org', app },
    { address: 'good@support.org', app },
  ])
  await using served = await serve(router, {}, stored)
  const client = await served.connect()
  expect(await client.mail(mailText(), ['bad@support.org', 'good@support.org'])).toMatch(/^250/)
  await served.stored.idle()
  expect(notes.map(({ recipient }) => recipient).toSorted()).toEqual(['bad@support.org', 'good@support.org'])
  expect(await served.stored.dead(1)).toMatchObject([
    { scope: { recipient: 'bad@support.org' }, error: 'not mine', attempts: 1 },
  ])
})

test('a mail with a long header section reads like any other', async () => {
  const notes: Note[] = []
  await using served = await serve(noting(notes), {}, stored)
  const client = await served.connect()
  const long = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`X-${index}`, 'a'.repeat(10)]))
  expect(await client.mail(mailText({ ...long, Subject: 'Fire again' }))).toMatch(/^250/)
  await served.stored.idle()
  expect(notes).toMatchObject([{ subject: 'Fire again', attempt: 1 }])
})

test('a rule with `delivery: handled` beside one that stores decides on the answer, and nothing is stored when it fails', async () => {
  const notes: Note[] = []
  const app = noting(notes, ({ recipient }) => (recipient.startsWith('slow') ? new Error('no') : undefined))
  const router = EmailToRouter([
    { address: 'slow@support.org', app: delivery(app, { mode: 'handled' }) as typeof app },
    { address: 'good@support.org', app },
  ])
  await using served = await serve(router, {}, stored)
  const client = await served.connect()
  expect(await client.mail(mailText(), ['slow@support.org', 'good@support.org'])).toMatch(/^451/)
  expect(await served.stored.counts()).toMatchObject({ accepted: 0 })
  expect(notes).toHaveLength(1)
})

test('the same mail once more is answered with 250 and handled once, also after a restart', async () => {
  using temporary = temporaryFolder()
  const notes: Note[] = []
  const services = { ...stored, data: temporary.folder }
  for (const _ of ['before', 'after']) {
    await using served = await serve(noting(notes), {}, services)
    const client = await served.connect()
    for (let time = 0; time < 2; time++) expect(await client.mail(mailText({ 'Message-ID': '<1@a>' }))).toMatch(/^250/)
    await served.stored.idle()
  }
  expect(notes).toHaveLength(1)
})

describe('what an application says', () => {
  test('email.reject comes too late: the mail is a dead letter at once, and the error says what to write', async () => {
    await using served = await serve(
      async (_scope, receive, send) => {
        await receive()
        await send({ type: 'email.reject' })
      },
      {},
      stored,
    )
    const client = await served.connect()
    expect(await client.mail(mailText())).toMatch(/^250/)
    expect(await served.stored.dead(1)).toMatchObject([
      { attempts: 1, error: expect.stringContaining('delivery: handled') },
    ])
  })

  test('a reply goes out once, however often its message is tried', async () => {
    let attempts = 0
    await using served = await serve(
      async (_scope, receive, send) => {
        await receive()
        await send({ type: 'email.reply', text: 'We have it' })
        if (++attempts < 3) throw new Error('not yet')
      },
      {},
      stored,
    )
    const client = await served.connect()
    await client.mail(mailText())
    await served.stored.idle()
    expect(attempts).toBe(3)
    expect(await readdir(join(served.services.data, 'outbox'))).toHaveLength(1)
  })
})

test('an application that asks for more has handled its mail, whatever becomes of it afterwards', async () => {
  let calls = 0
  await using served = await serve(
    async (_scope, receive) => {
      calls++
      await receive()
      await receive().catch(() => undefined)
      throw new Error('too late')
    },
    {},
    stored,
  )
  const client = await served.connect()
  expect(await client.mail(mailText())).toMatch(/^250/)
  await served.stored.idle()
  expect(await served.stored.counts()).toMatchObject({ accepted: 1, handled: 1, dead: 0 })
  expect(calls).toBe(1)
})

test('one that takes too long has failed, and is tried again', async () => {
  const notes: Note[] = []
  await using served = await serve(
    async (scope, receive, send, context) => {
      await noting(notes)(scope, receive, send, context)
      if (notes.length === 1)
        await new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(context.signal.reason)))
    },
    { handlerTimeout: '200ms' },
    stored,
  )
  const client = await served.connect()
  expect(await client.mail(mailText())).toMatch(/^250/)
  await served.stored.idle()
  expect(notes.map(({ attempt }) => attempt)).toEqual([1, 2])
})

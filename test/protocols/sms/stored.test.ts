/** `delivery: stored`: Twilio's 200 means that the text is on disk, and that it will be handled or kept as a dead letter. */
import { describe, expect, test } from '@jest/globals'
import type { SmsProtocol } from '../../../protocols/sms/scope.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { message, ours, person, report, startRest, startSms, temporaryFolder, twiml } from './support.ts'

const stored = { services: { delivery: {} } }

/** Raises for the first `failures` attempts, and notes what it was given. */
function failing(failures: number, notes: unknown[] = []): Application<SmsProtocol> {
  return async (scope, receive, send) => {
    const event = await receive()
    const { attempt = 1, redelivered = false } = scope
    notes.push({ attempt, redelivered, body: event.type === 'sms.message' ? event.body : event.status })
    await send({ type: 'sms.reply', body: `attempt ${attempt}` })
    if (notes.length <= failures) throw new Error('not yet')
  }
}

test('the reply goes with the answer when the application is quick, and by REST when it is not', async () => {
  await using rest = await startRest()
  const go = Promise.withResolvers<void>()
  const application: Application<SmsProtocol> = async (_scope, receive, send) => {
    const event = await receive()
    if (event.type === 'sms.message' && event.body === 'slow') await go.promise
    await send({ type: 'sms.reply', body: 'hello' })
  }
  await using patient = await startSms(application, { ...stored, twilio: rest.twilio })
  expect((await patient.post(message('quick'))).body).toBe(twiml('<Message>hello</Message>'))
  await using sms = await startSms(application, { ...stored, twilio: rest.twilio, options: { replyTimeout: '20ms' } })
  expect((await sms.post(message('slow'))).body).toBe(twiml(''))
  go.resolve()
  expect((await rest.next()).form.get('Body')).toBe('hello')
  expect(await patient.stored.counts()).toMatchObject({ accepted: 1, dead: 0 })
  expect(await sms.stored.counts()).toMatchObject({ accepted: 2, dead: 0 })
})

test('an application that fails is asked again in a new scope, and Twilio has its 200 after the first time', async () => {
  await using rest = await startRest()
  const notes: unknown[] = []
  await using sms = await startSms(failing(2, notes), { ...stored, twilio: rest.twilio })
  const { status, body } = await sms.post(message('hi'))
  expect([status, body]).toEqual([200, twiml('')])
  expect((await rest.next()).form.get('Body')).toBe('attempt 3')
  expect(notes).toEqual([1, 2, 3].map((attempt) => ({ attempt, redelivered: false, body: 'hi' })))
  expect(sms.failed).toEqual([])
})

test('a text that waited on disk behind others has its answer as soon as it was handled', async () => {
  const notes: unknown[] = []
  await using sms = await startSms(failing(0, notes), { ...stored, options: { replyTimeout: '14s' } })
  const { stored: journal } = sms
  const accept = journal.accept.bind(journal)
  // What is read from there knows nothing of whoever waits.
  journal.accept = (records) => accept(records.map(({ live: _, ...record }) => record))
  const begun = performance.now()
  expect(await sms.post(message('hi'))).toMatchObject({ status: 200, body: twiml('') })
  expect(notes).toHaveLength(1)
  expect(performance.now() - begun).toBeLessThan(14_000)
})

test('what was sent in an attempt that failed is not sent again by the next one', async () => {
  await using rest = await startRest()
  let attempts = 0
  await using sms = await startSms(
    async (_scope, receive, send) => {
      await receive()
      attempts++
      for (const body of ['twice', 'twice', `only in ${attempts}`])
        await send({ type: 'sms.send', to: '+14155550111', body })
      if (attempts === 1) throw new Error('not yet')
    },
    { ...stored, twilio: rest.twilio },
  )
  await sms.post(message('hi'))
  const bodies = []
  for (let call = 0; call < 4; call++) bodies.push((await rest.next()).form.get('Body'))
  expect(bodies).toEqual(['twice', 'twice', 'only in 1', 'only in 2'])
  await sms.stored.idle()
  expect(rest.calls).toHaveLength(4)
})

describe('after a restart', () => {
  test('what was not handled is handled, and says so; what was is known by its MessageSid', async () => {
    using temporary = temporaryFolder()
    const services = { delivery: {}, data: temporary.folder }
    const done = message('done')
    const left = message('left')
    {
      const received = Promise.withResolvers<void>()
      await using sms = await startSms(
        async (_scope, receive) => {
          const event = await receive()
          if (event.type !== 'sms.message' || event.body !== 'left') return
          received.resolve()
          await new Promise(() => {})
        },
        { services: { ...services, closeTimeout: 1 }, options: { replyTimeout: '10ms' } },
      )
      expect((await sms.post(done)).status).toBe(200)
      expect((await sms.post(left)).status).toBe(200)
      await received.promise
      await sms.stored.counts()
      await sms.stored.stop()
    }
    const notes: unknown[] = []
    await using sms = await startSms(failing(0, notes), { services })
    for (const parameters of [done, left]) expect((await sms.post(parameters)).body).toBe(twiml(''))
    await sms.stored.idle()
    expect(notes).toEqual([{ attempt: 1, redelivered: true, body: 'left' }])
  })
})

describe('reports', () => {
  const toStatus = { path: '/sms/status' }
  const sid = `SM${'b'.repeat(32)}`
  const sending: Application<SmsProtocol> = async (scope, receive, send) => {
    await receive()
    if (scope.kind === 'message') await send({ type: 'sms.send', to: person, body: 'your code' })
  }

  test.each(['undelivered', 'failed'])('%s: the text is a dead letter, and can be sent again', async (status) => {
    await using rest = await startRest()
    await using sms = await startSms(sending, { ...stored, twilio: rest.twilio })
    await sms.post(message('hi'))
    await rest.next()
    await sms.stored.idle()
    expect(await sms.post(report(sid, status, { ErrorCode: '30003' }), toStatus)).toMatchObject({
      status: 204,
      body: '',
    })
    const [letter] = await sms.stored.dead(1)
    expect(letter).toMatchObject({
      event: { type: 'sms.outgoing', from: ours, to: person, body: 'your code' },
      error: `Twilio says of ${sid}: ${status} (error 30003)`,
    })
    await sms.stored.retry()
    expect((await rest.next()).form.get('Body')).toBe('your code')
  })

  test('delivered: nothing is left of it', async () => {
    await using rest = await startRest()
    await using sms = await startSms(sending, { ...stored, twilio: rest.twilio })
    await sms.post(message('hi'))
    await rest.next()
    await sms.stored.idle()
    await sms.post(report(sid, 'delivered'), toStatus)
    await sms.post(report(sid, 'failed'), toStatus)
    expect(await sms.stored.counts()).toMatchObject({ dead: 0 })
  })
})

test('a STOP that comes while a text waits for its next attempt keeps it from going out', async () => {
  await using rest = await startRest({ status: 503 })
  await using sms = await startSms(
    async (_scope, receive, send) => {
      const event = await receive()
      if (event.type === 'sms.message' && event.consent === '') {
        await send({ type: 'sms.send', to: person, body: 'news' })
      }
    },
    { ...stored, twilio: { ...rest.twilio, backoff: '1s' } },
  )
  await sms.post(message('hi'))
  await rest.next()
  await sms.post(message('STOP'))
  await sms.stored.idle()
  expect(rest.calls).toHaveLength(1)
  expect(await sms.stored.counts()).toMatchObject({ dead: 0, handled: 3 })
})

/** An application that fails, and a gateway that closes: what Twilio is told, and what becomes of the message. */
import { describe, expect, test } from '@jest/globals'
import { SignalboxError, hasCode } from '../../../src/runtime/errors.ts'
import { held, message, sending, startRest, startSms, twiml } from './support.ts'

describe('when the application fails', () => {
  test('it raises while Twilio waits: 500, nothing is said, the event is kept as failed, and the repetition is handled as new', async () => {
    let attempts = 0
    await using sms = await startSms(async (_scope, receive, send) => {
      await receive()
      attempts++
      await send({ type: 'sms.reply', body: `attempt ${attempts}` })
      if (attempts === 1) throw new Error('a secret of the handler')
    })
    const parameters = message('a')
    const first = await sms.post(parameters)
    expect(first.status).toBe(500)
    expect(first.body).not.toMatch(/secret|attempt/)
    expect((await sms.post(parameters)).body).toBe(twiml('<Message>attempt 2</Message>'))
    expect(sms.failed).toMatchObject([{ event: { type: 'sms.message', body: 'a' } }])
  })

  test('it has no room now: 503, and when to come again', async () => {
    await using sms = await startSms(() => Promise.reject(new SignalboxError('queue_full', 'a secret')))
    const answer = await sms.post(message('a'))
    expect(answer).toMatchObject({ status: 503, body: 'The gateway cannot take it now.\n' })
    expect(sms.failed).toHaveLength(1)
  })

  test('it raises after the deadline: Twilio has its answer, so the message is kept as failed', async () => {
    const { go, application } = held(() => Promise.reject(new Error('boom')))
    await using sms = await startSms(application, { options: { replyTimeout: '20ms' } })
    const parameters = message('a')
    expect((await sms.post(parameters)).status).toBe(200)
    go()
    const { event, error } = await sms.failure()
    expect(event).toMatchObject({ type: 'sms.message', body: 'a' })
    expect(error).toEqual(new Error('boom'))
    expect((await sms.post(parameters)).body).toBe(twiml(''))
    expect(sms.failed).toHaveLength(1)
  })

  test('it raises when Twilio has hung up: kept as failed, and a repetition is handled as new', async () => {
    const received = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    await using sms = await startSms(async (_scope, receive) => {
      await receive()
      received.resolve()
      await go.promise
      throw new Error('boom')
    })
    const parameters = message('a')
    await sms.hangUp(parameters, received.promise)
    go.resolve()
    expect((await sms.failure()).event).toMatchObject({ body: 'a' })
    expect((await sms.post(parameters)).status).toBe(500)
  })

  test('it never ends: Twilio is answered, the scope’s signal aborts after handlerTimeout, and the message is kept as failed', async () => {
    const reasons: unknown[] = []
    await using sms = await startSms(
      async (_scope, receive, _send, { signal }) => {
        await receive()
        signal.addEventListener('abort', () => reasons.push(signal.reason))
        await new Promise(() => {})
      },
      { options: { replyTimeout: '20ms', handlerTimeout: '40ms' }, services: { closeTimeout: 20 } },
    )
    const { status, body } = await sms.post(message('a'))
    expect([status, body]).toEqual([200, twiml('')])
    expect((await sms.failure()).event).toMatchObject({ body: 'a' })
    await sms.idle()
    expect(reasons.map((reason) => hasCode(reason, 'timed_out'))).toEqual([true])
    expect(sms.listener.connections).toBe(0)
    expect(sms.outcomes).toEqual([{ kind: 'abandoned' }])
  })

  test('it asks for another event: the message was handled, and there is none', async () => {
    await using sms = await startSms(async (_scope, receive, send) => {
      await receive()
      await send({ type: 'sms.reply', body: 'hello' })
      await receive()
    })
    expect((await sms.post(message('a'))).body).toBe(twiml('<Message>hello</Message>'))
    await sms.idle()
    expect(sms.failed).toEqual([])
  })
})

describe('when the gateway closes', () => {
  test('messages in hand are finished, and new ones are turned away', async () => {
    const { go, application } = held((send) => send({ type: 'sms.reply', body: 'finished' }))
    await using sms = await startSms(application)
    const answer = sms.post(message('a'))
    while (sms.listener.connections === 0) await sms.post({})
    const closed = sms.listener.close(new AbortController().signal)
    expect((await sms.post(message('b'))).status).toBe(503)
    go()
    expect((await answer).body).toBe(twiml('<Message>finished</Message>'))
    await closed
  })

  test('an application that does not finish in time is told to end, and Twilio is told to ask again', async () => {
    await using sms = await startSms(async (_scope, receive, _send, { signal }) => {
      await receive()
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    const answer = sms.post(message('a'))
    while (sms.listener.connections === 0) await sms.post({})
    await sms.listener.close(AbortSignal.timeout(20))
    expect((await answer).status).toBe(503)
    expect(sms.outcomes.map((outcome) => outcome.kind)).toEqual(['raised'])
  })

  test('what could not be sent until then waits for the next start', async () => {
    await using rest = await startRest({ status: 503 }, { status: 503 })
    await using sms = await startSms(sending('hello'), { twilio: { ...rest.twilio, backoff: '1h' } })
    await sms.post(message('a'))
    await rest.next()
    await sms.listener.close(AbortSignal.timeout(20))
    expect(await sms.stored.counts()).toMatchObject({ waiting: 1, dead: 0 })
  })
})

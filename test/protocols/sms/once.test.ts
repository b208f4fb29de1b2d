/** That a message is handled once, however often it comes, and leaves nothing behind. */
import { describe, expect, test } from '@jest/globals'
import { echo, message, recorder, startSms, twiml } from './support.ts'

describe('once', () => {
  test('a repeated request is answered as before and not handled again', async () => {
    let count = 0
    await using sms = await startSms(async (_scope, receive, send) => {
      await receive()
      await send({ type: 'sms.reply', body: `message ${++count}` })
    })
    const parameters = message('a')
    const first = await sms.post(parameters)
    const again = await sms.post(parameters)
    expect(again.body).toBe(first.body)
    expect(again.status).toBe(200)
    expect(count).toBe(1)
    expect((await sms.post(message('a'))).body).toContain('message 2')
  })

  test('repetitions that come while the first is handled get its answer', async () => {
    const go = Promise.withResolvers<void>()
    let count = 0
    await using sms = await startSms(async (_scope, receive, send) => {
      await receive()
      count++
      await go.promise
      await send({ type: 'sms.reply', body: 'done' })
    })
    const parameters = message('a')
    const answers = [sms.post(parameters), sms.post(parameters), sms.post(parameters)]
    // A further message gets through while they wait: the server is not held up.
    await sms.post(parameters, { token: 'forged' })
    go.resolve()
    expect((await Promise.all(answers)).map(({ body }) => body)).toEqual(
      Array(3).fill(twiml('<Message>done</Message>')),
    )
    expect(count).toBe(1)
  })

  test('after the window it is a new message', async () => {
    const { seen, application } = recorder()
    await using sms = await startSms(application, { options: { dedupeWindow: '0ms' } })
    const parameters = message('a')
    await sms.post(parameters)
    await sms.post(parameters)
    expect(seen).toHaveLength(2)
  })

  test('2,000 messages leave nothing open', async () => {
    await using sms = await startSms(echo)
    for (let batch = 0; batch < 40; batch++) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => sms.post(message('hello'))))
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    }
    await sms.idle()
    expect(sms.outcomes).toHaveLength(2000)
    expect(sms.listener.connections).toBe(0)
    expect(sms.layer.stats()).toMatchObject({ channels: 0, groups: 0 })
  })
})

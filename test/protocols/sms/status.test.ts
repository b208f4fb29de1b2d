/** Status reports: each piece of news once, and never backwards. */
import { expect, test } from '@jest/globals'
import { SMSFromRouter } from '../../../protocols/sms/router.ts'
import type { SmsProtocol, SmsScope, SmsStatus } from '../../../protocols/sms/scope.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { message, ours, person, publicUrl, report, startSms } from './support.ts'

const path = '/sms/status'

function recorder() {
  const scopes: SmsScope[] = []
  const reports: SmsStatus[] = []
  const application: Application<SmsProtocol> = async (scope, receive) => {
    const event = await receive()
    scopes.push(scope)
    if (event.type === 'sms.status') reports.push(event)
  }
  return { scopes, reports, application }
}

test('a report reaches the application under the person’s number and is answered 204', async () => {
  const { scopes, reports, application } = recorder()
  await using sms = await startSms(SMSFromRouter([{ phone: person, app: application }]))
  const answer = await sms.post(report('SM1', 'undelivered', { ErrorCode: '30003' }), { path })
  expect([answer.status, answer.body]).toEqual([204, ''])
  expect(reports).toEqual([{ type: 'sms.status', messageSid: 'SM1', status: 'undelivered', errorCode: '30003' }])
  expect(scopes[0]).toMatchObject({ kind: 'status', from: person, to: ours, messageSid: 'SM1' })
})

test('it must be signed for its own path', async () => {
  const { reports, application } = recorder()
  await using sms = await startSms(application)
  expect((await sms.post(report('SM1', 'sent'), { path, signedUrl: `${publicUrl}/sms` })).status).toBe(403)
  expect(reports).toEqual([])
})

test('the same report again is answered and not handled again', async () => {
  const { reports, application } = recorder()
  await using sms = await startSms(application)
  const answers = await Promise.all([1, 2, 3].map(() => sms.post(report('SM1', 'sent'), { path })))
  expect(answers.map(({ status }) => status)).toEqual([204, 204, 204])
  expect(reports).toHaveLength(1)
})

test('a report that was overtaken is answered and is no news; another message is not touched by it', async () => {
  const { reports, application } = recorder()
  await using sms = await startSms(application)
  for (const status of ['queued', 'delivered', 'sent', 'sending', 'undelivered']) {
    expect((await sms.post(report('SM1', status), { path })).status).toBe(204)
  }
  await sms.post(report('SM2', 'sent'), { path })
  expect(reports.map(({ messageSid, status }) => [messageSid, status])).toEqual([
    ['SM1', 'queued'],
    ['SM1', 'delivered'],
    ['SM2', 'sent'],
  ])
})

test('a status that is new to us is handed on, once', async () => {
  const { reports, application } = recorder()
  await using sms = await startSms(application)
  await sms.post(report('SM1', 'delivered'), { path })
  await sms.post(report('SM1', 'paused'), { path })
  await sms.post(report('SM1', 'paused'), { path })
  expect(reports.map(({ status }) => status)).toEqual(['delivered', 'paused'])
})

test('the application raises: 500, kept as failed, and a repetition is handled as new', async () => {
  let attempts = 0
  await using sms = await startSms(async (_scope, receive) => {
    await receive()
    if (++attempts === 1) throw new Error('boom')
  })
  expect((await sms.post(report('SM1', 'sent'), { path })).status).toBe(500)
  expect(sms.failed.map(({ event }) => event)).toEqual([
    { type: 'sms.status', messageSid: 'SM1', status: 'sent', errorCode: '' },
  ])
  expect((await sms.post(report('SM1', 'sent'), { path })).status).toBe(204)
  expect((await sms.post(report('SM1', 'queued'), { path })).status).toBe(204)
  expect(attempts).toBe(2)
})

test('a slow application does not hold Twilio up', async () => {
  const go = Promise.withResolvers<void>()
  await using sms = await startSms(
    async (_scope, receive) => {
      await receive()
      await go.promise
    },
    { options: { replyTimeout: '20ms' } },
  )
  expect((await sms.post(report('SM1', 'sent'), { path })).status).toBe(204)
  expect(sms.listener.connections).toBe(1)
  go.resolve()
  await sms.idle()
})

test('no rule: 204, counted with the person', async () => {
  const { application } = recorder()
  await using sms = await startSms(SMSFromRouter([{ phone: '+49', app: application }]))
  expect((await sms.post(report('SM1', 'sent'), { path })).status).toBe(204)
  expect(sms.unrouted).toEqual([person])
})

test('a report cannot be replied to', async () => {
  const errors: unknown[] = []
  await using sms = await startSms(async (_scope, receive, send) => {
    await receive()
    await send({ type: 'sms.reply', body: 'thanks' }).catch((error: unknown) => errors.push(error))
  })
  expect((await sms.post(report('SM1', 'sent'), { path })).status).toBe(204)
  expect(errors.map((error) => hasCode(error, 'unexpected_event'))).toEqual([true])
})

test.each([
  ['a report at the path of messages', '/sms', report('SM1', 'sent')],
  ['a message at the path of reports', path, message('hello')],
  ['a report without a status', path, report('SM1', '')],
])('%s: 400', async (_, path, parameters) => {
  const { scopes, application } = recorder()
  await using sms = await startSms(application)
  expect((await sms.post(parameters, { path })).status).toBe(400)
  expect(scopes).toEqual([])
})

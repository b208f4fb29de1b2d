/** Consumers for SMS, played to by the communicator and by the webhook: the two agree. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { SmsCommunicator } from '../../../protocols/sms/communicator.ts'
import { SmsConsumer } from '../../../protocols/sms/consumer.ts'
import { SMSFromRouter } from '../../../protocols/sms/router.ts'
import type { SmsMessage, SmsScope, SmsStatus } from '../../../protocols/sms/scope.ts'
import { MemoryLayer } from '../../../src/layers/memory.ts'
import { hasCode } from '../../../src/runtime/errors.ts'
import { message, ours, person, report, startSms, twiml } from './support.ts'

const heard: unknown[] = []

class Commands extends SmsConsumer {
  override async message({ body, media, consent }: SmsMessage) {
    heard.push({ body, media: media.map(({ url }) => url), consent })
    if (body === 'boom') throw new Error('boom')
    if (body === 'long') await this.reply('x'.repeat(2000))
    if (body === 'hang') await new Promise(() => {})
    await this.reply(`one of ${body}`)
    await this.reply('two', { media: ['https://example.org/a.png'] })
    await this.sendSms('+14155550111', 'news')
  }

  override status({ status, messageSid }: SmsStatus) {
    heard.push({ status, messageSid })
  }
}

let layer: MemoryLayer
beforeEach(() => {
  heard.length = 0
  layer = new MemoryLayer()
})
afterEach(() => layer.close())

const phone = (application = Commands.asApplication()) =>
  new SmsCommunicator(application, { from: person, layer, timeout: 200 })

describe('through the communicator', () => {
  test('a text is handled and its replies come back', async () => {
    const communicator = phone()
    expect(await communicator.send('hello', { media: ['https://example.org/b.png'] })).toEqual([
      { type: 'sms.reply', body: 'one of hello' },
      { type: 'sms.reply', body: 'two', media: ['https://example.org/a.png'] },
    ])
    expect(communicator.sent).toEqual([{ type: 'sms.send', to: '+14155550111', body: 'news' }])
    expect(heard).toEqual([{ body: 'hello', media: ['https://example.org/b.png'], consent: '' }])
  })

  test('STOP is heard and silences the replies until START', async () => {
    const communicator = phone()
    expect(await communicator.send('STOP')).toEqual([])
    expect(await communicator.send('hello')).toEqual([])
    expect(await communicator.send('START')).toHaveLength(2)
    expect(heard).toMatchObject([{ consent: 'stop' }, { consent: '' }, { consent: 'start' }])
  })

  test('a status report is handled', async () => {
    await phone().status('delivered', { messageSid: 'SM1' })
    expect(heard).toEqual([{ status: 'delivered', messageSid: 'SM1' }])
  })

  test('what the application raises is raised, what it may not send too', async () => {
    await expect(phone().send('boom')).rejects.toThrow('boom')
    await expect(phone().send('long')).rejects.toThrow('at most 1600')
  })

  test('no rule: no_route', async () => {
    const router = SMSFromRouter([{ phone: '+49', app: Commands.asApplication() }])
    const failure = await phone(router)
      .send('hello')
      .catch((error: unknown) => error)
    expect(hasCode(failure, 'no_route')).toBe(true)
  })

  test('an application that hangs: timed_out', async () => {
    const failure = await phone()
      .send('hang')
      .catch((error: unknown) => error)
    expect(hasCode(failure, 'timed_out')).toBe(true)
  })
})

test('through the webhook the same consumer says the same', async () => {
  await using sms = await startSms(Commands.asApplication())
  expect((await sms.post(message('hello'))).body).toBe(
    twiml('<Message>one of hello</Message><Message><Body>two</Body><Media>https://example.org/a.png</Media></Message>'),
  )
  expect((await sms.post(report('SM1', 'sent'), { path: '/sms/status' })).status).toBe(204)
  expect(heard).toEqual([
    { body: 'hello', media: [], consent: '' },
    { status: 'sent', messageSid: 'SM1' },
  ])
  await sms.idle()
  expect(sms.outcomes.map(({ kind }) => kind)).toEqual(['finished', 'unanswered'])
})

test('the scopes of communicator and webhook have the same keys', async () => {
  const scopes: SmsScope[] = []
  class Look extends SmsConsumer {
    override message() {
      scopes.push(this.scope)
    }
    override status() {
      scopes.push(this.scope)
    }
  }
  await using sms = await startSms(Look.asApplication())
  await sms.post(message('a'))
  await sms.post(report('SM1', 'sent'), { path: '/sms/status' })
  const communicator = phone(Look.asApplication())
  await communicator.send('a')
  await communicator.status('sent')
  const [first, ...others] = scopes.map((scope) => Object.keys(scope).toSorted())
  expect(others).toEqual([first, first, first])
  expect(scopes.map(({ kind, from, to }) => [kind, from, to])).toEqual(
    ['message', 'status', 'message', 'status'].map((kind) => [kind, person, ours]),
  )
})

test('a consumer that wants nothing answers with nothing', async () => {
  class Nothing extends SmsConsumer {
    override message() {}
  }
  await using sms = await startSms(Nothing.asApplication())
  expect((await sms.post(message('a'))).body).toBe(twiml(''))
  expect((await sms.post(report('SM1', 'sent'), { path: '/sms/status' })).status).toBe(204)
})

test('groups are joined for a message and left when it is done, also when it fails', async () => {
  class Grouped extends SmsConsumer {
    override readonly groups = ['texts']
    override async message({ body }: SmsMessage) {
      heard.push((await this.layer.groupMembers('texts')).length)
      if (body === 'boom') throw new Error('boom')
    }
  }
  await using sms = await startSms(Grouped.asApplication())
  await sms.post(message('a'))
  await sms.post(message('boom'))
  await sms.idle()
  expect(heard).toEqual([1, 1])
  expect(sms.layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

/** Opt-out words: heard, remembered on disk, and kept to. */
import { describe, expect, jest, test } from '@jest/globals'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ConsentStore, consentOf } from '../../../protocols/sms/consent.ts'
import { smsOptions } from '../../../protocols/sms/options.ts'
import { Outbound } from '../../../protocols/sms/outbound.ts'
import type { Outgoing } from '../../../protocols/sms/outgoing.ts'
import { SMSFromRouter } from '../../../protocols/sms/router.ts'
import type { SmsProtocol } from '../../../protocols/sms/scope.ts'
import { SentMessages } from '../../../protocols/sms/sent.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { message, ours, person, report, startRest, startSms, temporaryFolder, twiml } from './support.ts'

/** Answers everything, and sends to the person as well. */
function talker() {
  const consents: string[] = []
  const application: Application<SmsProtocol> = async (scope, receive, send) => {
    const event = await receive()
    if (event.type !== 'sms.message') return
    consents.push(event.consent)
    await send({ type: 'sms.reply', body: 'hello' })
    await send({ type: 'sms.send', to: scope.from, body: 'news' })
  }
  return { consents, application }
}

describe('the words', () => {
  test.each(['STOP', 'stop', ' Stop\n', 'STOPALL', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT', 'OPTOUT', 'REVOKE'])(
    '%j opts out',
    (text) => expect(consentOf(text)).toBe('stop'),
  )
  test.each(['START', 'unstop'])('%j opts in', (text) => expect(consentOf(text)).toBe('start'))
  test.each(['', 'STOP it', 'do not STOP', 'HELP', 'TEMP kitchen', 'end of story', 'YES'])(
    '%j says nothing about it',
    (text) => expect(consentOf(text)).toBe(''),
  )
  test('YES opts in again, but only who has opted out', () => expect(consentOf('Yes', '', () => true)).toBe('start'))
  test('the own words of a messaging service go first', () => {
    expect(consentOf('ARRET', 'STOP')).toBe('stop')
    expect(consentOf('encore', 'START')).toBe('start')
    expect(consentOf('aide', 'HELP')).toBe('')
  })
})

describe('at the webhook', () => {
  test('STOP is answered with nothing, the application learns of it, and no reply and no text goes out any more', async () => {
    await using rest = await startRest()
    const { consents, application } = talker()
    await using sms = await startSms(application, { twilio: rest.twilio })
    expect((await sms.post(message('stop'))).body).toBe(twiml(''))
    expect((await sms.post(message('TEMP kitchen'))).body).toBe(twiml(''))
    await sms.listener.close(new AbortController().signal)
    expect(consents).toEqual(['stop', ''])
    expect(rest.calls).toEqual([])
  })

  test('START lifts it', async () => {
    await using rest = await startRest()
    const { consents, application } = talker()
    await using sms = await startSms(application, { twilio: rest.twilio })
    await sms.post(message('STOP'))
    expect((await sms.post(message('yes'))).body).toBe(twiml('<Message>hello</Message>'))
    expect((await rest.next()).form.get('Body')).toBe('news')
    expect((await sms.post(message('yes'))).body).toBe(twiml('<Message>hello</Message>'))
    expect(consents).toEqual(['stop', 'start', ''])
  })

  test('it is remembered for this person and this number, also where no rule takes the message', async () => {
    const { application } = talker()
    await using sms = await startSms(SMSFromRouter([{ phone: '+1', app: application }]))
    await sms.post(message('STOP', { From: '+4915112345678' }))
    await sms.post(message('STOP'))
    expect((await sms.post(message('a', { From: '+14155550111' }))).body).toContain('hello')
    expect((await sms.post(message('a', { To: '+14155550999' }))).body).toContain('hello')
    const record = stored(sms.services.data)
    expect(record).toEqual([
      { person, sender: ours, stopped: 1, source: 'STOP' },
      { person: '+4915112345678', sender: ours, stopped: 1, source: 'STOP' },
    ])
  })

  test('with a messaging service it is remembered for all of its numbers', async () => {
    const { application } = talker()
    const service = `MG${'c'.repeat(32)}`
    await using sms = await startSms(application, { twilio: { messagingServiceSid: service } })
    await sms.post(message('ARRET', { OptOutType: 'STOP' }))
    expect((await sms.post(message('a', { To: '+14155550999' }))).body).toBe(twiml(''))
    expect(stored(sms.services.data)).toEqual([{ person, sender: service, stopped: 1, source: 'ARRET' }])
  })

  test('a STOP that is repeated after START changes nothing', async () => {
    const { application } = talker()
    await using sms = await startSms(application)
    const stop = message('STOP')
    await sms.post(stop)
    await sms.post(message('START'))
    await sms.post(stop)
    expect((await sms.post(message('a'))).body).toContain('hello')
  })

  test('it is on disk before the answer, whatever the application makes of it', async () => {
    await using sms = await startSms(() => Promise.reject(new Error('boom')))
    expect((await sms.post(message('STOP'))).status).toBe(500)
    expect(stored(sms.services.data)).toEqual([{ person, sender: ours, stopped: 1, source: 'STOP' }])
  })

  test('Twilio’s refusal to send to somebody is a STOP that we had missed: remembered, not a failure', async () => {
    await using rest = await startRest({ status: 400, code: 21_610 })
    const { application } = talker()
    await using sms = await startSms(application, { twilio: rest.twilio })
    await sms.post(message('a'))
    await rest.next()
    await sms.listener.close(new AbortController().signal)
    expect(stored(sms.services.data)).toEqual([{ person, sender: ours, stopped: 1, source: '21610' }])
    expect(sms.failed).toEqual([])
  })

  test('so is a status report with that code', async () => {
    const { application } = talker()
    await using sms = await startSms(application)
    await sms.post(report('SM1', 'undelivered', { ErrorCode: '21610' }), { path: '/sms/status' })
    expect((await sms.post(message('a'))).body).toBe(twiml(''))
  })

  test('when it cannot be written, Twilio is told to ask again', async () => {
    const { consents, application } = talker()
    await using sms = await startSms(application)
    const database = new DatabaseSync(path.join(sms.services.data, 'sms-consent.sqlite'))
    database.exec('BEGIN EXCLUSIVE')
    const stop = message('STOP')
    const refused = await sms.post(stop)
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(sms.refused).toEqual([503])
    database.exec('ROLLBACK')
    database.close()
    expect((await sms.post(stop)).status).toBe(200)
    expect(consents).toEqual(['stop'])
  })
})

describe('the record', () => {
  test('outlives the process that wrote it', () => {
    using temporary = temporaryFolder()
    const file = path.join(temporary.folder, 'sms-consent.sqlite')
    const first = new ConsentStore(file)
    first.record(person, ours, { stopped: true, source: 'STOP' })
    // Not closed: a process that is killed does not close either.
    const second = new ConsentStore(file)
    expect(second.stopped(person, ours)).toBe(true)
    expect(second.stopped(ours, person)).toBe(false)
    second.record(person, ours, { stopped: false, source: 'START' })
    expect(first.stopped(person, ours)).toBe(false)
    first.close()
    second.close()
    second.close()
  })

  test('what this process has recorded is seen at once, and what another one has, when it looks again', () => {
    using temporary = temporaryFolder()
    const file = path.join(temporary.folder, 'sms-consent.sqlite')
    const one = new ConsentStore(file)
    const other = new ConsentStore(file)
    for (let round = 0; round < 10; round++) {
      const stopped = round % 2 === 0
      expect([one.stopped(person, ours), other.stopped(person, ours)]).toEqual(
        [!stopped, !stopped].map((was) => was && round > 0),
      )
      one.record(person, ours, { stopped, source: 'a word' })
      expect(one.stopped(person, ours)).toBe(stopped)
      other.lookAgain()
      expect(other.stopped(person, ours)).toBe(stopped)
    }
    one.close()
    other.close()
  })

  test('without that it is seen soon, also in the middle of a turn', () => {
    using temporary = temporaryFolder()
    const file = path.join(temporary.folder, 'sms-consent.sqlite')
    const one = new ConsentStore(file)
    const other = new ConsentStore(file)
    expect(one.stopped(person, ours)).toBe(false)
    other.record(person, ours, { stopped: true, source: 'STOP' })
    const begun = performance.now()
    let seen = false
    while (!seen && performance.now() - begun < 10_000) seen = one.stopped(person, ours)
    expect(seen).toBe(true)
    one.close()
    other.close()
  })

  test('just before a text goes out by REST it is looked at again, whatever was known a moment ago', async () => {
    await using sms = await startSms(() => Promise.resolve())
    const { services } = sms
    const file = path.join(services.data, 'sms-consent.sqlite')
    const [consent, other] = [new ConsentStore(file), new ConsentStore(file)]
    const sent = new SentMessages(path.join(services.data, 'sms-sent.sqlite'))
    const carried: Outgoing[] = []
    const carrier = {
      async carry(outgoing: Outgoing) {
        carried.push(outgoing)
        return ''
      },
    }
    const options = smsOptions.parse({ provider: { twilio: { authToken: 'x', publicUrl: 'https://a.example' } } })
    const outbound = new Outbound({ services, options, consent, sent, carrier })
    const event = { type: 'sms.outgoing', from: ours, to: person, body: 'news', media: [] } as const
    const record = { event } as unknown as Parameters<typeof outbound.carry>[0]
    // The clock stands still: no time makes it look again.
    jest.useFakeTimers()
    try {
      await outbound.carry(record)
      expect(outbound.refuses(event)).toBe(false)
      other.record(person, ours, { stopped: true, source: 'STOP' })
      await outbound.carry(record)
      expect(carried).toHaveLength(1)
      for (const store of [consent, other, sent]) store.close()
    } finally {
      jest.useRealTimers()
    }
  })

  test('it can be closed right after it was asked', () => {
    jest.useFakeTimers()
    try {
      using temporary = temporaryFolder()
      const store = new ConsentStore(path.join(temporary.folder, 'sms-consent.sqlite'))
      expect(store.stopped(person, ours)).toBe(false)
      store.close()
      jest.runAllTimers()
    } finally {
      jest.useRealTimers()
    }
  })

  test('a file that is none is refused with its name', () => {
    using temporary = temporaryFolder()
    const file = path.join(temporary.folder, 'sms-consent.sqlite')
    writeFileSync(file, 'this is not a database, and it is long enough to be sure of it'.repeat(100))
    expect(() => new ConsentStore(file)).toThrow(
      `the record of opt-outs ${file} cannot be opened: file is not a database`,
    )
  })
})

function stored(data: string) {
  const database = new DatabaseSync(path.join(data, 'sms-consent.sqlite'), { readOnly: true })
  const rows = database.prepare('SELECT person, sender, stopped, source FROM consent ORDER BY person').all()
  database.close()
  return rows.map((row) => ({ ...row }))
}

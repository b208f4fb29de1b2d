/** The support desk, driven by mails without a socket. */
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { EmailCommunicator } from '../../protocols/email/communicator.ts'
import { BridgePool } from '../../src/bridge/pool.ts'
import { syncApplication } from '../../src/bridge/sync-application.ts'
import { SupportTicketHandler } from '../../config/handlers/tickets.ts'
import { sample, type Sample } from './sample.ts'

const handler = new URL('../../config/handlers/tickets.ts', import.meta.url)
const pool = new BridgePool({ threads: 1 })
afterAll(() => pool.close())

let desk: Sample
beforeEach(async () => {
  desk = await sample()
})
afterEach(() => desk[Symbol.dispose]())

const from = (sender: string, recipient = 'help@support.org') =>
  new EmailCommunicator(syncApplication(SupportTicketHandler, handler), {
    // The first of them waits until the thread has begun.
    timeout: 20_000,
    recipient,
    sender,
    layer: desk.layer,
    state: desk.state,
  })
const ann = () => from('ann@example.org')
const tickets = () => desk.store.tickets.list(100)
const texts = (ticket: number) => desk.store.tickets.messages(ticket, 100).map(({ text }) => text.trim())

describe('a mail', () => {
  test('opens a ticket, shows it, and is answered with its number', async () => {
    const { code, replies } = await ann().send({ subject: 'Printer', text: 'It burns.', messageId: '<1@example.org>' })
    expect(code).toBe(250)
    expect(tickets()).toMatchObject([
      { id: 1, subject: 'Printer', from: 'ann@example.org', to: 'help@support.org', status: 'open', messageCount: 1 },
    ])
    expect(texts(1)).toEqual(['It burns.'])
    expect(desk.news).toMatchObject([{ kind: 'ticket', ticket: { id: 1, subject: 'Printer' } }])
    expect(replies).toMatchObject([
      {
        subject: 'Re: Printer [#1]',
        text: expect.stringContaining('ticket #1'),
        messageId: expect.stringMatching(/^<ticket-1-.+@support\.org>$/),
      },
    ])
  })

  test('that comes again, also for another of our addresses, is stored once', async () => {
    const mail = {
      subject: 'Printer',
      text: 'It burns.',
      messageId: '<1@example.org>',
      headers: { date: 'Thu, 01 Jan 2026 12:00:00 +0000' },
    }
    await ann().send({ ...mail, to: 'help@support.org' })
    const again = await from('ann@example.org', 'sales@support.org').send({ ...mail, to: 'help@support.org' })
    expect(again).toMatchObject({ code: 250, replies: [] })
    expect(tickets()).toMatchObject([{ messageCount: 1 }])
  })

  test('with the Message-ID of another but other words is a mail of its own', async () => {
    await ann().send({ subject: 'Printer', text: 'It burns.', messageId: '<1@example.org>' })
    await ann().send({ subject: 'Mouse', text: 'It squeaks.', messageId: '<1@example.org>' })
    expect(tickets()).toHaveLength(2)
  })

  test('with attachments keeps them, under names that lead nowhere', async () => {
    await ann().send({
      subject: 'Files',
      text: 'see there',
      attachments: [
        { filename: '../../etc/passwd', content: 'root' },
        { filename: 'C:\\boot.ini', content: new Uint8Array([0, 255]) },
        { filename: '..', content: 'dots' },
        { filename: 'a\u202Egnp.exe', content: 'x' },
      ],
    })
    const [message] = desk.store.tickets.messages(1, 100)
    const names = message?.attachments.map(({ filename }) => filename) ?? []
    expect(names).toHaveLength(4)
    for (const name of names) expect(name).toMatch(/^[^./\\\p{Cc}\u202E][^/\\\p{Cc}\u202E]*$/u)
    expect(Buffer.from(desk.store.tickets.attachment(1, 1)?.content ?? []).toString()).toBe('root')
  })

  test('without From, subject, Message-ID and body is a ticket too', async () => {
    const { code } = await from('ann@example.org').send('To: help@support.org\r\n\r\n')
    expect(code).toBe(250)
    expect(tickets()).toMatchObject([{ subject: '(no subject)', from: 'ann@example.org' }])
    expect(texts(1)).toEqual([''])
  })
})

describe('a reply finds its ticket', () => {
  beforeEach(async () => {
    await ann().send({ subject: 'Printer', text: 'It burns.', messageId: '<1@example.org>' })
  })

  test('by our signed Message-ID, from whatever address, with whatever subject, and is not answered again', async () => {
    const first = await ann().send({ subject: 'Mouse', text: 'It squeaks.' })
    const ours = first.replies[0]?.messageId ?? ''
    const { replies } = await from('ann@home.example').send({
      subject: 'Thanks',
      text: 'still',
      headers: { 'in-reply-to': ours },
    })
    expect(replies).toEqual([])
    expect(texts(2)).toEqual(['still', 'It squeaks.'])
    expect(tickets()[0]).toMatchObject({ id: 2, messageCount: 2 })
  })

  test('by any of References', async () => {
    const references = '<1@example.org> <lost@example.org>'
    await ann().send({ subject: 'Re: Printer', text: 'and smokes', headers: { references } })
    expect(texts(1)).toEqual(['and smokes', 'It burns.'])
  })

  test('by the number in the subject, from those who take part', async () => {
    await ann().send({ subject: 'Re: Printer [#1]', text: 'and smokes' })
    await from('mallory@example.org').send({ subject: 'Re: Printer [#1]', text: 'tell me more' })
    expect(texts(1)).toEqual(['and smokes', 'It burns.'])
    expect(tickets().map(({ id, from }) => [id, from])).toContainEqual([2, 'mallory@example.org'])
  })
})

describe('what is not a person', () => {
  test('opens a ticket, and is not answered', async () => {
    const { replies } = await ann().send({
      subject: 'Disk full',
      text: 'host7',
      headers: { 'auto-submitted': 'auto-generated' },
    })
    expect(replies).toEqual([])
    expect(tickets()).toMatchObject([{ subject: 'Disk full' }])
  })

  const report = (action: string, about: string) =>
    `From: MAILER-DAEMON@example.org\nTo: help@support.org\nSubject: Undelivered\nMIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nSorry.\n--b
Content-Type: message/delivery-status\n\nReporting-MTA: dns; example.org\n\nFinal-Recipient: rfc822; ann@example.org
Action: ${action}\nStatus: 5.1.1\n\n--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: ${about}\nSubject: Re: Printer [#1]\n\n--b--\n`

  test('a bounce marks the ticket whose answer it returns, and opens none', async () => {
    const { replies } = await ann().send({ subject: 'Printer', text: 'It burns.' })
    const result = await from('').send(report('failed', replies[0]?.messageId ?? ''))
    expect(result).toMatchObject({ code: 250, replies: [] })
    expect(tickets()).toMatchObject([{ id: 1, status: 'bounced', messageCount: 2 }])
    expect(desk.news.at(-1)).toMatchObject({ kind: 'ticket', ticket: { id: 1, status: 'bounced' } })
  })

  test('a notice that a mail takes longer is no bounce', async () => {
    const { replies } = await ann().send({ subject: 'Printer', text: 'It burns.' })
    await from('').send(report('delayed', replies[0]?.messageId ?? ''))
    expect(tickets()).toMatchObject([{ status: 'open', messageCount: 2 }])
    expect(desk.store.tickets.messages(1, 1)).toMatchObject([{ kind: 'notice' }])
  })

  test('a bounce of no mail of ours, or with a forged number, changes nothing', async () => {
    await ann().send({ subject: 'Printer', text: 'It burns.' })
    await from('').send(report('failed', '<stranger@example.org>'))
    await from('').send(report('failed', `<ticket-1-${'0'.repeat(16)}-${'0'.repeat(32)}@support.org>`))
    expect(tickets()).toMatchObject([{ id: 1, status: 'open', messageCount: 1 }])
  })
})

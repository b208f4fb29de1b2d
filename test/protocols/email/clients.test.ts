/** The command-line client, the communicator and the consumer's conveniences. */
import { describe, expect, test } from '@jest/globals'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmailCommunicator } from '../../../protocols/email/communicator.ts'
import { EmailConsumer } from '../../../protocols/email/consumer.ts'
import { client } from '../../../protocols/email/client.ts'
import { emailOptions } from '../../../protocols/email/options.ts'
import { email } from '../../../protocols/email/protocol.ts'
import { EmailToRouter } from '../../../protocols/email/router.ts'
import type { EmailMessage } from '../../../protocols/email/scope.ts'
import { MemoryLayer } from '../../../src/layers/memory.ts'
import { mailText, recorder, serve } from './support.ts'

describe('signalbox send email', () => {
  async function send(port: number, args: readonly string[], options: Readonly<Record<string, string>> = {}) {
    const target = {
      options: emailOptions.parse({ address: `127.0.0.1:${port}` }),
      http: { address: { host: '127.0.0.1', port: 1 } },
      signal: new AbortController().signal,
    }
    return client.send(args, options, target)
  }

  test('mails a text, and says what the gateway said', async () => {
    const { received, router } = recorder()
    await using served = await serve(router)
    const answer = await send(served.port, ['bob@support.org', 'My printer is on fire'], {
      from: 'eve@example.org',
      subject: 'Fire',
    })
    expect(answer).toEqual({ positive: true, text: '250 2.6.0 Accepted' })
    expect(received[0]?.email).toMatchObject({ subject: 'Fire', text: 'My printer is on fire', defects: [] })
    expect(received[0]?.scope.sender).toBe('eve@example.org')
  })

  test('takes the text as an option too, and can be a bounce', async () => {
    const { received, router } = recorder()
    await using served = await serve(router)
    expect((await send(served.port, ['bob@support.org'], { text: 'x', from: '' })).positive).toBe(true)
    expect(received[0]).toMatchObject({ scope: { sender: '' }, email: { text: 'x', automatic: 'bounce' } })
  })

  test('sends a file as it is, dots and line ends included', async () => {
    const { received, router } = recorder()
    await using served = await serve(router)
    const folder = await mkdtemp(join(tmpdir(), 'signalbox-'))
    const file = join(folder, 'x.eml')
    await writeFile(file, 'From: ann@example.org\nSubject: dots\n\n.\n..\nend\n')
    expect((await send(served.port, ['bob@support.org'], { file })).positive).toBe(true)
    expect(Buffer.from(received[0]?.email.raw ?? []).toString()).toBe(
      'From: ann@example.org\r\nSubject: dots\r\n\r\n.\r\n..\r\nend\r\n',
    )
    await expect(send(served.port, ['bob@support.org'], { file: join(folder, 'no.eml') })).rejects.toMatchObject({
      code: 'bad_address',
    })
    await rm(folder, { recursive: true })
  })

  test('is positive on 250 alone', async () => {
    const { router } = recorder((_received, consumer) => consumer.reject(554, 'No'))
    await using served = await serve(router)
    expect(await send(served.port, ['bob@example.org', 'x'])).toEqual({
      positive: false,
      text: '550 5.1.1 No such recipient here',
    })
    expect(await send(served.port, ['bob@support.org', 'x'])).toEqual({ positive: false, text: '554 5.7.1 No' })
    const { port } = served
    await served.listener.close(AbortSignal.abort())
    // For the command to explain.
    await expect(send(port, ['bob@support.org', 'x'])).rejects.toMatchObject({
      code: 'ECONNREFUSED',
      address: '127.0.0.1',
      port,
    })
  })

  test('wants a recipient and a sender that are addresses', async () => {
    await expect(send(1, [])).rejects.toThrow('expected a recipient')
    await expect(send(1, ['bob'])).rejects.toThrow('expected a recipient, found "bob"')
    await expect(send(1, ['bob@support.org'], { from: 'ann' })).rejects.toThrow('--from')
  })

  test('is described by its arguments', () => {
    expect(email.sendUsage.arguments.map(({ name }) => name)).toEqual(['to', 'text'])
  })
})

describe('the communicator', () => {
  const layer = new MemoryLayer()

  class Desk extends EmailConsumer {
    override async message({ subject, automatic }: EmailMessage): Promise<void> {
      if (subject === 'spam') return this.reject(554, 'No spam')
      if (subject === 'raise') throw new Error('as told')
      if (automatic === '') await this.reply({ text: `We have: ${subject}` })
      await this.sendMail({ to: 'boss@example.org', subject: 'News', text: this.scope.tag })
    }
  }
  const desk = new EmailCommunicator(Desk.asApplication(), { recipient: 'Help+x@support.org', layer })

  test('gives what the sender and others get', async () => {
    expect(await desk.send({ subject: 'Fire', text: 'x' })).toEqual({
      code: 250,
      text: '',
      replies: [{ type: 'email.reply', text: 'We have: Fire' }],
      sent: [{ type: 'email.send', to: 'boss@example.org', subject: 'News', text: 'x' }],
    })
  })

  test('takes a whole message too, and knows a robot', async () => {
    const robot = new EmailCommunicator(Desk.asApplication(), { recipient: 'help@support.org', sender: '', layer })
    expect((await robot.send(mailText())).replies).toEqual([])
    expect((await desk.send('Subject: Bytes\n\nx')).replies).toMatchObject([{ text: 'We have: Bytes' }])
    expect((await desk.send(Buffer.from('Subject: Bytes\r\n\r\nx'))).replies).toMatchObject([
      { text: 'We have: Bytes' },
    ])
  })

  test('tells a refusal, a failure and an unknown recipient apart', async () => {
    expect(await desk.send({ subject: 'spam' })).toMatchObject({ code: 554, text: 'No spam' })
    expect(await desk.send({ subject: 'raise' })).toMatchObject({ code: 451, error: { message: 'as told' } })
    const router = EmailToRouter([{ domain: 'example.org', app: Desk.asApplication() }])
    expect(await new EmailCommunicator(router, { recipient: 'help@support.org', layer }).send({})).toMatchObject({
      code: 550,
    })
    await expect(new EmailCommunicator(router, { recipient: 'help', layer }).send({})).rejects.toMatchObject({
      code: 'bad_address',
    })
  })

  test('gives up on an application that does not end, which goes on', async () => {
    const go = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<string>()
    const slow = new EmailCommunicator(
      async (_scope, receive) => {
        await receive()
        await go.promise
        ended.resolve('after all')
      },
      { recipient: 'help@support.org', layer, timeout: 20 },
    )
    await expect(slow.send({})).rejects.toMatchObject({ code: 'timed_out' })
    go.resolve()
    expect(await ended.promise).toBe('after all')
  })

  test('shows attachments, HTML and headers as an adapter would', async () => {
    const seen: EmailMessage[] = []
    class Keep extends EmailConsumer {
      override message(message: EmailMessage): void {
        seen.push(message)
      }
    }
    const keep = new EmailCommunicator(Keep.asApplication(), { recipient: 'help@support.org', layer })
    await keep.send({
      html: '<p>Hi</p>',
      headers: { 'X-A': 'b' },
      attachments: [
        { filename: 'a.txt', content: 'text' },
        { filename: 'b.bin', content: new Uint8Array([1, 2]) },
      ],
    })
    expect(seen[0]).toMatchObject({
      text: 'Hi',
      attachments: [{ filename: 'a.txt' }, { filename: 'b.bin', content: new Uint8Array([1, 2]) }],
    })
    expect(seen[0]?.headers).toEqual(expect.arrayContaining([['x-a', 'b']]))
  })
})

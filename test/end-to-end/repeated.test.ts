/** Mails and texts that come again to another process of the same gateway: handled once, whatever became of the processes. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import path from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { createTransport } from 'nodemailer'
import { Gateways, type RunningGateway } from '../support/gateways.ts'

const fixtures = path.join(import.meta.dirname, 'fixtures', 'processes')

/** Each on a connection of its own: whoever is next takes it. */
async function ask({ urls }: RunningGateway, where: string, form?: Readonly<Record<string, string>>) {
  const signed = Object.entries(form ?? {})
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flat()
  const signature = createHmac('sha1', 'development').update(`http://127.0.0.1:8000${where}${signed.join('')}`)
  const headers = {
    'x-twilio-signature': signature.digest('base64'),
    'content-type': 'application/x-www-form-urlencoded',
  }
  const options = { method: form ? 'POST' : 'GET', headers, agent: false }
  const asked = request(new URL(where, urls['http']), options)
  asked.end(form && new URLSearchParams(form).toString())
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return { status: response.statusCode, text: await textOf(response) }
}

async function sendText(gateway: RunningGateway, sid: string): Promise<void> {
  const form = { Body: sid, From: '+14155550100', MessageSid: sid, To: '+15005550006' }
  expect(await ask(gateway, '/sms', form)).toMatchObject({ status: 200 })
}

async function sendMail({ urls }: RunningGateway, subject: string): Promise<void> {
  const { hostname: host, port } = urls['email'] as URL // the YAML listens for it
  const mail = { from: 'ann@example.org', to: 'help@support.org', subject, text: 'Help', date: new Date(0) }
  const relay = createTransport({ host, port: Number(port), ignoreTLS: true })
  await relay.sendMail({ ...mail, messageId: `<${subject}@example.org>` })
}

async function sendToAll(gateway: RunningGateway, name: string, times: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    await sendText(gateway, name)
    await sendMail(gateway, name)
  }
}

/** How often it was handled. */
const handled = (gateway: RunningGateway, what: 'mail' | 'text', name: string): number =>
  gateway.process.error.split('\n').filter((line) => line.includes(`"a ${what}"`) && line.includes(`"${name}"`)).length

async function untilHandled(gateway: RunningGateway, name: string): Promise<void> {
  await gateway.process.sees('error', new RegExp(`"${name}".*"a mail"`))
  await gateway.process.sees('error', new RegExp(`"${name}".*"a text"`))
}

describe('what comes again to another process', () => {
  let gateways: Gateways
  const serve = (processes: number) => gateways.serve('one', 'stored.yaml', '--processes', String(processes))

  beforeEach(async () => {
    gateways = await Gateways.create(fixtures, {})
  })
  afterEach(async () => await gateways[Symbol.asyncDispose]())

  async function pids(gateway: RunningGateway): Promise<readonly number[]> {
    const asked = await Promise.all(Array.from({ length: 6 }, () => ask(gateway, '/pid')))
    return [...new Set(asked.map(({ text }) => Number(text)))]
  }

  /** Ends it; what it had in hand is handled by then. */
  async function end(gateway: RunningGateway): Promise<void> {
    gateway.process.kill('SIGTERM')
    expect((await gateway.process.ended()).code).toBe(0)
  }

  const counts = (gateway: RunningGateway, name: string) => [
    handled(gateway, 'mail', name),
    handled(gateway, 'text', name),
  ]

  test('is handled once', async () => {
    const gateway = await serve(2)
    await sendToAll(gateway, 'first', 4)
    await untilHandled(gateway, 'first')
    await end(gateway)
    expect(counts(gateway, 'first')).toEqual([1, 1])
    // Both processes have had it.
    expect(gateway.process.error).toMatch(/"process":1.*this message was here before/)
    expect(gateway.process.error).toMatch(/"process":2.*this message was here before/)
  })

  test('also when the processes that had it were killed, and others are there in their place', async () => {
    const gateway = await serve(2)
    await sendToAll(gateway, 'first', 1)
    await untilHandled(gateway, 'first')
    const list = ['journal', 'list', '--config', 'stored.yaml']
    // What is not noted yet would be handled once more, as redelivered.
    while ((await gateways.run(list, gateway)) !== 'no records\n');
    const [first = 0, second = 0] = await pids(gateway)
    process.kill(first, 'SIGKILL')
    await gateway.process.sees('error', /the process serves again/)
    await sendToAll(gateway, 'first', 2)
    process.kill(second, 'SIGKILL')
    await gateway.process.sees('error', /the process serves again[^]*the process serves again/)
    await sendToAll(gateway, 'first', 2)
    await end(gateway)
    expect(counts(gateway, 'first')).toEqual([1, 1])
    expect(gateway.process.error.match(/this message was here before/g)).toHaveLength(4)
  })

  test('also when there are fewer processes than before, and more again', async () => {
    const three = await serve(3)
    for (const name of ['first', 'second', 'third']) await sendToAll(three, name, 1)
    for (const name of ['first', 'second', 'third']) await untilHandled(three, name)
    await end(three)
    for (const processes of [1, 2]) {
      const gateway = await serve(processes)
      for (const name of ['first', 'second', 'third']) await sendToAll(gateway, name, 2)
      await end(gateway)
      expect(gateway.process.error).not.toMatch(/"a (mail|text)"/)
    }
  })
})

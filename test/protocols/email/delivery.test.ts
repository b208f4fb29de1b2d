/** One message, its recipients, and the one answer that its sender gets. */
import { expect, test } from '@jest/globals'
import type { Application } from '../../../src/asgi/protocol.ts'
import { SignalboxError } from '../../../src/runtime/errors.ts'
import { EmailConsumer } from '../../../protocols/email/consumer.ts'
import { EmailToRouter } from '../../../protocols/email/router.ts'
import type { EmailProtocol } from '../../../protocols/email/scope.ts'
import { held, mailText, recorder, serve, type Received } from './support.ts'

/** Two rules, for `a@` and for everybody else at support.org. */
function twoRules(first: Application<EmailProtocol>, second: Application<EmailProtocol>) {
  return EmailToRouter([
    { address: 'a@support.org', app: first },
    { domain: 'support.org', app: second },
  ])
}

const both = ['a@support.org', 'b@support.org']

test('250 comes when the application has handled the message, not before', async () => {
  const { router, started, go } = held()
  await using served = await serve(router)
  const client = await served.connect()
  const reply = client.mail(mailText())
  await started
  expect(client.pending).toBe(0)
  go()
  expect(await reply).toMatch(/^250/)
  client.end()
})

test('an application that asks for the next event has handled this one', async () => {
  const forever = new Promise<never>(() => undefined)
  const app: Application<EmailProtocol> = async (_scope, receive) => {
    await receive()
    await receive().catch(() => undefined)
    await forever
  }
  await using served = await serve(app, {}, { closeTimeout: 10 })
  const client = await served.connect()
  expect(await client.mail(mailText())).toMatch(/^250/)
  client.end()
})

test('an application that returns without a look at its message has handled it', async () => {
  await using served = await serve(async () => undefined)
  const client = await served.connect()
  expect(await client.mail(mailText())).toMatch(/^250/)
  client.end()
})

test.each<[string, Application<EmailProtocol>]>([
  ['at once', () => Promise.reject(new Error('broken'))],
  [
    'without a promise',
    () => {
      throw new Error('broken')
    },
  ],
  [
    'on its message',
    async (_scope, receive) => {
      await receive()
      throw new Error('broken')
    },
  ],
])('an application that raises %s makes the sender come again, and the session goes on', async (_when, app) => {
  await using served = await serve(app)
  const client = await served.connect()
  expect(await client.mail(mailText())).toBe('451 4.3.0 The message could not be handled now, try again later')
  expect(await client.mail(mailText())).toMatch(/^451/)
  expect(await client.command('QUIT')).toMatch(/^221/)
  expect(served.failed).toEqual([])
})

test('an application that never answers is told to stop, and the sender to come again', async () => {
  let aborted: unknown
  const { app } = recorder((_received, consumer) => {
    consumer.signal.addEventListener('abort', () => (aborted = consumer.signal.reason))
    return new Promise(() => undefined)
  })
  await using served = await serve(app, { handlerTimeout: '200ms' }, { closeTimeout: 50 })
  const client = await served.connect()
  expect(await client.mail(mailText())).toBe('451 4.3.0 The message was not handled in time, try again later')
  expect(aborted).toMatchObject({ code: 'timed_out' })
  await served.idle()
  expect(served.outcomes).toEqual([{ kind: 'abandoned' }])
  expect(await client.command('NOOP')).toMatch(/^250/)
  client.end()
})

test('a router below that has no rule after all is an unknown recipient', async () => {
  const app: Application<EmailProtocol> = async () => {
    throw new SignalboxError('no_route', 'no rule')
  }
  await using served = await serve(app)
  const client = await served.connect()
  expect(await client.mail(mailText())).toBe('550 5.1.1 No such recipient here')
  expect(served.unrouted).toEqual(['bob@support.org'])
  client.end()
})

test.each([
  [undefined, undefined, '550 5.7.1 The message was refused'],
  [554, 'We do not like it', '554 5.7.1 We do not like it'],
  [552, '5.2.3 Too much', '552 5.2.3 Too much'],
  [450, 'Come back later', '450 4.7.1 Come back later'],
  [550, 'two\r\nlines\0', '550 5.7.1 two lines'],
])('an application refuses with %s %j', async (code, text, reply) => {
  const { router } = recorder((_received, consumer) => consumer.reject(code, text))
  await using served = await serve(router)
  const client = await served.connect()
  expect(await client.mail(mailText())).toBe(reply)
  client.end()
})

test('events that make no sense here are errors that say so', async () => {
  const errors: string[] = []
  const attempt = async (sending: Promise<void>) => {
    await sending.catch((error: unknown) => errors.push(String(error)))
  }
  const { router } = recorder(async (_received, consumer) => {
    await attempt(consumer.reject(250))
    await attempt(consumer.reject(421))
    await attempt(consumer.send({ type: 'email.forward' } as never))
    await consumer.reject()
    await attempt(consumer.reject())
    await attempt(consumer.reply({ text: 'sorry' }))
  })
  await using served = await serve(router)
  const client = await served.connect()
  expect(await client.mail(mailText())).toMatch(/^550/)
  expect(errors).toEqual([
    expect.stringContaining('email.reject with code 250'),
    expect.stringContaining('email.reject with code 421'),
    expect.stringContaining('email.forward in an e-mail scope'),
    expect.stringContaining('email.reject after another email.reject'),
    expect.stringContaining('email.reply after email.reject'),
  ])
  client.end()
})

test('what was answered is not refused', async () => {
  let error: unknown
  const { router } = recorder(async (_received, consumer) => {
    await consumer.reply({ text: 'thanks' })
    await consumer.reject().catch((caught: unknown) => (error = caught))
  })
  await using served = await serve(router)
  const client = await served.connect()
  expect(await client.mail(mailText())).toMatch(/^250/)
  expect(error).toMatchObject({ code: 'unexpected_event', message: expect.stringContaining('after email.reply') })
  client.end()
})

test('a refusal that comes after the answer is an error', async () => {
  const answered = Promise.withResolvers<void>()
  let error: unknown
  const { router } = recorder(async (_received, consumer) => {
    await answered.promise
    await consumer.reject().catch((caught: unknown) => (error = caught))
  })
  await using served = await serve(router, { handlerTimeout: '50ms' }, { closeTimeout: 60_000 })
  const client = await served.connect()
  expect(await client.mail(mailText())).toMatch(/^451/)
  answered.resolve()
  await served.idle()
  expect(error).toMatchObject({
    code: 'unexpected_event',
    message: expect.stringContaining('after the sender had its answer'),
  })
  client.end()
})

test('two recipients with two rules are two scopes, each with its own application', async () => {
  const [a, b] = [recorder(), recorder()]
  await using served = await serve(twoRules(a.app, b.app))
  const client = await served.connect()
  expect(await client.mail(mailText(), both)).toMatch(/^250/)
  expect(a.received.map(({ scope }) => scope.recipient)).toEqual(['a@support.org'])
  expect(b.received.map(({ scope }) => scope.recipient)).toEqual(['b@support.org'])
  client.end()
})

/** Two rules; the second one's application raises until it is repaired. */
function halfBroken() {
  let isBroken = true
  const a = recorder()
  const b = recorder(() => {
    if (isBroken) throw new Error('broken')
  })
  const handled = () => [a.received.length, b.received.length]
  return { router: twoRules(a.app, b.app), handled, repair: () => (isBroken = false) }
}

test('when one of two raises, the resend is handled only by the one that raised', async () => {
  const { router, handled, repair } = halfBroken()
  await using served = await serve(router)
  const client = await served.connect()
  const text = mailText()
  expect(await client.mail(text, both)).toMatch(/^451/)
  repair()
  expect(await client.mail(text, both)).toMatch(/^250/)
  expect(await client.mail(text, both)).toMatch(/^250/)
  expect(handled()).toEqual([1, 2])
  client.end()
})

test('the same, when the message has no Message-ID', async () => {
  const { router, handled, repair } = halfBroken()
  await using served = await serve(router)
  const client = await served.connect()
  const text = mailText({ 'Message-ID': '' })
  expect(await client.mail(text, both)).toMatch(/^451/)
  repair()
  expect(await client.mail(text, both)).toMatch(/^250/)
  expect(handled()).toEqual([1, 2])
  // And then it is a new one: an alarm that is sent twice is two alarms.
  expect(await client.mail(text, both)).toMatch(/^250/)
  expect(handled()).toEqual([2, 3])
  client.end()
})

test('two equal messages without an id that come at once are two messages', async () => {
  const handling = Promise.withResolvers<void>()
  const bothStarted = Promise.withResolvers<void>()
  const { router, received } = recorder(() => {
    if (received.length === 2) bothStarted.resolve()
    return handling.promise
  })
  await using served = await serve(router)
  const clients = [await served.connect(), await served.connect()]
  const text = mailText({ 'Message-ID': '' })
  const replies = clients.map((client) => client.mail(text))
  await bothStarted.promise
  handling.resolve()
  expect(await Promise.all(replies)).toEqual([expect.stringMatching(/^250/), expect.stringMatching(/^250/)])
  for (const client of clients) client.end()
})

test('one that refuses while another takes it: 250, and a record of the refusal, once', async () => {
  const a = recorder()
  const b = recorder((_received, consumer) => consumer.reject(554, 'No'))
  await using served = await serve(twoRules(a.app, b.app))
  const client = await served.connect()
  const text = mailText()
  expect(await client.mail(text, both)).toMatch(/^250/)
  expect(await client.mail(text, both)).toMatch(/^250/)
  expect(served.failed).toHaveLength(1)
  expect(served.failed[0]).toMatchObject({ scope: { recipient: 'b@support.org' }, event: { type: 'email.message' } })
  expect(String(served.failed[0]?.error)).toContain('554 No')
  client.end()
})

test('one that refuses while another fails: the sender comes again, and nobody is asked twice', async () => {
  let isBroken = true
  const a = recorder(() => {
    if (isBroken) throw new Error('broken')
  })
  const b = recorder((_received, consumer) => consumer.reject(554, 'No'))
  await using served = await serve(twoRules(a.app, b.app))
  const client = await served.connect()
  const text = mailText()
  expect(await client.mail(text, both)).toMatch(/^451/)
  expect(served.failed).toEqual([])
  isBroken = false
  expect(await client.mail(text, both)).toMatch(/^250/)
  expect(b.received).toHaveLength(1)
  expect(served.failed).toHaveLength(1)
  client.end()
})

test('when all refuse, the sender is told so, and asks anew when it comes again', async () => {
  const { router, received } = recorder((_received, consumer) => consumer.reject(554, 'No'))
  await using served = await serve(router)
  const client = await served.connect()
  const text = mailText()
  expect(await client.mail(text, both)).toBe('554 5.7.1 No')
  expect(await client.mail(text, both)).toBe('554 5.7.1 No')
  expect(received).toHaveLength(4)
  client.end()
})

test('a message that comes again is answered and not handled again', async () => {
  const { router, received } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  const text = mailText()
  expect(await client.mail(text)).toMatch(/^250/)
  // Other servers on the way write other headers.
  expect(await client.mail(`Received: from elsewhere\r\n${text}`)).toMatch(/^250/)
  expect(received).toHaveLength(1)
  // Another body under the same id is another message, and so is another recipient.
  expect(await client.mail(text.replace('printer', 'house'))).toMatch(/^250/)
  expect(await client.mail(text, ['c@support.org'])).toMatch(/^250/)
  expect(received).toHaveLength(3)
  client.end()
})

test('by choice every copy is handled', async () => {
  const { router, received } = recorder()
  await using served = await serve(router, { dedupe: false })
  const client = await served.connect()
  const text = mailText()
  await client.mail(text)
  await client.mail(text)
  expect(received).toHaveLength(2)
  client.end()
})

test('a resend while the first one is still handled waits for it', async () => {
  const { router, received, started, go } = held()
  await using served = await serve(router)
  const text = mailText()
  const first = await served.connect()
  await first.envelope()
  await first.command('DATA')
  await first.write(`${text}\r\n.\r\n`)
  await started
  // It leaves without its answer, and so has to send it again.
  first.reset()
  await first.closed
  const second = await served.connect()
  const reply = second.mail(text)
  go()
  expect(await reply).toMatch(/^250/)
  expect(received).toHaveLength(1)
  second.end()
})

test('what was late and then done is not done again', async () => {
  const handling = Promise.withResolvers<void>()
  const { router, received } = recorder(() => handling.promise)
  await using served = await serve(router, { handlerTimeout: '100ms' }, { closeTimeout: 5000 })
  const client = await served.connect()
  const text = mailText()
  expect(await client.mail(text)).toMatch(/^451/)
  handling.resolve()
  await served.idle()
  expect(await client.mail(text)).toMatch(/^250/)
  expect(received).toHaveLength(1)
  client.end()
})

test('a handler that is still busy when its client leaves is not disturbed', async () => {
  const handling = Promise.withResolvers<void>()
  const started = Promise.withResolvers<Received>()
  let finished = false
  class Slow extends EmailConsumer {
    override async message(): Promise<void> {
      started.resolve({} as Received)
      await handling.promise
      finished = !this.signal.aborted
    }
  }
  await using served = await serve(Slow.asApplication())
  const client = await served.connect()
  await client.envelope()
  await client.command('DATA')
  await client.write(`${mailText()}\r\n.\r\n`)
  await started.promise
  client.reset()
  await client.closed
  while (served.listener.connections > 0) await new Promise((resolve) => setImmediate(resolve))
  handling.resolve()
  await served.idle()
  expect(finished).toBe(true)
})

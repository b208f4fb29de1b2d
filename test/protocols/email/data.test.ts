/** DATA: where a message ends, what may stand in it, how large it may be and how long it may take. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { mailText, recorder, serve, type Dialogue } from './support.ts'

const second = 'MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@support.org>\r\nDATA\r\nsmuggled\r\n.\r\n'

/** Ways to end a message that only another server takes for an end (RFC 5321 4.1.1.4). */
const smugglers = [
  '\n.\n',
  '\n.\r\n',
  '\r\n.\n',
  '\r.\r',
  '\r\n.\r',
  '\n\n.\r\r\n',
  '\r\n\0.\r\n',
  '\r.\r\n',
  '\r\n\x00\r\n.\r\r\n',
]

test.each(smugglers.map((text) => [JSON.stringify(text), text]))(
  '%s ends no message and is refused',
  async (_name, end) => {
    const { received, router } = recorder()
    await using served = await serve(router)
    const client = await served.connect()
    await client.envelope()
    await client.command('DATA')
    await client.write(`From: ann@example.org\r\n\r\nfirst${end}${second}`)
    expect(await client.reply()).toMatch(/^550 5\.6\.11 .*(bare LF|bare CR|NUL)/)
    // What followed was content: the next command is the next one that is sent.
    expect(await client.command('NOOP')).toBe('250 2.0.0 OK')
    expect(received).toHaveLength(0)
    expect(await client.mail(mailText())).toMatch(/^250/)
    client.end()
  },
)

test('wherever its bytes are cut, a batch is one message and one answer', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { dedupe: false })
  let client: Dialogue | undefined
  const piece = fc.constantFrom(
    '\r\n',
    '\n',
    '\r',
    '.',
    '..',
    '\0',
    'a',
    'MAIL FROM:<evil@example.org>',
    '\r\n.\n',
    '\n.\r\n',
    '\r\n..\r\n',
  )
  const property = fc.asyncProperty(
    fc.array(piece, { maxLength: 12 }),
    fc.array(fc.nat(60), { maxLength: 6 }),
    async (pieces, cuts) => {
      const content = `From: a@b\r\n\r\nx${pieces.join('')}`
      // The end that the protocol knows may stand in the middle too: then what follows it would be commands.
      fc.pre(!`${content}\r\n`.includes('\r\n.\r\n'))
      const own = (client ??= await served.connect())
      client = undefined
      received.length = 0
      await own.envelope()
      await own.command('DATA')
      const bytes = Buffer.from(`${content}\r\n.\r\n`, 'latin1')
      const places = [0, ...cuts.map((cut) => cut % bytes.length).toSorted((a, b) => a - b), bytes.length]
      for (const [index, end] of places.slice(1).entries()) {
        await own.write(bytes.subarray(places[index], end))
        await new Promise((resolve) => setImmediate(resolve))
      }
      const reply = await own.reply()
      const isFaulty = /\0|\r(?!\n)|(?<!\r)\n/.test(`${content}\r\n`)
      expect(reply).toMatch(isFaulty ? /^550 5\.6\.11/ : /^250/)
      const unstuffed = content.replaceAll('\r\n..', '\r\n.')
      const raw = received.map(({ email }) => Buffer.from(email.raw).toString('latin1'))
      expect(raw).toEqual(isFaulty ? [] : [`${unstuffed}\r\n`])
      expect(await own.command('NOOP')).toBe('250 2.0.0 OK')
      client = own
    },
  )
  await fc.assert(property, { numRuns: 150 })
}, 30_000)

test('every cut of a smuggling attempt is refused as a whole', async () => {
  const { received, router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  const bytes = Buffer.from(`x\r\n\r\ny\n.\r\n${second}`)
  await client.command('EHLO me')
  for (let cut = 1; cut < bytes.length; cut++) {
    await client.command('MAIL FROM:<ann@example.org>')
    await client.command('RCPT TO:<bob@support.org>')
    await client.command('DATA')
    await client.write(bytes.subarray(0, cut))
    await new Promise((resolve) => setImmediate(resolve))
    await client.write(bytes.subarray(cut))
    expect(await client.reply()).toMatch(/^550 5\.6\.11/)
  }
  expect(await client.command('NOOP')).toBe('250 2.0.0 OK')
  expect(received).toHaveLength(0)
  client.end()
})

test('by choice a bare line end is made one, and a NUL goes', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { bareNewlines: 'normalise' })
  const client = await served.connect()
  expect(await client.mail('From: ann@example.org\nSubject: a\0b\n\none\rtwo')).toMatch(/^250/)
  expect(Buffer.from(received[0]?.email.raw ?? []).toString()).toBe(
    'From: ann@example.org\r\nSubject: ab\r\n\r\none\r\ntwo\r\n',
  )
  expect(received[0]?.email.text).toBe('one\ntwo')
  client.end()
})

test('a message that declares its size too large is refused before it is sent', async () => {
  await using served = await serve(recorder().router, { maxSize: '1KiB' })
  const client = await served.connect()
  await client.command('EHLO me')
  expect(await client.command('MAIL FROM:<ann@example.org> SIZE=1025')).toMatch(/^552 5\.3\.4/)
  expect(await client.command('MAIL FROM:<ann@example.org> SIZE=1024')).toMatch(/^250/)
  client.end()
})

test('one byte more than allowed is refused after the end, and the session goes on', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { maxSize: '1KiB' })
  const client = await served.connect()
  const head = 'From: ann@example.org\r\n\r\n'
  expect(await client.mail(head + 'x'.repeat(1024 - head.length - 2))).toMatch(/^250/)
  expect(await client.mail(head + 'x'.repeat(1025 - head.length - 2))).toBe(
    '552 5.3.4 The message is larger than 1024 bytes',
  )
  expect(await client.mail(mailText())).toMatch(/^250/)
  expect(received).toHaveLength(2)
  client.end()
})

test('a message without an end is answered while it streams', async () => {
  await using served = await serve(recorder().router, { maxSize: '64KiB' })
  const client = await served.connect()
  await client.envelope()
  await client.command('DATA')
  const line = `${'x'.repeat(998)}\r\n`.repeat(64)
  while (client.pending === 0) await client.write(line)
  expect(await client.reply()).toMatch(/^552 5\.3\.4/)
  // What still comes is thrown away until its end.
  await client.write('MAIL FROM:<evil@example.org>\r\n.\r\n')
  expect(await client.command('NOOP')).toBe('250 2.0.0 OK')
  client.end()
})

test('a sender that stops after too much is answered without an end', async () => {
  await using served = await serve(recorder().router, { maxSize: '1KiB' })
  const client = await served.connect()
  await client.envelope()
  await client.command('DATA')
  await client.write('x'.repeat(2000))
  expect(await client.reply()).toMatch(/^552 5\.3\.4/)
  client.end()
})

test('all messages together have a bound: the one over it is told to come later', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { maxSize: '8KiB', maxSpool: '10KiB' })
  const slow = await served.connect()
  await slow.envelope()
  await slow.command('DATA')
  await slow.write(`Subject: slow\r\n\r\n${'x'.repeat(6000)}`)
  const client = await served.connect()
  await client.command('EHLO me')
  // The first one's bytes have to be read before they count.
  let refusal = ''
  while (!refusal.startsWith('452')) {
    refusal = await client.command('MAIL FROM:<ann@example.org> SIZE=5000')
    await client.command('RSET')
  }
  expect(refusal).toMatch(/^452 4\.3\.1/)
  expect(await client.mail(`Subject: undeclared\r\n\r\n${'x'.repeat(6000)}`)).toMatch(/^452 4\.3\.1/)
  await slow.write('\r\n.\r\n')
  expect(await slow.reply()).toMatch(/^250/)
  expect(await client.mail(`Subject: again\r\n\r\n${'x'.repeat(6000)}`)).toMatch(/^250/)
  expect(received.map(({ email }) => email.subject)).toEqual(['slow', 'again'])
  slow.end()
  client.end()
})

test('a message that takes longer than allowed is cut off with 421', async () => {
  await using served = await serve(recorder().router, { dataTimeout: '300ms' })
  const client = await served.connect()
  await client.envelope()
  await client.command('DATA')
  expect(await client.reply()).toMatch(/^421 4\.4\.2/)
  await client.closed
})

/** Sends a little now and then, until there is an answer: what is written to a connection that is closed takes the answer with it. */
function trickle(client: Dialogue, part: string): void {
  const timer = setInterval(() => void client.write(part), 20)
  client.socket.once('data', () => clearInterval(timer)).once('close', () => clearInterval(timer))
}

test('a message that trickles is cut off with 421', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { dataWindow: '200ms', dataRate: '100B' })
  const client = await served.connect()
  await client.envelope()
  await client.command('DATA')
  trickle(client, 'x')
  expect(await client.reply()).toMatch(/^421 4\.4\.2/)
  await client.closed
  expect(received).toHaveLength(0)
})

test('commands that trickle are cut off with 421, although no pause is long', async () => {
  await using served = await serve(recorder().router, { commandTimeout: '200ms' })
  const client = await served.connect()
  trickle(client, 'E')
  expect(await client.reply()).toMatch(/^421 4\.4\.2/)
  await client.closed
})

test('a silent client is sent away', async () => {
  await using served = await serve(recorder().router, { commandTimeout: '200ms' })
  const client = await served.connect()
  expect(await client.reply()).toMatch(/^421 4\.4\.2/)
  await client.closed
})

test('a client that leaves in the middle of its message leaves nothing behind', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { maxSize: '100KiB', maxSpool: '100KiB' })
  for (let i = 0; i < 10; i++) {
    const client = await served.connect()
    await client.envelope()
    await client.command('DATA')
    await client.write('x'.repeat(50_000))
    client.reset()
    await client.closed
  }
  while (served.listener.connections > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(received).toHaveLength(0)
  // All of the spool is free again.
  const client = await served.connect()
  expect(await client.mail(`Subject: x\r\n\r\n${'x'.repeat(99_000)}`)).toMatch(/^250/)
  client.end()
})

test('a message that has come through too many servers is a loop', async () => {
  const { received, router } = recorder()
  await using served = await serve(router, { maxHops: 3, maxSize: '1KiB', maxSpool: '1KiB' })
  const client = await served.connect()
  const hops = (count: number) => 'Received: from a by b\r\n'.repeat(count) + mailText()
  expect(await client.mail(hops(4))).toMatch(/^554 5\.4\.6/)
  for (let i = 0; i < 4; i++) expect(await client.mail(hops(4))).toMatch(/^554 5\.4\.6/)
  expect(await client.mail(hops(3))).toMatch(/^250/)
  expect(received).toHaveLength(1)
  client.end()
})

test.each([
  ['no headers at all', 'just text'],
  ['nothing at all', ''],
  ['no From and no Message-ID', 'Subject: x\r\n\r\ny'],
  ['an empty body', 'From: ann@example.org\r\n\r\n'],
  ['a line of a megabyte', `From: ann@example.org\r\n\r\n${'x'.repeat(1_000_000)}`],
  ['a header of two megabytes', `X-Long: ${'x'.repeat(2_000_000)}\r\n\r\nbody`],
  ['1,000 parts', `Content-Type: multipart/mixed; boundary=x\r\n\r\n${'--x\r\n\r\na\r\n'.repeat(1000)}--x--`],
])('a message with %s is taken', async (_what, message) => {
  const { received, router } = recorder()
  await using served = await serve(router)
  const client = await served.connect()
  const reply = message === '' ? await empty(client) : await client.mail(message)
  expect(reply).toMatch(/^250/)
  expect(received).toHaveLength(1)
  client.end()
})

async function empty(client: Dialogue): Promise<string> {
  await client.envelope()
  await client.command('DATA')
  return client.command('.')
}

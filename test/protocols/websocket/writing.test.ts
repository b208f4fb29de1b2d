/** What is written to a WebSocket, in which order, and what becomes of a peer that does not read. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { WebsocketSend } from '../../../protocols/websocket/scope.ts'
import { Client, serveWebsocket, type WebsocketApplication } from './support.ts'

type Message = string | Uint8Array

const accept = { type: 'websocket.accept' } as const
const send = (message: Message): WebsocketSend =>
  typeof message === 'string' ? { type: 'websocket.send', text: message } : { type: 'websocket.send', bytes: message }
const shown = (message: Message) =>
  typeof message === 'string' ? message : `bytes ${Buffer.from(message).toString('latin1')}`

/** Texts, small bytes, and bytes so large that they are written by themselves; some wait for the next turn first. */
const step = fc.record({
  message: fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array({ maxLength: 300 }),
    fc.integer({ min: 16_000, max: 100_000 }).map((length) => new Uint8Array(length).fill(length % 251)),
    fc.integer({ min: 60_000, max: 70_000 }).map((length) => 'é'.repeat(length)),
  ),
  pause: fc.boolean(),
})

test.each([
  ['framed by the gateway', false],
  ['compressed', true],
])(
  'messages that are %s arrive in order and whole, with pings among them and before the close',
  async (_name, compression) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        await using server = await serveWebsocket(
          async (_scope, receive, say) => {
            await receive()
            await say(accept)
            for (const { message, pause } of steps) {
              // Nobody waits for it, so that much comes together in one turn.
              void say(send(message))
              if (pause) await new Promise(setImmediate)
            }
            await say({ type: 'websocket.close', code: 4000, reason: 'that was all' })
            await receive()
          },
          { compression, heartbeat: '1ms', idleTimeout: '1m' },
        )
        const client = await Client.connect(server.url)
        for (const { message } of steps) expect(shown(await client.next())).toBe(shown(message))
        expect(await client.closed).toEqual({ code: 4000, reason: 'that was all' })
      }),
      { numRuns: 15 },
    )
  },
)

test('with compression what is sent is smaller than what was said', async () => {
  await using server = await serveWebsocket(
    async (_scope, receive, say) => {
      await receive()
      await say(accept)
      await receive()
      await say(send('x'.repeat(50_000)))
      await receive()
    },
    { compression: true },
  )
  const client = await Client.connect(server.url)
  const raw = (client.ws as unknown as { readonly _socket: import('node:net').Socket })._socket
  const before = raw.bytesRead
  client.ws.send('go')
  expect(await client.next()).toHaveLength(50_000)
  expect(raw.bytesRead - before).toBeLessThan(5000)
  client.ws.terminate()
})

test('send waits for a peer that does not read, and goes on when it reads', async () => {
  let waiting = false
  let sent = 0
  const part = 'x'.repeat(32 * 1024)
  await using server = await serveWebsocket(async (_scope, receive, say) => {
    await receive()
    await say(accept)
    await receive()
    for (; sent < 1000; sent++) {
      const done = say(send(part))
      waiting = await Promise.race([done.then(() => false), new Promise<true>((late) => setTimeout(late, 100, true))])
      if (waiting) await done
      waiting = false
    }
    await receive()
  })
  const client = await Client.connect(server.url)
  client.ws.send('go')
  client.ws.pause()
  while (!waiting) await new Promise(setImmediate)
  const before = sent
  expect(before).toBeLessThan(1000)
  client.ws.resume()
  for (let number = 0; number < 1000; number++) expect(await client.next()).toHaveLength(part.length)
  expect(sent).toBeGreaterThan(before)
  client.ws.terminate()
})

const member: WebsocketApplication = async (_scope, receive, say, { layer, channel }) => {
  await layer.groupAdd('room', channel)
  await receive()
  await say(accept)
  for (;;) {
    const event: { readonly type: string; readonly text?: string } = await receive()
    if (event.type === 'websocket.disconnect') return
    // As handlers do that wait for nothing: what comes is passed on, whether or not it is read.
    void say({ type: 'websocket.send', text: event.text ?? '' })
  }
}

test('a slow reader among the members of a group is closed with 1013, and the others miss nothing', async () => {
  await using server = await serveWebsocket(member, { sendBuffer: '1MiB' })
  const slow = await Client.connect(server.url)
  const others = await Promise.all(Array.from({ length: 20 }, () => Client.connect(server.url)))
  slow.ws.pause()
  const text = 'x'.repeat(100 * 1024)
  let said = 0
  const { connections } = server.listener
  const { layer } = server.test
  // Its kernel takes some megabytes before anything waits for it here.
  while (slow.ws.readyState === slow.ws.OPEN && said < 500) {
    await layer.groupSend('room', { type: 'room.message', text: `${said} ${text}` } as never)
    await Promise.all(
      others.map(async (client) => {
        expect(String(await client.next()).split(' ')[0]).toBe(String(said))
      }),
    )
    said++
    // What the gateway said last is behind all that it has to read.
    if (said % 50 === 0) slow.ws.resume()
  }
  expect(connections).toBe(21)
  expect((await slow.closed).code).toBe(1013)
  for (const client of others) expect(client.ws.readyState).toBe(client.ws.OPEN)
  for (const client of others) client.ws.terminate()
})

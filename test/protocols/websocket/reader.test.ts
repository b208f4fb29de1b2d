/** What is read before the parser of the `ws` package, and beside it: together they read what it alone would. */
import { expect, jest, test } from '@jest/globals'
import type { Writable } from 'node:stream'
import fc from 'fast-check'
import * as ws from 'ws'
import { Reader } from '../../../protocols/websocket/reader.ts'
import { RawClient } from '../../support/raw-client.ts'
import { bytesOf, cut, frames, text } from './frames.ts'
import { echo, handshake, serveWebsocket } from './support.ts'

/** Of the package, whose types leave it out. */
const { Receiver } = ws as unknown as { readonly Receiver: new (options: object) => Writable }

const maxPayload = 3000

interface Heard {
  readonly events: readonly string[]
  /** Messages that the parser did not see. */
  readonly before: number
}

/** What is heard of these chunks until the peer closes or breaks the protocol, as the package stops then. */
async function heard(chunks: readonly Buffer[], { reader }: { readonly reader: boolean }): Promise<Heard> {
  const parser = new Receiver({ isServer: true, allowSynchronousEvents: true, maxPayload })
  const events: string[] = []
  let before = 0
  let over = false
  const message = (data: string | Uint8Array) =>
    events.push(typeof data === 'string' ? `text ${data}` : `bytes ${Buffer.from(data).toString('latin1')}`)
  parser.on('message', (data: Buffer, isBinary: boolean) => message(isBinary ? data : data.toString()))
  for (const name of ['ping', 'pong']) parser.on(name, (data: Buffer) => events.push(`${name} ${data.toString('hex')}`))
  parser.on('conclude', (code: number, why: Buffer) => {
    over = true
    events.push(`close ${code} ${why.toString()}`)
  })
  const failed = new Promise<void>((resolve) => {
    parser.on('error', (error: NodeJS.ErrnoException) => {
      events.push(`error ${error.code}`)
      resolve()
    })
  })
  if (reader) {
    const received = (data: string | Uint8Array, length: number) => {
      expect(Buffer.byteLength(data)).toBe(length)
      before++
      message(data)
    }
    Reader.before(parser, { received }, maxPayload)
  }
  // Some come in one turn, as they do when the socket was paused; the error is told after it.
  for (const chunk of chunks) if (!over) parser.write(Buffer.from(chunk))
  await Promise.race([failed, new Promise(setImmediate)])
  return { events, before }
}

test('whatever a peer sends, and however it is cut into chunks, is read as the parser alone reads it', async () => {
  let before = 0
  await fc.assert(
    fc.asyncProperty(frames, fc.array(fc.nat(), { maxLength: 6 }), async (sent, cuts) => {
      const chunks = cut(Buffer.concat(sent.map(bytesOf)), cuts)
      const both = await heard(chunks, { reader: true })
      const { events } = await heard(chunks, { reader: false })
      expect(both.events).toEqual(events)
      before += both.before
    }),
    { numRuns: 1000 },
  )
  expect(before).toBeGreaterThan(100)
})

test('a stream of chunks of one byte is read as the parser alone reads it', async () => {
  await fc.assert(
    fc.asyncProperty(frames, async (sent) => {
      const bytes = Buffer.concat(sent.map(bytesOf)).subarray(0, 1000)
      const chunks = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1))
      expect(await heard(chunks, { reader: true })).toEqual({ ...(await heard(chunks, { reader: false })), before: 0 })
    }),
  )
})

const frame = (payload: Uint8Array, first = 0x81): Buffer =>
  bytesOf({ first, payload, mask: Uint8Array.of(1, 2, 3, 4), wide: 0 })
const hello = frame(text('hello'))

test.each([
  ['several in one chunk', [Buffer.concat([hello, hello, hello])], 3],
  ['the longest', [frame(new Uint8Array(maxPayload), 0x82)], 1],
  ['behind a ping', [frame(text(''), 0x89), hello], 1],
  ['behind one that came in two pieces', [hello.subarray(0, 3), hello.subarray(3), hello], 1],
  ['behind one that came in the middle of its header', [hello.subarray(0, 1), hello.subarray(1), hello], 1],
  ['behind fragments, and not between them', [frame(text('a'), 0x01), frame(text('b'), 0x80), hello], 1],
])('whole messages do not go through the parser: %s', async (_name, chunks, count) => {
  expect((await heard(chunks, { reader: true })).before).toBe(count)
})

test('the rest of a header that was cut is not taken for a frame, whatever it looks like', async () => {
  const sly = bytesOf({ first: 0x81, payload: text('a'), mask: Uint8Array.of(0x80, 1, 2, 3), wide: 0 })
  const { events } = await heard([sly.subarray(0, 1), sly.subarray(1), hello], { reader: true })
  expect(events).toEqual(['text a', 'text hello'])
})

const fragment = frame(text('a'), 0x01)

test.each([
  ['text that is no UTF-8', [Buffer.concat([hello, frame(Uint8Array.of(0xff)), hello])], 'WS_ERR_INVALID_UTF8'],
  ['and in chunks of one turn', [hello, frame(Uint8Array.of(0xff)), hello], 'WS_ERR_INVALID_UTF8'],
  ['a new message between fragments', [hello, fragment, hello], 'WS_ERR_INVALID_OPCODE'],
  ['and behind a ping', [hello, fragment, frame(text(''), 0x89), hello], 'WS_ERR_INVALID_OPCODE'],
])('%s is the parser’s to refuse, and nothing behind it is read', async (_name, chunks, code) => {
  const { events } = await heard(chunks, { reader: true })
  expect(events.filter((event) => !event.startsWith('ping'))).toEqual(['text hello', `error ${code}`])
})

test('what comes over a socket is read before the parser, where the package keeps it', async () => {
  await using server = await serveWebsocket(echo)
  const client = await RawClient.connect(server.url)
  const parsed = jest.spyOn(Receiver.prototype, '_write')
  client.send(handshake)
  await client.until(/\r\n\r\n$/)
  client.send(hello)
  await client.until(/hello$/)
  expect(parsed).not.toHaveBeenCalled()
  client.send(frame(text('?'), 0x89))
  await client.until(/\?$/)
  expect(parsed).toHaveBeenCalledTimes(1)
  parsed.mockRestore()
  client.end()
})

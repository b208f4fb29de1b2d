/** The frames of a turn, read back by the receiver of the `ws` package. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import * as ws from 'ws'
import { Batch, closeAnswer } from '../../../protocols/websocket/batch.ts'

type Message = string | Uint8Array

/** Of the package, whose types leave them out. */
interface Parts {
  readonly Receiver: new (options: object) => NodeJS.EventEmitter & { write(bytes: Uint8Array): boolean }
  readonly Sender: { frame(data: Buffer, options: object): readonly Uint8Array[] }
}
const { Receiver, Sender } = ws as unknown as Parts

function batchOf(start: Batch, messages: readonly Message[]): Batch {
  let batch = start
  for (const message of messages) {
    batch = typeof message === 'string' ? batch.withText(message) : batch.withBytes(message)
  }
  return batch
}

function received(bytes: Uint8Array): Message[] {
  const receiver = new Receiver({ isServer: false, allowSynchronousEvents: true })
  const messages: Message[] = []
  receiver.on('message', (data: Buffer, isBinary: boolean) => messages.push(isBinary ? data : data.toString()))
  receiver.on('error', (error: Error) => {
    throw error
  })
  receiver.write(bytes)
  return messages
}

/** For a comparison that takes no time: `toEqual` looks at each byte as a property. */
const shown = (messages: readonly Message[]) =>
  messages.map((message) =>
    typeof message === 'string' ? message : `bytes ${Buffer.from(message).toString('latin1')}`,
  )

/** Sizes around those at which the header grows. */
const size = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(125, 126, 127, 65_535, 65_536, 65_537))
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.tuple(size, fc.constantFrom('a', 'é', '語', '🚃')).map(([length, character]) => character.repeat(length)),
  size.map((length) => new Uint8Array(length).fill(length % 251)),
)

test('what is framed in a batch is read back, message by message, in order', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 12 }), (messages) => {
      const batch = batchOf(Batch.empty(), messages)
      expect(batch.bytes.length).toBe(batch.length)
      expect(shown(received(batch.bytes))).toEqual(shown(messages))
    }),
  )
})

test('every frame is byte for byte that of the package', () => {
  fc.assert(
    fc.property(message, (said) => {
      const opcode = typeof said === 'string' ? 1 : 2
      const whole = Buffer.concat(Sender.frame(Buffer.from(said), { fin: true, opcode }))
      expect(batchOf(Batch.empty(), [said]).bytes.equals(whole)).toBe(true)
    }),
  )
})

test('the answer to a close is byte for byte that of the package', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1000, max: 4999 }),
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      (code, reason) => {
        const payload = Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)])
        const whole = Buffer.concat(Sender.frame(payload, { fin: true, opcode: 8 }))
        expect(closeAnswer(code, Buffer.from(reason)).equals(whole)).toBe(true)
      },
    ),
  )
  expect(closeAnswer()).toEqual(Buffer.from([0x88, 0]))
})

test('half of a surrogate pair is sent as the replacement character, as text is everywhere', () => {
  expect(received(batchOf(Batch.empty(), ['a\ud83d', 'b']).bytes)).toEqual(['a\ufffd', 'b'])
})

test('those who are told the same texts share one batch, and those who are told others do not', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.constantFrom('one', 'two', 'three'), { maxLength: 4 })), (conversations) => {
      const start = Batch.empty()
      // In turn, as the members of a group are told.
      const batches = conversations.map((texts) => batchOf(start, texts))
      for (const [index, batch] of batches.entries()) expect(received(batch.bytes)).toEqual(conversations[index])
    }),
  )
  const start = Batch.empty()
  expect(batchOf(start, ['one', 'two'])).toBe(batchOf(start, ['one', 'two']))
})

test('bytes are sent as they were when they were said', () => {
  const said = Uint8Array.of(1, 2, 3)
  const batch = Batch.empty().withBytes(said)
  said.fill(0)
  expect(shown(received(batch.bytes))).toEqual(shown([Uint8Array.of(1, 2, 3)]))
})

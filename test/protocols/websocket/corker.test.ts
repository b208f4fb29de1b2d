/** When what sockets say is written: with the turn of the event loop, or in lots where waiting wins nothing. */
import { once } from 'node:events'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { WebSocket } from 'ws'
import { BatchCorker, type Speaker } from '../../../protocols/websocket/corker.ts'
import { serveWebsocket, type WebsocketApplication } from './support.ts'

/** A socket that notes the messages of each of its writes. */
class Socket implements Speaker {
  spoke = -1
  place = -1
  readonly writes: (readonly string[])[] = []
  readonly #corker: BatchCorker

  constructor(corker: BatchCorker) {
    this.#corker = corker
  }

  say(text: string | Uint8Array): void {
    this.#corker.say(this, text)
  }

  flush(): void {
    const batch = this.#corker.take(this)
    if (batch) this.writes.push(textsOf(batch.bytes))
  }
}

/** Of short texts in frames without a mask. */
function textsOf(frames: Buffer): readonly string[] {
  const texts: string[] = []
  for (let at = 0; at < frames.length;) {
    const end = at + 2 + (frames[at + 1] as number) // within the frames
    texts.push(frames.toString('utf8', at + 2, end))
    at = end
  }
  return texts
}

const turnEnds = () => new Promise(setImmediate)

function socketsOf(count: number): readonly Socket[] {
  const corker = new BatchCorker()
  return Array.from({ length: count }, () => new Socket(corker))
}

/** Every one of them says so many messages, the first ones of all before the second ones. */
function speak(all: readonly Socket[], messages: number): void {
  for (let message = 0; message < messages; message++) for (const socket of all) socket.say(`${message}`)
}

/** How many messages each write of a socket has. */
const sizes = ({ writes }: Socket) => writes.map(({ length }) => length)
const written = (all: readonly Socket[]) => all.filter(({ writes }) => writes.length > 0).length

test('many sockets that say one thing a turn are written in lots, the first before the last has spoken', async () => {
  const all = socketsOf(200)
  speak(all, 1)
  // Nobody knows yet how much they say.
  expect(written(all)).toBe(0)
  await turnEnds()
  expect(written(all)).toBe(200)
  for (const { writes } of all) writes.pop()
  speak(all, 1)
  expect(written(all)).toBe(192)
  await turnEnds()
  expect(all.every((socket) => String(sizes(socket)) === '1')).toBe(true)
})

test('few sockets are written when the turn is over, whatever they say', async () => {
  const all = socketsOf(64)
  for (let turn = 0; turn < 3; turn++) {
    speak(all, 1)
    expect(all.every(({ writes }) => writes.length === turn)).toBe(true)
    await turnEnds()
  }
})

test('sockets that say much a turn are written once a turn', async () => {
  const all = socketsOf(200)
  for (let turn = 0; turn < 3; turn++) {
    speak(all, 8)
    await turnEnds()
  }
  expect(all.every((socket) => String(sizes(socket)) === '8,8,8')).toBe(true)
})

test('when sockets that said little begin to say much, only the first message of the turn is written by itself', async () => {
  const all = socketsOf(200)
  speak(all, 1)
  await turnEnds()
  for (const { writes } of all) writes.pop()
  speak(all, 8)
  await turnEnds()
  speak(all, 8)
  await turnEnds()
  expect(sizes(all[0] as Socket)).toEqual([1, 7, 8])
  expect(sizes(all.at(-1) as Socket)).toEqual([8, 8])
})

test('whoever is written, and when, each socket has its own words, once and in order', async () => {
  const step = fc.oneof(
    { weight: 20, arbitrary: fc.record({ socket: fc.nat(99), what: fc.constantFrom('text', 'bytes') }) },
    { weight: 3, arbitrary: fc.record({ socket: fc.nat(99), what: fc.constant('written by itself') }) },
    { weight: 2, arbitrary: fc.record({ socket: fc.nat(99), what: fc.constant('all speak') }) },
    { weight: 1, arbitrary: fc.record({ socket: fc.nat(99), what: fc.constant('the turn ends') }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 200 }), async (steps) => {
      const all = socketsOf(100)
      const said = new Map<Socket, string[]>(all.map((socket) => [socket, []]))
      const say = (socket: Socket, text: string, bytes = false) => {
        said.get(socket)?.push(text)
        socket.say(bytes ? Buffer.from(text) : text)
      }
      for (const [index, { socket, what }] of steps.entries()) {
        const one = all[socket] as Socket
        if (what === 'written by itself') one.flush()
        else if (what === 'all speak') for (const each of all) say(each, `${index}`)
        else if (what === 'the turn ends') await turnEnds()
        else say(one, `${index} of ${socket}`, what === 'bytes')
      }
      await turnEnds()
      for (const socket of all) expect(socket.writes.flat()).toEqual(said.get(socket))
    }),
  )
})

test('whatever is said in whichever turns reaches every member of a room, once and in order', async () => {
  const says: ((text: string) => Promise<void>)[] = []
  const member: WebsocketApplication = async (_scope, receive, send) => {
    await receive()
    await send({ type: 'websocket.accept' })
    says.push((text) => send({ type: 'websocket.send', text }))
    await receive()
  }
  await using server = await serveWebsocket(member)
  let [heard, unfinished] = [[] as string[][], 0]
  let over = Promise.withResolvers<void>()
  const sockets = Array.from({ length: 150 }, (_, index) =>
    new WebSocket(server.url).on('message', (data) => {
      const text = String(data)
      if (text === 'end' && --unfinished === 0) over.resolve()
      heard[index]?.push(text)
    }),
  )
  await Promise.all(sockets.map((socket) => once(socket, 'open')))
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 6 }), async (turns) => {
      heard = sockets.map(() => [])
      unfinished = sockets.length
      over = Promise.withResolvers()
      const said: string[] = []
      const tell = (text: string) => {
        said.push(text)
        for (const say of says) void say(text)
      }
      for (const [turn, messages] of turns.entries()) {
        for (let message = 0; message < messages; message++) tell(`${turn} ${message}`)
        await turnEnds()
      }
      tell('end')
      await over.promise
      for (const texts of heard) expect(texts).toEqual(said)
    }),
    { numRuns: 20 },
  )
  for (const socket of sockets) socket.terminate()
})

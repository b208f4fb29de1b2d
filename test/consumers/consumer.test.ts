/** The base of every consumer, driven in process. */
import { expect, test } from '@jest/globals'
import type { Application, BaseScope, Event, Protocol } from '../../src/asgi/protocol.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import { scopeOf } from '../support/scopes.ts'

interface Said extends Event {
  readonly text?: string
}
interface TestProtocol extends Protocol {
  readonly scope: BaseScope
  readonly receive: Said
  readonly send: Said
}
const scope = scopeOf('test', { params: { room: 'kitchen' } })

abstract class TestConsumer extends Consumer<TestProtocol> {
  protected readonly lastEvent = 'test.disconnect'
  protected override disconnectEvent(): Said {
    return { type: 'test.disconnect', text: 'torn down' }
  }
}
class Echo extends TestConsumer {
  override readonly groups = (from: BaseScope) => [`room.${from.params['room']}`]
  #count = 0
  async 'test.say'(event: Said) {
    this.#count++
    await this.send({ type: 'test.answer', text: `${this.#count} ${event.text}` })
  }
  async 'chat.message'(message: Said) {
    await this.send({ type: 'test.answer', text: `group ${message.text}` })
  }
  async 'test.fail'() {
    throw new Error('boom')
  }
  async 'test.disconnect'(event: Said) {
    await this.groupSend('last-words', { type: 'chat.message', text: event.text ?? 'bye' })
  }
}

function start(consumer: typeof Echo = Echo) {
  const layer = new MemoryLayer()
  const words: Event[] = []
  const listening = layer.groupAdd(
    'last-words',
    layer.newChannel({ deliverMessage: (message) => words.push(message) > 0 }),
  )
  const communicator = new ApplicationCommunicator<TestProtocol>(consumer.asApplication(), scope, { layer })
  return { layer, communicator, words, listening }
}

test("each event reaches the method of its name, with the consumer's own state, until the last one", async () => {
  const { communicator, words } = start()
  await communicator.sendInput({ type: 'test.say', text: 'a' })
  void communicator.sendInput({ type: 'test.say', text: 'b' })
  expect(await communicator.receiveOutput()).toEqual({ type: 'test.answer', text: '1 a' })
  expect(await communicator.receiveOutput()).toEqual({ type: 'test.answer', text: '2 b' })
  await communicator.sendInput({ type: 'test.disconnect' })
  await expect(communicator.wait()).resolves.toEqual({ kind: 'finished' })
  expect(words).toMatchObject([{ text: 'bye' }])
})

test('two scopes share nothing', async () => {
  const [first, second] = [start(), start()]
  await first.communicator.sendInput({ type: 'test.say', text: 'a' })
  await second.communicator.sendInput({ type: 'test.say', text: 'b' })
  expect(await second.communicator.receiveOutput()).toMatchObject({ text: '1 b' })
})

test('groups computed from the scope are joined before the first event is handled, and left at the end', async () => {
  const { communicator, layer } = start()
  await communicator.sendInput({ type: 'test.say', text: 'a' })
  await communicator.receiveOutput()
  await layer.groupSend('room.kitchen', { type: 'chat.message', text: 'hi' } as Event)
  expect(await communicator.receiveOutput()).toEqual({ type: 'test.answer', text: 'group hi' })
  await communicator.sendInput({ type: 'test.disconnect' })
  await communicator.wait()
  expect(await layer.groupMembers('room.kitchen')).toEqual([])
})

test('when a handler raises, the disconnect handler runs, the groups are left, and the error goes on', async () => {
  const { communicator, layer, words } = start()
  await expect(communicator.sendInput({ type: 'test.fail' })).rejects.toThrow('boom')
  await expect(communicator.wait()).resolves.toMatchObject({ kind: 'raised', error: { message: 'boom' } })
  expect(words).toMatchObject([{ text: 'torn down' }])
  expect(await layer.groupMembers('room.kitchen')).toEqual([])
})

test('a disconnect handler that raises too does not hide the first error', async () => {
  class Twice extends Echo {
    override async 'test.disconnect'() {
      throw new Error('again')
    }
  }
  const { communicator } = start(Twice)
  await expect(communicator.sendInput({ type: 'test.fail' })).rejects.toThrow('boom')
})

test.each(['test.unknown', 'chat.unknown', 'constructor', '__proto__', 'groups'])(
  'the type %s reaches nothing and harms nobody',
  async (type) => {
    const { communicator, layer } = start()
    await communicator.sendInput({ type })
    await layer.groupSend('room.kitchen', { type: type.includes('.') ? `x.${type}` : 'x.unknown' })
    await communicator.sendInput({ type: 'test.say', text: 'still here' })
    expect(await communicator.receiveOutput()).toMatchObject({ text: '1 still here' })
  },
)

test('a communicator that waited in vain has not harmed the application, and receiveNothing loses nothing', async () => {
  const { communicator } = start()
  await expect(communicator.receiveOutput(5)).rejects.toMatchObject({ code: 'timed_out' })
  expect(await communicator.receiveNothing(5)).toBe(true)
  await communicator.sendInput({ type: 'test.say', text: 'a' })
  expect(await communicator.receiveNothing(5)).toBe(false)
  expect(communicator.pending).toBe(1)
  expect(await communicator.receiveOutput()).toMatchObject({ text: '1 a' })
})

test('a consumer has no scope before it runs', () => {
  expect(() => new Echo().scope).toThrow('not in its constructor')
})

test.each([
  ['directly', (application: Application<TestProtocol>) => application],
  [
    'behind a middleware that sees every event',
    (application: Application<TestProtocol>): Application<TestProtocol> =>
      (from, receive, send, context) =>
        application(from, () => receive(), send, context),
  ],
])('a consumer that names no last event ends with its scope, which is no error: %s', async (_, around) => {
  class Endless extends Consumer<TestProtocol> {
    // As in JavaScript, where nothing asks for it.
    protected override readonly lastEvent = undefined as unknown as string
    async 'test.say'({ text }: Said) {
      if (text === 'over') throw new SignalboxError('scope_ended', 'that of somebody else')
      await this.send({ type: 'test.answer', text: `${text}` })
    }
  }
  const open = () =>
    new ApplicationCommunicator<TestProtocol>(around(Endless.asApplication()), scope, { layer: new MemoryLayer() })
  const polite = open()
  await polite.sendInput({ type: 'test.say', text: 'a' })
  polite.connection.disconnect({ type: 'test.disconnect' })
  expect(await polite.wait()).toEqual({ kind: 'finished' })
  const brief = open()
  await brief.sendInput({ type: 'test.say', text: 'b' }, { last: true })
  expect(await brief.wait()).toEqual({ kind: 'finished' })
  const failing = open()
  await expect(failing.sendInput({ type: 'test.say', text: 'over' })).rejects.toThrow('that of somebody else')
  expect(await failing.wait()).toMatchObject({ kind: 'raised', error: { code: 'scope_ended' } })
})

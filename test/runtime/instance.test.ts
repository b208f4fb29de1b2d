/** One application call for one scope: its events, its end, its channel. */
import { expect, test } from '@jest/globals'
import type { Outcome, Progress, Transport } from '../../src/asgi/adapter.ts'
import type { Log } from '../../src/asgi/context.ts'
import type { Application, Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import { Instance } from '../../src/runtime/instance.ts'
import { defaultMailboxLimits } from '../../src/runtime/instance-options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { settled } from '../../src/runtime/settled.ts'
import { scopeOf } from '../support/scopes.ts'
import type { Numbered, TestProtocol } from './test-protocol.ts'

type Setup = Partial<{ closeTimeout: number; events: number; bytes: number; layer: MemoryLayer; log: Log }>

const scope = scopeOf('test', { route: 'a.yaml:3' })

function open(
  application: Application<TestProtocol>,
  { closeTimeout = 5000, log = silentLog, layer = new MemoryLayer(), ...limits }: Setup = {},
) {
  const sent: Numbered[] = []
  const state = { progress: 'none' as Progress, resumed: 0, closed: 0 }
  const ended = Promise.withResolvers<Outcome>()
  const transport: Transport<TestProtocol> = {
    get progress() {
      return state.progress
    },
    send(event) {
      if (event.type === 'test.wrong') throw new Error('not now')
      sent.push(event)
    },
    end: ended.resolve,
    resume: () => void state.resumed++,
  }
  const options = {
    layer,
    log,
    closeTimeout,
    limits: { ...defaultMailboxLimits, ...limits },
    onEnd: () => void state.closed++,
  }
  const instance = new Instance<TestProtocol>(application, scope, transport, options)
  return { instance, layer, sent, state, ended: ended.promise }
}

const event = (number: number): Numbered => ({ type: 'test.event', number })
const gate = () => Promise.withResolvers<void>()

test('events arrive in order, each handled when the next one is asked for', async () => {
  const story: string[] = []
  const { instance, ended } = open(async (_scope, receive) => {
    for (let count = 0; count < 3; count++) story.push(`took ${(await receive()).number}`)
  })
  for (const number of [1, 2, 3])
    instance.deliver(event(number), { handled: (error) => story.push(`handled ${number} ${String(error)}`) })
  await ended
  expect(story).toEqual([
    'took 1',
    'handled 1 undefined',
    'took 2',
    'handled 2 undefined',
    'took 3',
    'handled 3 undefined',
  ])
})

test.each([
  ['none', 'unanswered'],
  ['started', 'unfinished'],
  ['finished', 'finished'],
] as const)('an application that returns with its answer at %s ends as %s', async (progress, kind) => {
  const { state, ended } = open(async () => void (state.progress = progress))
  await expect(ended).resolves.toEqual({ kind })
})

test('an application that has nothing left to do when it is called ends like any other, and its events are handled', async () => {
  const { instance, ended, state } = open(() => {
    state.progress = 'finished'
    return settled
  })
  const handled = Promise.withResolvers<unknown>()
  instance.deliver(event(1), { handled: handled.resolve })
  await expect(ended).resolves.toEqual({ kind: 'finished' })
  await expect(handled.promise).resolves.toMatchObject({ code: 'scope_ended' })
  await instance.completed
  expect([instance.ended, state.closed]).toEqual([true, 1])
})

test('what an application raises goes to the transport and no further', async () => {
  const error = new Error('boom')
  const { instance, ended, state } = open(async () => {
    throw error
  })
  await expect(ended).resolves.toEqual({ kind: 'raised', error, progress: 'none' })
  await instance.completed
  expect(instance.ended).toBe(true)
  expect(state.closed).toBe(1)
})

test('an application that is no async function and throws at once is contained too', async () => {
  const { ended } = open(() => {
    throw new Error('at once')
  })
  await expect(ended).resolves.toMatchObject({ kind: 'raised' })
})

test('an event that the application raised on is settled with its error, those behind it as never taken', async () => {
  const settled: unknown[] = []
  const { instance, ended } = open(async (_scope, receive) => {
    await receive()
    throw new Error('boom')
  })
  for (const number of [1, 2]) instance.deliver(event(number), { handled: (error) => settled.push(error) })
  await ended
  expect(settled).toMatchObject([{ message: 'boom' }, { code: 'scope_ended' }])
})

test('an event delivered after the end is settled as never taken', async () => {
  const { instance, ended } = open(async () => undefined)
  await ended
  const late = Promise.withResolvers<unknown>()
  instance.deliver(event(1), { handled: late.resolve })
  await expect(late.promise).resolves.toMatchObject({ code: 'scope_ended' })
})

test('after the last event receive() throws scope_ended, also in an endless loop', async () => {
  const { instance, ended } = open(async (_scope, receive) => {
    for (;;) await receive()
  })
  const handled = Promise.withResolvers<unknown>()
  instance.deliver(event(1), { last: true, handled: handled.resolve })
  await expect(handled.promise).resolves.toBeUndefined()
  await expect(ended).resolves.toMatchObject({ kind: 'raised', error: { code: 'scope_ended' } })
})

test('after all that its peer had to say, an application with a channel gets the messages of its groups', async () => {
  const got: string[] = []
  const { instance, layer, ended } = open(async (_scope, receive, _send, context) => {
    await context.layer.groupAdd('answers', context.channel)
    for (;;) got.push((await receive()).type)
  })
  const handled = Promise.withResolvers<unknown>()
  instance.deliver(event(1), { last: 'of the peer', handled: handled.resolve })
  // It asks for what comes next: so the event is handled.
  await expect(handled.promise).resolves.toBeUndefined()
  await expect(layer.groupSend('answers', { type: 'desk.answer' })).resolves.toEqual({ delivered: 1, dropped: 0 })
  const closing = new Error('closing')
  instance.abort(closing)
  await expect(ended).resolves.toMatchObject({ kind: 'raised', error: closing })
  expect(got).toEqual(['test.event', 'desk.answer'])
  expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

test('a disconnect aborts the signal while a slow handler runs, and the last event comes after those before it', async () => {
  const taken: unknown[] = []
  const started = gate()
  const { instance, ended } = open(async (_scope, receive, _send, context) => {
    taken.push((await receive()).number)
    started.resolve()
    await new Promise((resolve) => context.signal.addEventListener('abort', resolve))
    taken.push((await receive()).number, (await receive()).type)
  })
  instance.deliver(event(1))
  await started.promise
  instance.deliver(event(2))
  instance.disconnect({ type: 'test.disconnect' })
  await ended
  expect(taken).toEqual([1, 2, 'test.disconnect'])
})

test('a signal that is first read after the disconnect is aborted', async () => {
  const gone = gate()
  const { instance, ended } = open(async (_scope, _receive, _send, context) => {
    await gone.promise
    context.signal.throwIfAborted()
  })
  instance.disconnect()
  gone.resolve()
  await expect(ended).resolves.toMatchObject({ kind: 'raised', error: { code: 'disconnected' } })
})

test('sending to a peer that is gone does nothing, and a wrong event before that is an error to the application', async () => {
  const gone = gate()
  const seen: unknown[] = []
  const { instance, ended, sent } = open(async (_scope, _receive, send) => {
    await send(event(1))
    await send({ type: 'test.wrong' }).catch((error: unknown) => seen.push(error))
    await gone.promise
    await send({ type: 'test.wrong' })
  })
  await new Promise(setImmediate)
  instance.disconnect()
  gone.resolve()
  await expect(ended).resolves.toMatchObject({ kind: 'unanswered' })
  expect(sent).toEqual([event(1)])
  expect(seen).toMatchObject([{ message: 'not now' }])
})

test('an application that goes on after closeTimeout is abandoned and named in the log', async () => {
  const lines: string[] = []
  const log: Log = Object.assign(Object.create(silentLog), {
    child: () => log,
    warn: (_: object, line: string) => lines.push(line),
  })
  const forever = gate()
  const { instance, ended, layer } = open(
    async (_scope, _receive, _send, context) => {
      await context.layer.groupAdd('g', context.channel)
      await forever.promise
    },
    { closeTimeout: 10, log },
  )
  const settled = Promise.withResolvers<unknown>()
  instance.deliver(event(1), { handled: settled.resolve })
  instance.disconnect()
  await expect(ended).resolves.toEqual({ kind: 'abandoned' })
  await expect(settled.promise).resolves.toMatchObject({ code: 'scope_ended' })
  expect(lines[0]).toContain('test scope s1 (a.yaml:3) did not end within 10 ms')
  expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
  forever.resolve()
  await new Promise(setImmediate)
  expect(lines[1]).toContain('has ended after all')
})

test('a full mailbox says stop, and resume comes once when half of it is taken', async () => {
  const go = gate()
  const { instance, ended, state } = open(
    async (_scope, receive) => {
      await go.promise
      for (let count = 0; count < 5; count++) await receive()
    },
    { events: 4 },
  )
  expect([1, 2, 3, 4, 5].map((number) => instance.deliver(event(number)))).toEqual([true, true, true, false, false])
  go.resolve()
  await ended
  expect(state.resumed).toBe(1)
})

test('a mailbox is full by bytes too', () => {
  const { instance } = open(async (_scope, receive) => void (await receive()), { bytes: 100 })
  expect(instance.deliver(event(1), { bytes: 60 })).toBe(true)
  expect(instance.deliver(event(2), { bytes: 60 })).toBe(false)
})

test('messages to its channel come through receive(), beyond the capacity of the channel they are dropped and counted, and the channel dies with the scope', async () => {
  const taken: Event[] = []
  const joined = gate()
  const go = gate()
  const { ended, layer } = open(
    async (_scope, receive, _send, context) => {
      await context.layer.groupAdd('g', context.channel)
      joined.resolve()
      await go.promise
      for (let count = 0; count < 2; count++) taken.push(await receive())
      throw new Error('raised in a group')
    },
    { layer: new MemoryLayer({ capacity: { default: 1, patterns: [{ channel: 'local.*!*', capacity: 2 }] } }) },
  )
  await joined.promise
  for (const number of [1, 2, 3]) {
    const result = await layer.groupSend('g', { type: 'chat.message', number } as Event)
    expect(result).toEqual(number < 3 ? { delivered: 1, dropped: 0 } : { delivered: 0, dropped: 1 })
  }
  go.resolve()
  await ended
  expect(taken).toMatchObject([{ number: 1 }, { number: 2 }])
  expect(layer.stats()).toEqual({ channels: 0, groups: 0, dropped: { full: 1 } })
})

test('nobody but the peer can send an event of the protocol: such a message is dropped', async () => {
  const joined = gate()
  const { layer, instance } = open(async (_scope, receive, _send, context) => {
    await context.layer.groupAdd('g', context.channel)
    joined.resolve()
    await receive()
  })
  await joined.promise
  await expect(layer.groupSend('g', { type: 'test.disconnect' })).resolves.toEqual({ delivered: 0, dropped: 1 })
  expect(instance.ended).toBe(false)
})

test('a transport that fails at the end harms nobody', async () => {
  const transport: Transport<TestProtocol> = {
    progress: 'none',
    send: () => undefined,
    end() {
      throw new Error('in the adapter')
    },
  }
  const options = { layer: new MemoryLayer(), log: silentLog, closeTimeout: 10, limits: defaultMailboxLimits }
  const instance = new Instance<TestProtocol>(async () => undefined, scope, transport, options)
  await expect(instance.completed).resolves.toBeUndefined()
})

test('two receives that wait at once get two events, and both are handled', async () => {
  const settled: number[] = []
  const { instance, ended } = open(async (_scope, receive) => {
    const both = await Promise.all([receive(), receive()])
    expect(both).toEqual([event(1), event(2)])
  })
  await new Promise(setImmediate)
  for (const number of [1, 2]) instance.deliver(event(number), { handled: () => settled.push(number) })
  await expect(ended).resolves.toMatchObject({ kind: 'unanswered' })
  expect(settled).toEqual([1, 2])
})

test.each([
  [true, []],
  [false, ['the application raised']],
])('what its adapter has told to whoever logs it (%s) has no second line', async (isReported, lines) => {
  const logged: string[] = []
  const log: Log = Object.assign(Object.create(silentLog), {
    child: () => log,
    error: (_: object, line: string) => logged.push(line),
  })
  const transport = {
    progress: 'finished' as const,
    isReported: false,
    send: () => undefined,
    end: () => void (transport.isReported = isReported),
  }
  const options = { layer: new MemoryLayer(), log, closeTimeout: 10, limits: defaultMailboxLimits }
  const failing = () => Promise.reject(new Error('boom'))
  await new Instance<TestProtocol>(failing, scope, transport, options).completed
  expect(logged).toEqual(lines)
})

test.each([
  ['timed_out', ['the application raised']],
  ['closing', []],
] as const)(
  'what an application throws because it was told to stop (%s) is logged when it was too slow',
  async (code, lines) => {
    const logged: string[] = []
    const log: Log = Object.assign(Object.create(silentLog), {
      child: () => log,
      error: (_: object, line: string) => logged.push(line),
    })
    const { instance, ended } = open(
      (_scope, _receive, _send, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      { log },
    )
    await new Promise(setImmediate)
    instance.abort(new SignalboxError(code, 'stop'))
    await expect(ended).resolves.toMatchObject({ kind: 'raised' })
    expect(logged).toEqual(lines)
  },
)

test.each([null, undefined])('sending %j, which is no event, is refused in words', async (given) => {
  const { ended } = open(async (_scope, _receive, send) => send(given as never))
  const outcome = await ended
  expect(outcome).toMatchObject({ kind: 'raised', error: { code: 'unexpected_event' } })
  expect(outcome.kind === 'raised' && reason(outcome.error)).toContain(
    `an event, an object with a type, found ${given}`,
  )
})

/** An application when its gateway drains: who only waits for the messages of its groups ends, what is in hand is finished. */
import { describe, expect, test } from '@jest/globals'
import type { Outcome } from '../../src/asgi/adapter.ts'
import type { Log } from '../../src/asgi/context.ts'
import type { Application, Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { Instance } from '../../src/runtime/instance.ts'
import { defaultMailboxLimits } from '../../src/runtime/instance-options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { handleEvents } from '../../src/runtime/shortcuts.ts'
import { scopeOf } from '../support/scopes.ts'
import type { Numbered, TestProtocol } from './test-protocol.ts'

type Handle = (event: Event) => unknown

/** Both ways to get events: by asking, and by being called. */
const waysToWait: readonly (readonly [string, (handle: Handle) => Application<TestProtocol>])[] = [
  [
    'asks for events',
    (handle) => async (_scope, receive, _send, context) => {
      await context.layer.groupAdd('answers', context.channel)
      for (;;) await handle(await receive())
    },
  ],
  [
    'is called with events',
    (handle) => async (_scope, receive, _send, context) => {
      await context.layer.groupAdd('answers', context.channel)
      await handleEvents(receive, context, { isLast: () => false, handle, failed: async () => undefined }, undefined)
    },
  ],
]

const closing = new SignalboxError('closing', 'the gateway is closing')
const event = (number: number): Numbered => ({ type: 'test.event', number })
const gate = () => Promise.withResolvers<void>()

function open(application: Application<TestProtocol>) {
  const layer = new MemoryLayer()
  const ended = Promise.withResolvers<Outcome>()
  const errors: string[] = []
  const log: Log = Object.assign(Object.create(silentLog), {
    child: () => log,
    error: (_: object, line: string) => errors.push(line),
  })
  const draining = new AbortController()
  const transport = { progress: 'finished' as const, send: () => undefined, end: ended.resolve }
  const limits = defaultMailboxLimits
  const options = { layer, log, closeTimeout: 5000, limits, drain: draining.signal }
  const instance = new Instance<TestProtocol>(application, scopeOf('test'), transport, options)
  const drain = () => {
    draining.abort(closing)
    instance.drain()
  }
  return { instance, layer, drain, errors, ended: ended.promise }
}

describe.each(waysToWait)('an application that %s, when its gateway drains,', (_, application) => {
  test('ends when it only waits for messages', async () => {
    const handled = gate()
    const { instance, drain, ended, errors, layer } = open(application(() => undefined))
    instance.deliver(event(1), { last: 'of the peer', handled: () => handled.resolve() })
    await handled.promise
    drain()
    await expect(ended).resolves.toMatchObject({ kind: 'raised', error: closing })
    expect(errors).toEqual([])
    expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
  })

  test.each([
    ['an event', ['test.event']],
    ['a message', ['test.event', 'desk.answer']],
  ])('finishes %s that is in its hands, and ends then', async (_what, types) => {
    const story: string[] = []
    const [taken, handled, go] = [gate(), gate(), gate()]
    const { instance, drain, ended, errors, layer } = open(
      application(async ({ type }) => {
        if (type === types.at(-1)) {
          taken.resolve()
          await go.promise
        }
        story.push(type)
      }),
    )
    instance.deliver(event(1), { last: 'of the peer', handled: () => handled.resolve() })
    if (types.length > 1) {
      await handled.promise
      await layer.groupSend('answers', { type: 'desk.answer' })
    }
    await taken.promise
    drain()
    // That comes too late: there may be no end of them.
    await layer.groupSend('answers', { type: 'desk.late' })
    expect(story).toEqual(types.slice(0, -1))
    go.resolve()
    await expect(ended).resolves.toMatchObject({ kind: 'raised', error: closing })
    expect(story).toEqual(types)
    // It has done nothing wrong.
    expect(errors).toEqual([])
  })

  test('goes on while its peer may say more', async () => {
    const [first, second] = [gate(), gate()]
    const { instance, drain, ended } = open(application(() => undefined))
    instance.deliver(event(1), { handled: () => first.resolve() })
    await first.promise
    drain()
    instance.deliver(event(2), { handled: () => second.resolve() })
    await second.promise
    expect(instance.ended).toBe(false)
    instance.disconnect({ type: 'test.disconnect' })
    await ended
  })
})

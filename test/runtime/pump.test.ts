/** Events handled as they come: the same as a loop around `receive`, whichever of both it is. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Outcome, Transport } from '../../src/asgi/adapter.ts'
import type { Application } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { Instance } from '../../src/runtime/instance.ts'
import { defaultMailboxLimits } from '../../src/runtime/instance-options.ts'
import { handleEvents } from '../../src/runtime/shortcuts.ts'
import { silentLog } from '../../src/runtime/log.ts'
import type { EventHandler } from '../../src/runtime/pump.ts'
import { settled } from '../../src/runtime/settled.ts'
import { scopeOf } from '../support/scopes.ts'
import type { Numbered, TestProtocol } from './test-protocol.ts'

const scope = scopeOf('test')
const layer = new MemoryLayer()

function open(application: Application<TestProtocol>, closeTimeout = 5000) {
  const ended = Promise.withResolvers<Outcome>()
  const transport: Transport<TestProtocol> = { progress: 'none', send: () => undefined, end: ended.resolve }
  const options = { layer, log: silentLog, closeTimeout, limits: defaultMailboxLimits }
  return { instance: new Instance<TestProtocol>(application, scope, transport, options), ended: ended.promise }
}

type How = 'directly' | 'in a loop'

/** Somebody who wraps `receive` sees every event: then it is a loop. */
const handling =
  (how: How, handler: EventHandler<Numbered>): Application<TestProtocol> =>
  (_scope, receive, _send, context) =>
    handleEvents(how === 'directly' ? receive : () => receive(), context, handler, undefined)

function recorder(handle: (event: Numbered) => unknown) {
  const log: string[] = []
  const handler: EventHandler<Numbered> = {
    isLast: ({ type }) => type === 'test.end',
    handle: (event) => {
      log.push(`${event.type} ${event.number ?? ''}`)
      return handle(event)
    },
    failed: async (error) => {
      await turn()
      log.push(`failed: ${String(error)}`)
    },
  }
  return { log, handler }
}

/** What a handler may do with its event. */
const behaviours = {
  nothing: () => undefined,
  settled: () => settled,
  soon: async () => undefined,
  later: async () => void (await turn()),
  raises: () => {
    throw new Error('at once')
  },
  rejects: async () => {
    await turn()
    throw new Error('later')
  },
}
type Behaviour = keyof typeof behaviours
const quiet = fc.constantFrom<Behaviour>('nothing', 'settled', 'soon', 'later')
const any = fc.oneof(
  { weight: 8, arbitrary: quiet },
  { weight: 1, arbitrary: fc.constantFrom<Behaviour>('raises', 'rejects') },
)

test('whatever its handlers do and however its events come, a scope goes as it does in a loop', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ behaviour: any, pause: fc.boolean() }), { maxLength: 20 }), async (steps) => {
      const runs = (['directly', 'in a loop'] as const).map(async (how) => {
        const { log, handler } = recorder(({ number = 0 }) => behaviours[steps[number]?.behaviour ?? 'nothing']())
        const { instance, ended } = open(handling(how, handler))
        const handled: string[] = []
        for (const [number, { pause }] of steps.entries()) {
          const told = (error?: unknown) => handled.push(`${number} ${String(error)}`)
          instance.deliver({ type: 'test.event', number }, { handled: told })
          if (pause) await turn()
        }
        instance.disconnect({ type: 'test.end', number: steps.length })
        return { outcome: await ended, log, handled }
      })
      const [directly, loop] = await Promise.all(runs)
      expect(directly).toEqual(loop)
    }),
  )
})

test.each(['nothing', 'settled', 'soon', 'later', 'raises', 'rejects'] as const)(
  'an only event that is there before the application is handled as in a loop: %s',
  async (behaviour) => {
    const store = new AsyncLocalStorage<string>()
    const runs = (['directly', 'in a loop'] as const).map(async (how) => {
      const told: string[] = []
      const { log, handler } = recorder(() => {
        told.push(String(store.getStore()))
        return behaviours[behaviour]()
      })
      const application = handling(how, handler)
      const { instance, ended } = open((...call) => store.run('of the application', () => application(...call)))
      instance.deliver({ type: 'test.end' }, { last: true, handled: (error) => told.push(String(error)) })
      return { outcome: await ended, log, told }
    })
    const [directly, loop] = await Promise.all(runs)
    expect(directly).toEqual(loop)
    expect(directly?.log).toEqual(['test.end '])
    expect(directly?.told[0]).toBe('of the application')
    expect(directly?.told).toHaveLength(2)
  },
)

test.each<How>(['directly', 'in a loop'])('handled %s: one event at a time, and its own context', async (how) => {
  const store = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  let inside = 0
  const { handler } = recorder(async () => {
    expect(++inside).toBe(1)
    seen.push(store.getStore())
    await turn()
    seen.push(store.getStore())
    inside--
  })
  const application = handling(how, handler)
  const { instance, ended } = open((...call) => store.run('of the application', () => application(...call)))
  await turn()
  store.run('of the sender', () => {
    instance.deliver({ type: 'test.event' })
    instance.deliver({ type: 'test.event' })
  })
  await turn()
  instance.disconnect({ type: 'test.end' })
  await expect(ended).resolves.toMatchObject({ kind: 'unanswered' })
  expect(seen).toEqual(Array.from({ length: 6 }, () => 'of the application'))
})

test.each<How>(['directly', 'in a loop'])(
  'handled %s: an abandoned scope is told that nothing follows',
  async (how) => {
    const { log, handler } = recorder(() => undefined)
    const { instance, ended } = open(handling(how, handler), 20)
    instance.deliver({ type: 'test.event', number: 1 })
    instance.disconnect()
    await expect(ended).resolves.toEqual({ kind: 'abandoned' })
    while (log.length < 2) await turn()
    expect(log).toEqual(['test.event 1', expect.stringContaining('is over: there is no further event')])
  },
)

test('handlers that follow each other in one scope get its events in order, and it ends with the last of them', async () => {
  const { log, handler } = recorder(() => undefined)
  const first: EventHandler<Numbered> = { ...handler, isLast: ({ number }) => number === 2 }
  const { instance, ended } = open(async (_scope, receive, _send, context) => {
    await handleEvents(receive, context, first, undefined)
    log.push('the next handler')
    await handleEvents(receive, context, handler, undefined)
  })
  for (const number of [1, 2, 3, 4]) {
    instance.deliver({ type: 'test.event', number })
    // Some wait for their handler, and some find it waiting.
    if (number % 2 === 0) await turn()
  }
  instance.disconnect({ type: 'test.end' })
  expect(await ended).toEqual({ kind: 'unanswered' })
  expect(log).toEqual(['test.event 1', 'test.event 2', 'the next handler', 'test.event 3', 'test.event 4', 'test.end '])
})

test('a hundred scopes that have something in one turn are each given their own, in that order, whatever the others do', async () => {
  const log: string[] = []
  const outcomes: Promise<Outcome>[] = []
  const instances = Array.from({ length: 100 }, (_, scopeNumber) => {
    const { handler } = recorder(({ type, number = 0 }) => {
      log.push(`${scopeNumber} ${type} ${number}`)
      if (type === 'test.end') return
      // One ends another that comes later in the turn, and one raises: nobody else notices.
      if (scopeNumber === 20) instances[60]?.disconnect({ type: 'test.end', number: 60 })
      if (scopeNumber === 40) throw new Error('only this one')
    })
    const { instance, ended } = open(handling('directly', handler))
    outcomes.push(ended)
    return instance
  })
  await turn()
  for (const [number, instance] of instances.entries()) instance.deliver({ type: 'test.event', number })
  await turn()
  for (const [number, instance] of instances.entries()) instance.disconnect({ type: 'test.end', number })
  const kinds = (await Promise.all(outcomes)).map(({ kind }) => kind)
  expect(kinds).toEqual(instances.map((_, number) => (number === 40 ? 'raised' : 'unanswered')))
  const events = log.filter((line) => line.includes('test.event'))
  expect(events).toEqual(instances.map((_, number) => `${number} test.event ${number}`))
  for (const number of instances.keys()) if (number !== 40) expect(log).toContain(`${number} test.end ${number}`)
})

test('what scopes of one turn will need is looked at in lots, before the first of a lot has its turn', async () => {
  const log: string[] = []
  const toucher: EventHandler<Numbered, number> = {
    isLast: ({ type }) => type === 'test.end',
    handle: (_event, scopeNumber) => void log.push(`${scopeNumber}`),
    failed: async () => undefined,
    touch: (all) => log.push(`touched ${all.join(' ')}`),
  }
  const plain: EventHandler<Numbered, number> = { ...toucher, touch: () => 0 }
  const scopes = Array.from({ length: 40 }, (_, scopeNumber) =>
    open((_scope, receive, _send, context) =>
      handleEvents(receive, context, scopeNumber % 3 === 1 ? plain : toucher, scopeNumber),
    ),
  )
  await turn()
  for (const { instance } of scopes) instance.deliver({ type: 'test.event' })
  await turn()
  const all = [...scopes.keys()]
  const touched = (some: readonly number[]) => `touched ${some.filter((number) => number % 3 !== 1).join(' ')}`
  const [first, second] = [all.slice(0, 32), all.slice(32)]
  expect(log).toEqual([touched(first), ...first.map(String), touched(second), ...second.map(String)])
  for (const { instance } of scopes) instance.disconnect({ type: 'test.end' })
  await Promise.all(scopes.map(({ ended }) => ended))
})

test('messages that consumers send each other without an end do not keep the others from their turn', async () => {
  let balls = 0
  const open2 = (channels: string[], next: () => string | undefined) =>
    open((_scope, receive, _send, context) => {
      channels.push(context.channel)
      const { handler } = recorder(() => {
        balls++
        const to = next()
        if (to !== undefined && balls < 5000) void layer.send(to, { type: 'ball.thrown' })
      })
      return handleEvents(receive, context, handler, undefined)
    })
  const channels: string[] = []
  const players = [open2(channels, () => channels[1]), open2(channels, () => channels[0])]
  let other = 0
  const bystander = open((_scope, receive, _send, context) =>
    handleEvents(receive, context, recorder(() => (other = balls)).handler, undefined),
  )
  await turn()
  players[0]?.instance.deliver({ type: 'test.event' })
  bystander.instance.deliver({ type: 'test.event' })
  await turn()
  expect(balls).toBe(5000)
  expect(other).toBeLessThan(10)
  for (const { instance } of [...players, bystander]) instance.disconnect({ type: 'test.end' })
  await Promise.all([...players, bystander].map(({ ended }) => ended))
})

/** What is counted of a scope's events: nothing is counted twice, and nothing is forgotten. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Transport } from '../../src/asgi/adapter.ts'
import type { Application, Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { Instance } from '../../src/runtime/instance.ts'
import { defaultMailboxLimits } from '../../src/runtime/instance-options.ts'
import { logTo, silentLog } from '../../src/runtime/log.ts'
import { Tallies, timeBounds } from '../../src/runtime/tally.ts'
import { scopeOf } from '../support/scopes.ts'

const scope = scopeOf('toy', { id: 'x-1', client: ['192.0.2.1', 4711] as const })
const transport: Transport = { progress: 'finished', send: () => undefined, end: () => undefined }
const event: Event = { type: 'toy.said' }

function open(application: Application, log = silentLog, logEvents = false) {
  const tallies = new Tallies()
  const instance = new Instance(application, scope, transport, {
    layer: new MemoryLayer(),
    log,
    closeTimeout: 20,
    limits: defaultMailboxLimits,
    accounts: { tallies, logEvents },
  })
  const counted = () =>
    Array.from(tallies, ([protocol, route, { events, handled, failed, interrupted, times }]) => ({
      of: `${protocol} ${route}`,
      counts: [events, handled, failed, interrupted],
      times: times.reduce((sum, count) => sum + count, 0),
    }))
  return { instance, counted }
}

test('an event is handled when the next one is asked for, or when the application returns', async () => {
  const { instance, counted } = open(async (_scope, receive, _send, context) => {
    context.routed?.('gateway.yaml:7')
    await receive()
    await receive()
  })
  for (let index = 0; index < 3; index++) instance.deliver(event)
  await instance.completed
  expect(counted()).toEqual([{ of: 'toy gateway.yaml:7', counts: [3, 3, 0, 0], times: 2 }])
})

test('one that the application raised on has failed, and so has what was behind it', async () => {
  const { instance, counted } = open(async (_scope, receive) => {
    await receive()
    await receive()
    throw new Error('no')
  })
  for (let index = 0; index < 3; index++) instance.deliver(event)
  await instance.completed
  expect(counted()).toEqual([{ of: 'toy ', counts: [3, 1, 2, 0], times: 2 }])
})

test('the last event of a scope that the server has ended itself is not counted, taken or not', async () => {
  for (const taken of [1, 2]) {
    const { instance, counted } = open(async (_scope, receive, _send, { signal }) => {
      for (let count = 0; count < taken; count++) await receive()
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
      throw signal.reason as Error
    })
    instance.deliver(event)
    instance.abort(new SignalboxError('timed_out', 'too slow'))
    instance.disconnect({ type: 'toy.disconnect' })
    await instance.completed
    expect(counted().map(({ counts }) => counts)).toEqual([[1, taken - 1, 2 - taken, 0]])
  }
})

test('one that ended with its peer was interrupted', async () => {
  const { instance, counted } = open(async (_scope, receive, _send, { signal }) => {
    await receive()
    await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  instance.deliver(event)
  setImmediate(() => instance.disconnect())
  await instance.completed
  expect(counted()).toEqual([{ of: 'toy ', counts: [1, 0, 0, 1], times: 1 }])
})

test('one of an abandoned application has failed', async () => {
  const { instance, counted } = open(async (_scope, receive) => {
    await receive()
    await new Promise(() => undefined)
  })
  instance.deliver(event)
  setImmediate(() => instance.disconnect())
  await instance.completed
  expect(counted()).toEqual([{ of: 'toy ', counts: [1, 0, 1, 0], times: 1 }])
})

test('an application that reads nothing has handled it by returning, and its whole call is measured', async () => {
  const { instance, counted } = open(async () => undefined)
  instance.deliver(event)
  await instance.completed
  expect(counted()).toEqual([{ of: 'toy ', counts: [1, 1, 0, 0], times: 1 }])
})

test('the innermost rule is the one that counts', async () => {
  const { instance, counted } = open(async (_scope, receive, _send, context) => {
    context.routed?.('gateway.yaml:3')
    context.routed?.('gateway.yaml:9')
    await receive()
  })
  instance.deliver(event)
  await instance.completed
  expect(counted().map(({ of }) => of)).toEqual(['toy gateway.yaml:9'])
})

test('events = handled + failed + interrupted, whatever happens', async () => {
  const plan = fc.record({ delivered: fc.nat(6), taken: fc.nat(6), end: fc.constantFrom('return', 'raise', 'leave') })
  await fc.assert(
    fc.asyncProperty(plan, async ({ delivered, taken, end }) => {
      const { instance, counted } = open(async (_scope, receive) => {
        for (let index = 0; index < taken; index++) await receive()
        if (end === 'raise') throw new Error('no')
      })
      for (let index = 0; index < delivered; index++) instance.deliver(event)
      instance.disconnect(event)
      await instance.completed
      const [events, ...ends] = counted().flatMap(({ counts }) => counts)
      expect(events).toBe(delivered + 1)
      expect(ends.reduce((sum, count) => sum + count, 0)).toBe(delivered + 1)
    }),
  )
})

test('times fall into the bucket of the first bound that they do not exceed', () => {
  const tally = new Tallies().of('toy', '')
  for (const seconds of [0, 0.001, 0.0011, 60, 61]) tally.took(seconds * 1000)
  expect(timeBounds.map((bound, index) => [bound, tally.times[index]]).filter(([, count]) => count !== 0)).toEqual([
    [0.001, 2],
    [0.0025, 1],
    [60, 1],
  ])
  expect(tally.times.at(-1)).toBe(1)
  expect(tally.seconds).toBeCloseTo(121.0021)
})

test('a hundred times are measured for certain, and of a crowd a sample', () => {
  const { sampler } = new Tallies().of('toy', '')
  const measured = (count: number) => Array.from({ length: count }, () => sampler.start()).filter((start) => start > 0)
  expect(measured(100)).toHaveLength(100)
  const crowd = measured(64_000).length
  expect(crowd).toBeGreaterThanOrEqual(1000)
  expect(crowd).toBeLessThan(16_000)
})

test('rules that somebody makes up without end are one', () => {
  const tallies = new Tallies()
  for (let index = 0; index < 20_000; index++) tallies.of('toy', `made-up-${index}`).events++
  const all = [...tallies]
  expect(all.length).toBeLessThanOrEqual(10_001)
  expect(all.find(([, route]) => route === 'other')?.[2].events).toBe(10_000)
})

describe('the log', () => {
  const logged = async (application: Application, logEvents: boolean) => {
    const lines: Record<string, unknown>[] = []
    const log = logTo(
      { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
      'debug',
    )
    const { instance } = open(application, log, logEvents)
    instance.deliver(event)
    await instance.completed
    return lines
  }

  test('has one line an event that was handled', async () => {
    const application: Application = async (_scope, receive, _send, context) => {
      context.routed?.('gateway.yaml:7')
      await receive()
    }
    expect(await logged(application, true)).toEqual([
      expect.objectContaining({
        level: 20,
        scope: 'x-1',
        protocol: 'toy',
        client: '192.0.2.1',
        route: 'gateway.yaml:7',
        event: 'toy.said',
        ms: expect.any(Number),
        msg: 'an event was handled',
      }),
    ])
    expect(await logged(application, false)).toEqual([])
  })

  test('has one line a failure, with the error', async () => {
    const failing: Application = async (_scope, receive, _send, context) => {
      context.routed?.('gateway.yaml:7')
      await receive()
      throw new Error('no')
    }
    expect(await logged(failing, true)).toEqual([
      expect.objectContaining({
        level: 50,
        scope: 'x-1',
        protocol: 'toy',
        client: '192.0.2.1',
        route: 'gateway.yaml:7',
        event: 'toy.said',
        err: expect.objectContaining({ message: 'no' }),
      }),
    ])
  })
})

/** Named channels served in process: a scope for each message, so many at once, and what happens when the gateway closes. */
import { afterEach, describe, expect, test } from '@jest/globals'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChannelProtocol, ChannelScope } from '../../src/asgi/channel.ts'
import type { Context, Log } from '../../src/asgi/context.ts'
import type { Application, Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { ChannelNameRouter } from '../../src/routing/channel-name-router.ts'
import { protocolTypeRouter } from '../../src/routing/protocol-type-router.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { buryMessage } from '../../src/server/deliveries.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { lettersOf } from '../support/letters.ts'
import { Gateway } from '../../src/server/gateway.ts'
import type { WorkerOptions } from '../../src/server/workers.ts'

const folders: string[] = []
const gateways: Gateway[] = []
const journals: Journal[] = []
afterEach(async () => {
  await Promise.all(gateways.splice(0).map((gateway) => gateway.close()))
  await Promise.all(journals.splice(0).map((journal) => journal.close()))
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })))
})

interface Settings {
  readonly layer?: typeof MemoryLayer
  readonly log?: Log
  readonly workers?: readonly WorkerOptions[]
  readonly drainTimeout?: number
}

async function start(
  application: Application<ChannelProtocol>,
  { layer: Layer = MemoryLayer, log = silentLog, ...settings }: Settings = {},
) {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-'))
  folders.push(folder)
  const journal = await Journal.open({ folder, ...journalOptions.parse({}) }, silentLog)
  journals.push(journal)
  const layer = new Layer({
    retry: { attempts: 2, delay: 1 },
    onDeadLetter: (letter) => buryMessage({ journal, log: silentLog }, letter),
  })
  const options = {
    application: protocolTypeRouter({ channel: ChannelNameRouter([{ channel: 'work', app: application }]) }),
    listen: {},
    http: { address: { host: '127.0.0.1', port: 0 } },
    workers: [{ channel: 'work', concurrency: 1 }],
    base: folder,
    data: folder,
    closeTimeout: 50,
    drainTimeout: 10_000,
    ...settings,
  }
  const gateway = await Gateway.start(options, { definitions: [], layer, log, journal })
  gateways.push(gateway)
  return { gateway, layer, folder, journal }
}

interface Task extends Event {
  readonly number: number
}
const task = (number: number): Task => ({ type: 'task.do', number })

/** Collects what it gets, and ends each task when it is told to. */
function bench() {
  const taken: { readonly scope: ChannelScope; readonly event: Event; readonly context: Context; end: () => void }[] =
    []
  const waiting = new Set<() => void>()
  const application: Application<ChannelProtocol> = async (scope, receive, _send, context) => {
    const event = await receive()
    const { promise, resolve } = Promise.withResolvers<void>()
    taken.push({ scope, event, context, end: resolve })
    for (const wake of waiting) wake()
    await promise
  }
  const until = async (count: number) => {
    while (taken.length < count) await new Promise<void>((resolve) => waiting.add(resolve))
  }
  return { taken, application, until }
}

test('each message has a scope of its own, that names the channel', async () => {
  const { application, taken, until } = bench()
  const { layer, gateway } = await start(application)
  await layer.send('work', task(1))
  await until(1)
  taken[0]?.end()
  await layer.send('work', task(2))
  await until(2)
  expect(taken.map(({ event }) => event)).toEqual([task(1), task(2)])
  expect(taken.map(({ scope }) => scope)).toMatchObject([
    { type: 'channel', channel: 'work', client: null, server: null, route: 'ChannelNameRouter[0]' },
    { channel: 'work' },
  ])
  expect(taken[0]?.scope.id).not.toBe(taken[1]?.scope.id)
  expect(structuredClone(taken[0]?.scope)).toEqual(taken[0]?.scope)
  taken[1]?.end()
  await gateway.close()
  expect(gateway.stats()).toMatchObject({ scopes: 0, channels: 0, failed: 0 })
})

test.each([1, 3])('no more than %i are handled at once', async (concurrency) => {
  const { application, taken, until } = bench()
  const { layer } = await start(application, { workers: [{ channel: 'work', concurrency }] })
  for (let number = 0; number < 9; number++) await layer.send('work', task(number))
  let ended = 0
  while (ended < 9) {
    await until(Math.min(9, ended + concurrency))
    // Whoever would take one too many has had the time to.
    await new Promise(setImmediate)
    expect(taken).toHaveLength(Math.min(9, ended + concurrency))
    taken[ended++]?.end()
  }
  expect(taken.map(({ event }) => event)).toEqual(Array.from({ length: 9 }, (_, number) => task(number)))
})

describe('what the application does with a message', () => {
  /** Until it was called so often. */
  async function story(application: Application<ChannelProtocol>, times = 1) {
    const calls: string[] = []
    const ended = Promise.withResolvers<void>()
    const telling: Application<ChannelProtocol> = async (scope, receive, send, context) => {
      try {
        await application(scope, receive, send, context)
        calls.push('returned')
      } catch (error) {
        calls.push(Error.isError(error) ? error.message : String(error))
        throw error
      } finally {
        if (calls.length === times) ended.resolve()
      }
    }
    const { layer, gateway, folder, journal } = await start(telling)
    await layer.send('work', task(1))
    await ended.promise
    await gateway.close()
    await journal.close()
    return { calls, failed: gateway.stats().failed, folder }
  }

  test('returns: it is done', async () => {
    const { calls, failed } = await story(async (_, receive) => void (await receive()))
    expect({ calls, failed }).toEqual({ calls: ['returned'], failed: 0 })
  })

  test('asks for the next one: it is done, and there is none', async () => {
    const { calls, failed } = await story(async (_, receive) => {
      for (;;) await receive()
    })
    expect({ calls, failed }).toEqual({
      calls: [expect.stringMatching(/^channel scope .* is over: there is no further event$/)],
      failed: 0,
    })
  })

  test('raises: it is tried again, and then kept where a person can see it', async () => {
    const { calls, failed, folder } = await story(async (_, receive) => {
      await receive()
      throw new Error('no ink')
    }, 2)
    expect({ calls, failed }).toEqual({ calls: ['no ink', 'no ink'], failed: 1 })
    expect(await lettersOf(folder)).toMatchObject([
      { error: 'no ink', scope: { type: 'channel', channel: 'work' }, event: task(1) },
    ])
  })

  test('raises: the next one is told which attempt it is', async () => {
    const attempts: (number | undefined)[] = []
    await story(async (scope, receive) => {
      attempts.push(scope.attempt)
      await receive()
      if (attempts.length === 1) throw new Error('not yet')
    }, 2)
    expect(attempts).toEqual([undefined, 2])
  })

  test('raises before it takes it: that error is the one that is told', async () => {
    const { failed, folder } = await story(() => Promise.reject(new Error('no desk')), 2)
    expect(failed).toBe(1)
    expect(await lettersOf(folder)).toMatchObject([{ error: 'no desk' }])
  })

  test('returns without taking it: it was not handled', async () => {
    const { failed, folder } = await story(async () => undefined, 2)
    expect(failed).toBe(1)
    expect(await lettersOf(folder)).toMatchObject([{ error: expect.stringMatching(/^channel scope .* is over/) }])
  })

  test('sends something: there is no peer', async () => {
    const { calls } = await story(async (_, receive, send) => {
      await receive()
      await (send as (event: Event) => Promise<void>)({ type: 'channel.send' })
    }, 2)
    expect(calls[0]).toBe('a channel scope has no peer: it answers through the layer')
  })
})

describe('closing', () => {
  test('takes nothing more, and lets what is in hand finish', async () => {
    const { application, taken, until } = bench()
    const { layer, gateway } = await start(application)
    await layer.send('work', task(1))
    await layer.send('work', task(2))
    await until(1)
    let closed = false
    const closing = gateway.close().then(() => (closed = true))
    await new Promise(setImmediate)
    expect({ closed, aborted: taken[0]?.context.signal.aborted }).toEqual({ closed: false, aborted: false })
    // The layer is still there for what is left to do.
    await taken[0]?.context.layer.send('elsewhere', task(3))
    taken[0]?.end()
    await closing
    expect(taken).toHaveLength(1)
  })

  test('interrupts what has not finished in time, and does not wait for ever', async () => {
    const { application, taken, until } = bench()
    const { layer, gateway } = await start(application, { drainTimeout: 20 })
    await layer.send('work', task(1))
    await until(1)
    await gateway.close()
    expect(taken[0]?.context.signal.reason).toMatchObject({ code: 'closing' })
    expect(gateway.stats()).toMatchObject({ scopes: 0 })
    taken[0]?.end()
  })

  test('does not wait for a layer that cannot note what became of a message', async () => {
    const { application, taken, until } = bench()
    const { layer, gateway } = await start(application, { drainTimeout: 20, layer: ForgetfulLayer })
    await layer.send('work', task(1))
    await until(1)
    taken[0]?.end()
    await gateway.close()
    expect(taken).toHaveLength(1)
  })
})

/** As over a Redis that went away in the wrong moment. */
class ForgetfulLayer extends MemoryLayer {
  override async consume(...given: Parameters<MemoryLayer['consume']>): Promise<void> {
    await super.consume(...given)
    await new Promise(() => undefined)
  }
}

test('a layer that refuses to be consumed is said in the log, and ends nothing', async () => {
  const { application, until } = bench()
  const logged: string[] = []
  const log = { ...silentLog, error: (_: object, message: string) => logged.push(message), child: () => silentLog }
  const workers = ['a!b', 'work'].map((channel) => ({ channel, concurrency: 1 }))
  const { layer } = await start(application, { workers, log: log as unknown as Log, drainTimeout: 20 })
  await layer.send('work', task(1))
  await until(1)
  expect(logged).toEqual(['channel a!b is not served any more'])
})

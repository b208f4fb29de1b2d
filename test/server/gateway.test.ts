/** The gateway around adapters: what is opened, in which order it is closed, and what happens when a part fails. */
import { afterEach, expect, test } from '@jest/globals'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { Adapter, Connection, Outcome, Services } from '../../src/asgi/adapter.ts'
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import type { LifespanProtocol } from '../../src/asgi/lifespan.ts'
import type { Application, BaseScope, Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { protocolTypeRouter } from '../../src/routing/protocol-type-router.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { Gateway } from '../../src/server/gateway.ts'
import { lettersOf } from '../support/letters.ts'
import { scopeOf } from '../support/scopes.ts'

const folders: string[] = []
afterEach(async () => {
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })))
})

/** A protocol without sockets: the test is the peer. */
function pigeonPost(story: string[], fail = false) {
  const post: { services?: Services; open: Connection[] } = { open: [] }
  const adapter: Adapter = {
    async start(options, services) {
      if (fail) throw new Error('no pigeons')
      story.push(`start ${JSON.stringify(options)}`)
      post.services = services
      return {
        urls: ['pigeon://roof'],
        example: { address: 'roof', command: (address) => `coo ${address}` },
        get connections() {
          return post.open.length
        },
        async close() {
          story.push('close')
        },
      }
    },
  }
  const definition: ProtocolDefinition = {
    name: 'pigeon',
    options: z.unknown(),
    routers: [],
    load: async () => ({ adapter }),
    loadClient: () => Promise.reject(new Error('unused')),
    sendUsage: { arguments: [], options: [], example: '' },
    sampleScope: () => ({ type: 'pigeon', client: null, server: null }),
  }
  const fly = (): { connection: Connection; ended: Promise<Outcome> } => {
    const ended = Promise.withResolvers<Outcome>()
    const transport = { progress: 'finished' as const, send: () => undefined, end: ended.resolve }
    const connection = (post.services as Services).open({ type: 'pigeon', client: null, server: null }, transport)
    return { connection, ended: ended.promise }
  }
  return { definition, post, fly }
}

async function start(applications: Record<string, Application>, definitions: ProtocolDefinition[], closeTimeout = 50) {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-'))
  folders.push(folder)
  const options = {
    application: protocolTypeRouter(applications),
    listen: { pigeon: { roof: 1 } },
    http: { address: { host: '127.0.0.1', port: 0 } },
    base: folder,
    data: join(folder, 'data'),
    closeTimeout,
    drainTimeout: 200,
    startTimeout: 50,
  }
  return { folder, gateway: await Gateway.start(options, { definitions, layer: new MemoryLayer(), log: silentLog }) }
}

const lifespan =
  (
    story: string[],
    events: Partial<{ startup: LifespanProtocol['send']; shutdown: LifespanProtocol['send'] }> = {},
  ): Application<LifespanProtocol> =>
  async (_scope, receive, send) => {
    for (const [name, answer] of [
      ['startup', events.startup ?? { type: 'lifespan.startup.complete', state: { roof: 'red' } }],
      ['shutdown', events.shutdown ?? { type: 'lifespan.shutdown.complete' }],
    ] as const) {
      story.push((await receive()).type)
      expect(name).toBeDefined()
      await send(answer)
    }
  }

test('lifespan starts before any listener and shuts down after all of them', async () => {
  const story: string[] = []
  const { definition } = pigeonPost(story)
  const { gateway } = await start({ lifespan: lifespan(story), pigeon: async () => undefined }, [definition])
  expect(gateway.listeners).toMatchObject([{ name: 'pigeon', urls: ['pigeon://roof'], example: { address: 'roof' } }])
  await gateway.close()
  await gateway.close()
  expect(story).toEqual(['lifespan.startup', 'start {"roof":1}', 'close', 'lifespan.shutdown'])
})

test('a scope gets an id of its own, the data folder and what lifespan left', async () => {
  const scopes: BaseScope[] = []
  const { definition, fly } = pigeonPost([])
  const seeing: Application = async (scope) => void scopes.push(scope)
  const { gateway, folder } = await start({ lifespan: lifespan([]), pigeon: seeing }, [definition])
  await Promise.all([fly().ended, fly().ended])
  expect(scopes).toMatchObject([{ state: { data: join(folder, 'data'), roof: 'red' } }, { state: { roof: 'red' } }])
  expect(scopes[0]?.id).not.toBe(scopes[1]?.id)
  expect(structuredClone(scopes[0])).toEqual(scopes[0])
  await gateway.close()
})

test('what was asked about is what is opened, and what is opened again is another scope', async () => {
  const scopes: BaseScope[] = []
  const { definition, post } = pigeonPost([])
  const seeing = Object.assign(async (scope: BaseScope) => void scopes.push(scope), {
    resolve: ({ params }: BaseScope) => ({ rules: [seeing], params }),
  })
  const { gateway } = await start({ pigeon: seeing }, [definition])
  const scope = { type: 'pigeon', client: null, server: null }
  const open = async () => {
    const { promise, resolve } = Promise.withResolvers<Outcome>()
    post.services?.open(scope, { progress: 'finished', send: () => undefined, end: resolve })
    await promise
  }
  expect(post.services?.resolve(scope)?.rules).toEqual([seeing])
  await open()
  await open()
  post.services?.resolve({ ...scope })
  await open()
  expect(new Set(scopes.map(({ id }) => id)).size).toBe(3)
  for (const { id, params, route } of scopes) expect([id === '', params, route]).toEqual([false, {}, ''])
  expect(scope).toEqual({ type: 'pigeon', client: null, server: null })
  await gateway.close()
})

test('an application without lifespan starts too', async () => {
  const { definition } = pigeonPost([])
  const { gateway } = await start({ pigeon: async () => undefined }, [definition])
  await gateway.close()
})

test('a lifespan that fails, raises or says something else keeps the gateway from starting, in words', async () => {
  const { definition } = pigeonPost([])
  const failing = (send: LifespanProtocol['send']) => start({ lifespan: lifespan([], { startup: send }) }, [definition])
  await expect(failing({ type: 'lifespan.startup.failed', message: 'no roof' })).rejects.toMatchObject({
    code: 'lifespan_failed',
    message: 'the lifespan application did not start: no roof',
  })
  await expect(failing({ type: 'lifespan.shutdown.complete' })).rejects.toThrow(
    'expected lifespan.startup.complete or .failed',
  )
  const raising = start({ lifespan: () => Promise.reject(new Error('boom')) }, [definition])
  await expect(raising).rejects.toThrow('did not start: boom')
})

test('a lifespan that never answers keeps the gateway from starting, and later from hanging at its end', async () => {
  const { definition } = pigeonPost([])
  const never: Application = async (_scope, receive) => {
    await receive()
    await new Promise(() => undefined)
  }
  await expect(start({ lifespan: never }, [definition])).rejects.toThrow('it has not answered within 50 ms')
  const stuck: Application<LifespanProtocol> = async (_scope, receive, send) => {
    await receive()
    await send({ type: 'lifespan.startup.complete' })
    await receive()
    await new Promise(() => undefined)
  }
  const { gateway } = await start({ lifespan: stuck }, [definition])
  await expect(gateway.close()).resolves.toBe(false)
})

test('a data folder that cannot be made is named', async () => {
  const { folder } = await start({ pigeon: async () => undefined }, [pigeonPost([]).definition])
  await writeFile(join(folder, 'file'), '')
  const options = { application: protocolTypeRouter({}), listen: {}, http: { address: { host: '127.0.0.1', port: 0 } } }
  const data = join(folder, 'file', 'data')
  const starting = Gateway.start(
    { ...options, base: folder, data, closeTimeout: 50, drainTimeout: 50 },
    { definitions: [], layer: new MemoryLayer(), log: silentLog },
  )
  await expect(starting).rejects.toMatchObject({
    code: 'bad_config',
    message: expect.stringContaining(`the data folder ${data}`),
  })
})

test('a listener that cannot start closes what was open before it', async () => {
  const story: string[] = []
  const { definition } = pigeonPost(story, true)
  await expect(start({ lifespan: lifespan(story) }, [definition])).rejects.toThrow('no pigeons')
  expect(story).toEqual(['lifespan.startup', 'lifespan.shutdown'])
})

test('closing aborts the scopes that are still open and does not wait for ever', async () => {
  const { definition, fly } = pigeonPost([])
  const forever = Promise.withResolvers<void>()
  let reason: unknown
  const stubborn: Application = async (_scope, _receive, _send, context) => {
    context.signal.addEventListener('abort', () => (reason = context.signal.reason))
    await forever.promise
  }
  const { gateway } = await start({ pigeon: stubborn }, [definition], 10)
  const { ended } = fly()
  await new Promise(setImmediate)
  expect(gateway.stats()).toMatchObject({ scopes: 1 })
  await gateway.close()
  await expect(ended).resolves.toEqual({ kind: 'abandoned' })
  expect(reason).toMatchObject({ code: 'closing' })
  expect(gateway.stats()).toMatchObject({ scopes: 0, channels: 0, groups: 0 })
  forever.resolve()
})

test('what an application failed on is counted and kept as a dead letter', async () => {
  const { definition, post } = pigeonPost([])
  const { gateway, folder } = await start({ pigeon: async () => undefined }, [definition])
  const scope = scopeOf('pigeon', { route: 'a.yaml:3' })
  const event = { type: 'pigeon.note', bytes: Buffer.from('coo') } as Event
  post.services?.failed(scope, event, new Error('cannot read this'))
  post.services?.failed(scope, event, 'thrown text')
  await gateway.close()
  expect(await lettersOf(join(folder, 'data'))).toMatchObject([
    { error: 'cannot read this', route: 'a.yaml:3', event: { type: 'pigeon.note', bytes: Buffer.from('coo') } },
    { error: 'thrown text' },
  ])
  expect(gateway.stats()).toMatchObject({ failed: 2 })
})

test('addresses without a rule are counted, and resolve asks the application', async () => {
  const { definition, post } = pigeonPost([])
  const { gateway } = await start({ other: async () => undefined }, [definition])
  const scope = { type: 'pigeon', client: null, server: null }
  expect(post.services?.resolve(scope)).toBeUndefined()
  post.services?.unrouted(scope, 'roof 7')
  expect(gateway.stats()).toMatchObject({ unrouted: 1 })
  await gateway.close()
})

test('two names for one address share one HTTP server', async () => {
  const { definition, post } = pigeonPost([])
  const { gateway } = await start({ pigeon: async () => undefined }, [definition])
  const services = post.services as Services
  expect(services.httpHost()).toBe(services.httpHost())
  const named = { host: '127.0.0.1', port: 18_999 }
  expect(services.httpHost(named)).toBe(services.httpHost(named))
  expect(services.httpHost(named)).not.toBe(services.httpHost())
  await gateway.close()
})

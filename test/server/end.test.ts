/** The end of a gateway: who is told what, what is waited for and for how long, and what the log says of it. */
import { afterEach, expect, test } from '@jest/globals'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { Adapter, Connection, Services } from '../../src/asgi/adapter.ts'
import type { Log } from '../../src/asgi/context.ts'
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import type { Application, Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { protocolTypeRouter } from '../../src/routing/protocol-type-router.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { Gateway } from '../../src/server/gateway.ts'

const folders: string[] = []
afterEach(async () => {
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })))
})

const letter = { type: 'post.letter' } as Event

/** A protocol whose letters need no answer. It waits for its scopes, and at the signal it cuts them. */
function post() {
  const open: Connection[] = []
  let services: Services | undefined
  const cut = () => open.forEach((connection) => connection.abort(new Error('cut')))
  const adapter: Adapter = {
    async start(_options, given) {
      services = given
      return {
        urls: [],
        example: { address: '', command: () => '' },
        connections: 0,
        async close(signal) {
          signal.addEventListener('abort', cut, { once: true })
          await Promise.all(open.map(({ completed }) => completed))
          signal.removeEventListener('abort', cut)
        },
      }
    },
  }
  const definition: ProtocolDefinition = {
    name: 'post',
    options: z.unknown(),
    routers: [],
    load: async () => ({ adapter }),
    loadClient: () => Promise.reject(new Error('unused')),
    sendUsage: { arguments: [], options: [], example: '' },
    sampleScope: () => ({ type: 'post', client: null, server: null }),
  }
  /** Resolves when the application is done with it. */
  const bring = (): Promise<void> => {
    const handled = Promise.withResolvers<void>()
    const transport = { progress: 'finished' as const, send: () => undefined, end: () => undefined }
    const connection = (services as Services).open({ type: 'post', client: null, server: null }, transport)
    open.push(connection)
    connection.deliver(letter, { last: 'of the peer', handled: () => handled.resolve() })
    return handled.promise
  }
  return { definition, bring }
}

interface Line {
  readonly level: 'warn' | 'error'
  readonly fields: object
  readonly text: string
}

async function start(application: Application, definition: ProtocolDefinition, drainTimeout: number) {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-'))
  folders.push(folder)
  const lines: Line[] = []
  const log: Log = Object.assign(Object.create(silentLog), {
    child: () => log,
    warn: (fields: object, text: string) => lines.push({ level: 'warn', fields, text }),
    error: (fields: object, text: string) => lines.push({ level: 'error', fields, text }),
  })
  const options = {
    application: protocolTypeRouter({ post: application }),
    listen: { post: {} },
    http: { address: { host: '127.0.0.1', port: 0 } },
    base: folder,
    data: folder,
    closeTimeout: 20,
    drainTimeout,
  }
  return { gateway: await Gateway.start(options, { definitions: [definition], layer: new MemoryLayer(), log }), lines }
}

test('who is done with all that its peer said, and stays for its groups, is told to end at once', async () => {
  const { definition, bring } = post()
  const patient: Application = async (_scope, receive, _send, context) => {
    await context.layer.groupAdd('answers', context.channel)
    for (;;) await receive()
  }
  // Nobody would wait for so long.
  const { gateway, lines } = await start(patient, definition, 1_000_000)
  await Promise.all([bring(), bring()])
  expect(gateway.stats()).toMatchObject({ scopes: 2, groups: 1 })
  await expect(gateway.close()).resolves.toBe(true)
  expect(lines).toEqual([])
})

test('so is who is done while the gateway drains already', async () => {
  const { definition, bring } = post()
  const go = Promise.withResolvers<void>()
  const patient: Application = async (_scope, receive, _send, context) => {
    await context.layer.groupAdd('answers', context.channel)
    await receive()
    await go.promise
    await receive()
  }
  const { gateway, lines } = await start(patient, definition, 1_000_000)
  const handled = bring()
  await new Promise(setImmediate)
  const closed = gateway.close()
  go.resolve()
  await handled
  await expect(closed).resolves.toBe(true)
  expect(lines).toEqual([])
})

test('at the end of the drain the log says how many scopes are left, which end within closeTimeout', async () => {
  const { definition, bring } = post()
  const slow: Application = async (_scope, receive, _send, { signal }) => {
    await receive()
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  }
  const { gateway, lines } = await start(slow, definition, 20)
  void bring()
  void bring()
  await new Promise(setImmediate)
  await expect(gateway.close()).resolves.toBe(false)
  expect(lines).toEqual([
    {
      level: 'warn',
      fields: { scopes: 2 },
      text: 'not over within 20 ms (drainTimeout): what is left is told to end, and cut after 20 ms (closeTimeout)',
    },
  ])
})

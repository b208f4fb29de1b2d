/** What the YAML says is what runs: routers and middleware in each other, the user's own among them. */
import { describe, expect, test } from '@jest/globals'
import type { Context } from '../../src/asgi/context.ts'
import type { Protocol, Step } from '../../src/asgi/protocol.ts'
import type { Config } from '../../src/config/config.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { loadText, withApplication } from '../support/config-text.ts'
import { scopeOf } from '../support/scopes.ts'

interface Ran {
  readonly name: string
  readonly route: string
  readonly params: Readonly<Record<string, string>>
}

async function load(text: string): Promise<Config> {
  const { config, diagnostics } = await loadText(text)
  expect(diagnostics).toEqual([])
  if (!config) throw new Error('there is a mistake in it')
  return config
}

/** Which handler a scope reaches; undefined: none ran. */
async function run({ application }: Config, scope: Protocol['scope']): Promise<Ran | undefined> {
  const layer = new MemoryLayer()
  const context: Context = { signal: new AbortController().signal, layer, channel: 'test', log: silentLog }
  let ran: Ran | undefined
  const send = (event: object) => {
    ran = event as Ran
    return Promise.resolve()
  }
  await application(scope, () => new Promise(() => undefined), send, context)
  return ran
}

const url = (path: string, type = 'http') => scopeOf(type, { path, rootPath: '', headers: [] })

describe('a tree of routers and middleware', () => {
  const text = withApplication(
    'http:',
    '  accessLog:',
    '    app:',
    '      URLRouter:',
    '        - path: /chat/:room',
    '          app: ./handlers.ts#chat',
    '        - { url: ^api/, app: { timeout: { after: 5s, app: { URLRouter: [{ path: "/rooms/:id", app: ./handlers.ts#ChatConsumer }] } } } }',
    '        - { url: ^, app: ./handlers.ts#site }',
    'websocket: { ./handlers.ts#greeting: { greeting: hello, app: ./handlers.ts#ChatConsumer } }',
    'mqtt:',
    '  TopicRouter:',
    '    - { topic: sensors/#, app: ./handlers.ts#site }',
    'sms:',
    '  ./handlers.ts#lastLetterRouter:',
    '    - { letter: a, app: ./handlers.ts#site }',
    '    - { letter: b, app: { ./handlers.ts#greeting: { greeting: hi, app: ./handlers.ts#chat } } }',
  )

  test.each<[string, Protocol['scope'], Ran]>([
    [
      'the first rule that matches',
      url('/chat/kitchen'),
      { name: 'chat', route: 'gateway.yaml:13', params: { room: 'kitchen' } },
    ],
    [
      'a router in a middleware in a router',
      url('/api/rooms/1'),
      { name: 'ChatConsumer', route: 'gateway.yaml:15', params: { id: '1' } },
    ],
    [
      'the next rule when the inner router has none',
      url('/api/x'),
      { name: 'site', route: 'gateway.yaml:16', params: {} },
    ],
    [
      "a middleware of the user's",
      url('/', 'websocket'),
      { name: 'ChatConsumer', route: 'gateway.yaml:17', params: { greeting: 'hello' } },
    ],
    [
      'the router of another protocol',
      scopeOf('mqtt', { address: 'sensors/a' }),
      { name: 'site', route: 'gateway.yaml:20', params: {} },
    ],
    [
      "a router of the user's",
      scopeOf('sms', { id: 'scope-a' }),
      { name: 'site', route: 'gateway.yaml:22', params: {} },
    ],
    [
      "a middleware in a router of the user's",
      scopeOf('sms', { id: 'scope-b' }),
      { name: 'chat', route: 'gateway.yaml:22', params: { greeting: 'hi' } },
    ],
  ])('leads to %s', async (_, scope, expected) => {
    expect(await run(await load(text), scope)).toMatchObject(expected)
  })

  test('is asked without running anything, and names the rule, its line and its application', async () => {
    const loaded = await loadText(text)
    const steps: Step[] = []
    const found = loaded.config?.application.resolve?.(url('/api/rooms/7'), (step) => steps.push(step))
    expect(steps.map(({ route, matched }) => [route, matched])).toEqual([
      ['gateway.yaml:13', false],
      ['gateway.yaml:15', true],
      ['gateway.yaml:15', true],
    ])
    expect(found?.params).toEqual({ id: '7' })
    expect(loaded.leafOf(found?.rules.at(-1) ?? {})).toEqual({
      route: 'gateway.yaml:15',
      application: './handlers.ts#ChatConsumer',
    })
  })

  test('names the rule also where a protocol has one application for everything', async () => {
    const loaded = await loadText(text)
    const found = loaded.config?.application.resolve?.(url('/any', 'websocket'))
    expect(loaded.leafOf(found?.rules.at(-1) ?? {})).toEqual({
      route: 'gateway.yaml:17',
      application: './handlers.ts#greeting > ./handlers.ts#ChatConsumer',
    })
    expect(loaded.config?.application.resolve?.(scopeOf('mqtt', { address: 'elsewhere' }))).toBeUndefined()
  })
})

test('a rule may have a time-out: it is the middleware around its application', async () => {
  const rule = '{ path: /slow, timeout: 20ms, app: ./handlers.ts#slow }'
  const loaded = await loadText(withApplication('http:', '  URLRouter:', `    - ${rule}`))
  expect(loaded.diagnostics).toEqual([])
  const application = loaded.config?.application
  const found = application?.resolve?.(url('/slow'))
  expect(loaded.leafOf(found?.rules.at(-1) ?? {})?.application).toBe('timeout > ./handlers.ts#slow')
  const context: Context = {
    signal: new AbortController().signal,
    layer: new MemoryLayer(),
    channel: '',
    log: silentLog,
  }
  const running = application?.(
    url('/slow'),
    () => Promise.resolve({ type: 'test.go' }),
    () => Promise.resolve(),
    context,
  )
  await expect(running).rejects.toMatchObject({ code: 'timed_out' })
})

describe('an application without a ProtocolTypeRouter', () => {
  const text = (application: string, listen = '{ http: , mqtt: }') => `listen: ${listen}\napplication: ${application}\n`

  test('gets the scopes of everything that is served, with its line as route, and no lifespan', async () => {
    const config = await load(text('./handlers.ts#site'))
    expect(await run(config, url('/'))).toMatchObject({ name: 'site', route: 'gateway.yaml:2' })
    expect(await run(config, scopeOf('mqtt', {}))).toMatchObject({ name: 'site' })
    await expect(run(config, scopeOf('lifespan', {}))).rejects.toMatchObject({ code: 'no_route' })
  })

  test('may be a router of the one protocol that is served, but not of two', async () => {
    const router = '{ URLRouter: [{ path: /, app: ./handlers.ts#site }] }'
    expect(await run(await load(text(router, '{ http: }')), url('/'))).toMatchObject({ name: 'site' })
    const { diagnostics } = await loadText(text(router))
    expect(diagnostics.map(({ message }) => message)).toEqual([
      'found URLRouter, which routes http and websocket, expected what takes http, mqtt; put it below ProtocolTypeRouter',
    ])
  })
})

test('lifespan and channel are routed like protocols', async () => {
  const config = await load(
    withApplication(
      'lifespan: ./handlers.ts#site',
      'channel: { ChannelNameRouter: [{ channel: thumbnails, app: ./handlers.ts#chat }] }',
    ),
  )
  expect(await run(config, scopeOf('lifespan', {}))).toMatchObject({ name: 'site', route: 'gateway.yaml:9' })
  expect(await run(config, scopeOf('channel', { channel: 'thumbnails' }))).toMatchObject({
    name: 'chat',
    route: 'gateway.yaml:10',
  })
})

test('a module is loaded once, however many rules name it', async () => {
  const config = await load(
    withApplication(
      'http: { URLRouter: [{ path: /a, app: ./counts.ts#first }, { path: /b, app: ./counts.ts#second }] }',
    ),
  )
  const first = await run(config, url('/a'))
  const second = await run(config, url('/b'))
  expect([first?.name, second?.name]).toEqual(['loaded 1 times', 'loaded 1 times'])
})

test('a configuration cannot be changed, at any depth', async () => {
  const config = await load(withApplication('http: ./handlers.ts#site', 'sms: ./handlers.ts#site'))
  expect(Object.isFrozen(config)).toBe(true)
  expect(Object.isFrozen(config.listen['http'])).toBe(true)
  expect(Object.isFrozen((config.listen['sms'] as { provider: { twilio: object } }).provider.twilio)).toBe(true)
  expect(config.http).toBe(config.listen['http'])
})

test('what is left out has its default, and relative paths start in the folder of the file', async () => {
  const config = await load(withApplication('http: ./handlers.ts#site'))
  expect(config).toMatchObject({
    layer: { kind: 'memory' },
    workers: [],
    closeTimeout: 5000,
    drainTimeout: 10_000,
    log: { level: 'info' },
  })
  expect(config.data).toBe(`${config.base}/data`)
  expect(config.file).toBe(`${config.base}/gateway.yaml`)
})

test('protocols without an address of their own share the address that http would have', async () => {
  const config = await load('listen: { mqtt: }\napplication: { ProtocolTypeRouter: { mqtt: ./handlers.ts#site } }\n')
  expect(config.http.address).toEqual({ host: '127.0.0.1', port: 8000 })
  expect(Object.keys(config.listen)).toEqual(['mqtt'])
})

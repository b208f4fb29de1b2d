/** Ordered routing: first match wins, nested misses go on, and asking gives the same answer as running. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Context } from '../../src/asgi/context.ts'
import type { Application, BaseScope, Protocol, Step } from '../../src/asgi/protocol.ts'
import { ChannelNameRouter } from '../../src/routing/channel-name-router.ts'
import { protocolTypeRouter } from '../../src/routing/protocol-type-router.ts'
import { URLRouter, type UrlScope } from '../../src/routing/url-router.ts'
import { wrap } from '../../src/routing/wrap.ts'
import { scopeOf } from '../support/scopes.ts'

interface UrlProtocol extends Protocol {
  readonly scope: UrlScope
}
type App = Application<UrlProtocol>

const scopeAt = (path: string, rootPath = ''): UrlScope => scopeOf('http', { path, rootPath })

/** Says its name and the scope it was given. */
function leaf(name: string): App {
  return async (scope, _receive, send) => send({ type: name, scope } as never)
}

async function run(application: App, scope: UrlScope): Promise<{ name: string; scope: UrlScope } | string> {
  let seen: { name: string; scope: UrlScope } | string = 'nobody'
  const send = async (event: { type: string; scope?: UrlScope }) => {
    seen = { name: event.type, scope: event.scope as UrlScope }
  }
  try {
    await application(scope, () => Promise.reject(new Error('unused')), send, {} as Context)
  } catch (error) {
    return (error as { code: string }).code
  }
  return seen
}
const who = async (application: App, path: string, rootPath?: string) => {
  const seen = await run(application, scopeAt(path, rootPath))
  return typeof seen === 'string' ? seen : seen.name
}

test('the first rule in file order wins, whatever its kind', async () => {
  const router = URLRouter([
    { url: '^chat/(?<room>[a-z]+)$', app: leaf('expression') },
    { path: '/chat/:room', app: leaf('path') },
    { path: '/chat/lobby', app: leaf('literal') },
    { url: '^', app: leaf('rest') },
  ])
  expect(await who(router, '/chat/lobby')).toBe('expression')
  expect(await who(router, '/chat/LOBBY')).toBe('path')
  expect(await who(router, '/other')).toBe('rest')
})

test('an address that no rule takes raises no_route', async () => {
  expect(await who(URLRouter([{ path: '/a', app: leaf('a') }]), '/b')).toBe('no_route')
})

test('a rule hands on a copy of the scope with its captures and its place', async () => {
  const scope = scopeAt('/rooms/kitchen')
  const seen = await run(URLRouter([{ path: '/rooms/:room', app: leaf('x') }]), scope)
  expect(seen).toMatchObject({ scope: { params: { room: 'kitchen' }, route: 'URLRouter[0]', path: '/rooms/kitchen' } })
  expect(scope).toEqual(scopeAt('/rooms/kitchen'))
})

test('nested routers see what the outer one left, merge the captures, and an inner miss goes on to the next outer rule', async () => {
  const inner = URLRouter([{ path: '/users/:user<int>', app: leaf('user') }])
  const deeper = URLRouter([{ url: '^v(?<version>[0-9])/', app: inner }])
  const router = URLRouter([
    { path: '/:tenant/api/*', app: deeper },
    { url: '^', app: leaf('site') },
  ])
  expect(await run(router, scopeAt('/acme/api/v2/users/7'))).toMatchObject({
    name: 'user',
    scope: { params: { tenant: 'acme', version: '2', user: '7' } },
  })
  expect(await who(router, '/acme/api/v2/users/bob')).toBe('site')
  expect(await who(router, '/acme/api/nothing')).toBe('site')
})

test('a middleware put there by wrap hides no routing, and runs only around the rule that was taken', async () => {
  let ran = 0
  const counting =
    (application: App): App =>
    async (...parts) => {
      ran++
      await application(...parts)
    }
  const router = URLRouter([
    {
      path: '/api/*',
      app: wrap(counting, undefined, wrap(counting, undefined, URLRouter([{ path: '/a', app: leaf('a') }]))),
    },
    { url: '^', app: leaf('rest') },
  ])
  expect(await who(router, '/api/b')).toBe('rest')
  expect(ran).toBe(0)
  expect(await who(router, '/api/a')).toBe('a')
  expect(ran).toBe(2)
})

test('an address that comes again goes the same way, and what a router below decides is asked each time', async () => {
  const open = leaf('open')
  const asked: string[] = []
  // A router of the user's own may look at more than the path.
  const byHost = Object.assign(leaf('host'), {
    resolve: ({ server, params }: UrlScope) => {
      asked.push(String(server))
      return server ? { rules: [byHost], params } : undefined
    },
  }) as App
  const router = URLRouter([
    { path: '/a/:id', app: byHost },
    { path: '/a/:rest', app: open },
    { path: '/b/:name', app: open },
  ])
  const at = (path: string, server: UrlScope['server']) => ({ ...scopeAt(path), server })
  const names: unknown[] = []
  for (const server of [null, ['h', 1] as const, null]) {
    for (const application of [router, router]) {
      const seen = await run(application, at('/a/1', server))
      names.push(typeof seen === 'string' ? seen : [seen.name, seen.scope.params])
    }
  }
  const rest = ['open', { rest: '1' }]
  const host = ['host', { id: '1' }]
  expect(names).toEqual([rest, rest, host, host, rest, rest])
  expect(asked).toHaveLength(6)
  for (const [path, name] of [
    ['/b/x', 'x'],
    ['/b/x', 'x'],
    ['/b/y', 'y'],
  ] as const) {
    expect(router.resolve?.(at(path, null))?.params).toEqual({ name })
    expect(await run(router, { ...at(path, null), id: name })).toMatchObject({ scope: { id: name, params: { name } } })
  }
})

test('an address that comes again with other captures is answered with those', () => {
  const router = URLRouter([{ path: '/b/:name', app: leaf('open') }])
  const asked = (params: UrlScope['params']) => router.resolve?.({ ...scopeAt('/b/x'), params })?.params
  expect([asked({}), asked({ tenant: 'acme' }), asked({})]).toEqual([
    { name: 'x' },
    { tenant: 'acme', name: 'x' },
    { name: 'x' },
  ])
})

test('rootPath is stripped once, by the outermost router', async () => {
  const router = URLRouter([
    { path: '/gateway/a', app: leaf('twice') },
    { path: '/a', app: leaf('once') },
  ])
  expect(await who(router, '/gateway/a', '/gateway')).toBe('once')
  expect(await who(router, '/gateway/gateway/a', '/gateway')).toBe('twice')
  expect(await who(router, '/gatewayx/a', '/gateway')).toBe('no_route')
})

test.each([
  ['/a/:id<int>', '/a/12', true],
  ['/a/:id<int>', '/a/x', false],
  ['/a/:id<uuid>', '/a/123e4567-e89b-12d3-a456-426614174000', true],
  ['/a/:id<slug>', '/a/b_c-1', true],
  ['/a/:id<slug>', '/a/b.c', false],
  ['/a/:id', '/a/', false],
  ['/a/', '/a', false],
  ['/a/', '/a/', true],
  ['/a/*', '/a/', true],
  ['/a/*', '/a/b/c', true],
  ['/a/*', '/a', false],
  ['/*', '/', true],
  ['/*', '/x/y', true],
  ['/', '/', true],
  ['/', '/x', false],
])('path %s and %s: %s', async (path, address, matches) => {
  expect(await who(URLRouter([{ path, app: leaf('hit') }]), address)).toBe(matches ? 'hit' : 'no_route')
})

test.each([
  [{ path: 'a' }, 'starts with a slash'],
  [{ path: '/:id<float>' }, 'expected one of str, int, slug, uuid'],
  [{ path: '/:id/:id' }, ':id stands twice'],
  [{ path: '/a*b' }, '/* at the end'],
  [{ path: '/:' }, 'expected :name'],
  [{ url: '(' }, 'Invalid regular expression'],
  [{ ulr: '^' }, 'expected one of url, path beside app, found ulr'],
  [{}, 'found none'],
])('the rule %j is refused in words', (rule, words) => {
  const build = () => URLRouter([{ ...rule, app: leaf('x') } as never])
  expect(build).toThrow(words)
  expect(build).toThrow(expect.objectContaining({ code: 'bad_rule' }))
})

test('asking, tracing and running agree, for any rules and any address, with the index or without', async () => {
  const segment = fc.constantFrom('a', 'b', 'c')
  const path = fc.array(fc.oneof(segment, fc.constantFrom(':x', ':y<int>')), { minLength: 1, maxLength: 3 })
  const rule = fc.oneof(
    fc.record({ parts: path, open: fc.boolean() }).map(({ parts, open }) => {
      const unique = parts.map((part, index) => (part.startsWith(':') ? part.replace(/^:./, `:p${index}`) : part))
      return { path: `/${unique.join('/')}${open ? '/*' : ''}` }
    }),
    fc
      .tuple(fc.array(segment, { maxLength: 3 }), fc.constantFrom('', '$', '/', '/?$', '[abc]', '+'))
      .map(([parts, end]) => ({ url: `^${parts.join('/')}${end}` })),
    fc.constantFrom({ url: 'b' }, { url: 'a$|^c' }, { url: '^' }),
  )
  const valid = rule.filter((value) => !('url' in value) || isExpression(value.url))
  const address = fc
    .array(fc.oneof(segment, fc.constantFrom('1', '')), { maxLength: 4 })
    .map((parts) => `/${parts.join('/')}`)
  await fc.assert(
    fc.asyncProperty(fc.array(valid, { maxLength: 8 }), address, async (rules, at) => {
      const router = URLRouter(rules.map((one, index) => ({ ...one, app: leaf(String(index)) })) as never)
      const alone = await Promise.all(rules.map((one) => who(URLRouter([{ ...one, app: leaf('hit') }] as never), at)))
      const expected = alone.indexOf('hit')
      expect(await who(router, at)).toBe(expected < 0 ? 'no_route' : String(expected))
      const steps: Step[] = []
      const traced = router.resolve?.(scopeAt(at), (step) => steps.push(step))
      const asked = router.resolve?.(scopeAt(at))
      expect(traced).toEqual(asked)
      expect(asked === undefined).toBe(expected < 0)
      expect(steps.filter(({ matched }) => matched)).toHaveLength(expected < 0 ? 0 : 1)
    }),
    { numRuns: 500 },
  )
})

function isExpression(source: string): boolean {
  try {
    void new RegExp(source, 'u')
    return true
  } catch {
    return false
  }
}

test('100,000 rules cost a lookup no more than a few: only those that could match are asked', () => {
  let asked = 0
  const rules = Array.from({ length: 100_000 }, (_, index) => ({
    path: `/devices/${index}/state`,
    app: leaf(String(index)),
  }))
  const router = URLRouter([...rules, { url: '^devices/', app: countingLeaf(() => asked++) }])
  expect(router.resolve?.(scopeAt('/devices/99999/state'))?.rules[0]).toMatchObject({ route: 'URLRouter[99999]' })
  expect(router.resolve?.(scopeAt('/devices/x/y'))?.rules[0]).toMatchObject({ route: 'URLRouter[100000]' })
  expect(asked).toBe(1)
})

function countingLeaf(ask: () => void): App {
  const application: App = leaf('counting')
  return Object.assign(application, {
    resolve: (scope: UrlScope) => {
      ask()
      return { rules: [], params: scope.params }
    },
  })
}

test('ProtocolTypeRouter chooses by type and knows what it does not have', async () => {
  const router = protocolTypeRouter({ http: URLRouter([{ path: '/a', app: leaf('http') }]) }) as unknown as App
  expect(await who(router, '/a')).toBe('http')
  expect(router.resolve?.(scopeAt('/b'))).toBeUndefined()
  expect(await run(router, { ...scopeAt('/a'), type: 'mqtt' })).toBe('no_route')
  const steps: Step[] = []
  router.resolve?.({ ...scopeAt('/a'), type: 'constructor' }, (step) => steps.push(step))
  expect(steps).toMatchObject([{ matched: false, reason: 'has no constructor' }])
})

test('ChannelNameRouter takes exact names', () => {
  const base: BaseScope = scopeAt('/')
  const router = ChannelNameRouter([{ channel: 'thumbnails', app: async () => undefined }])
  expect(router.resolve?.({ ...base, type: 'channel', channel: 'thumbnails' })).toBeDefined()
  expect(router.resolve?.({ ...base, type: 'channel', channel: 'thumbnail' })).toBeUndefined()
  expect(() => ChannelNameRouter([{ channel: 'a b', app: async () => undefined }])).toThrow('1 to 100 characters')
})

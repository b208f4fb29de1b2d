/** URLRouter: routes HTTP requests and WebSockets by their path, with regular expressions and path patterns. */
import { z } from 'zod'
import type { Application, BaseScope, Protocol } from '../asgi/protocol.ts'
import type { Match, Matcher, RouterDefinition } from '../asgi/router.ts'
import { literalPrefix } from './literal-prefix.ts'
import { defineRouter, type RuleInCode } from './router.ts'
import { compileSafely } from './runaway.ts'

/** What URLRouter looks at in a scope. */
export interface UrlScope extends BaseScope {
  readonly path: string
  readonly rootPath: string
  readonly pathRemaining?: string
}

const segmentTypes: Readonly<Record<string, RegExp>> = {
  str: /^[^/]+$/,
  int: /^\d+$/,
  slug: /^[A-Za-z0-9_-]+$/,
  uuid: /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i,
}

/** Longer paths are refused by every expression: a bound on what a costly one can cost. */
const longestForExpression = 8192

interface UrlProtocol extends Protocol {
  readonly scope: UrlScope
}

export const urlRouterDefinition = {
  name: 'URLRouter',
  protocols: ['http', 'websocket'],
  keys: {
    url: {
      description:
        'a regular expression on the path, without its leading slash and without the query, such as ^chat/(?<room>[^/]+)$',
      schema: z.string(),
      compile: compileExpression,
    },
    path: {
      description:
        'a path with segments such as /chat/:room, /tickets/:id<int> (str, int, slug, uuid) or, for all that is below, /api/*',
      schema: z.string(),
      compile: compilePath,
    },
  },
  address: (scope: UrlScope) => scope.pathRemaining ?? withoutRoot(scope.path, scope.rootPath),
  tokens: (address: string) => address.split('/'),
  consume(scope: { -readonly [K in keyof UrlScope]: UrlScope[K] }, rest: string): UrlScope {
    scope.pathRemaining = rest
    return scope
  },
} satisfies RouterDefinition<UrlScope>

/** `URLRouter([{ path: '/chat/:room', app }, { url: '^', app }])`, for HTTP and for WebSocket. */
export function URLRouter<P extends UrlProtocol>(rules: readonly RuleInCode<P, 'url' | 'path'>[]): Application<P> {
  return defineRouter<P, 'url' | 'path'>(urlRouterDefinition)(rules)
}

/** The path as the outermost router sees it: without the prefix a proxy mounts the gateway under, and without the slash. */
function withoutRoot(path: string, rootPath: string): string {
  const inside = rootPath !== '' && (path === rootPath || path.startsWith(`${rootPath}/`))
  const rest = inside ? path.slice(rootPath.length) : path
  return rest.startsWith('/') ? rest.slice(1) : rest
}

function compileExpression(source: string): Matcher {
  const expression = compileSafely(source, 'u', longestForExpression)
  const { text, complete, everything } = literalPrefix(source)
  const segments = text.split('/')
  return {
    text: `url ${source}`,
    sample: `/${text}${complete || everything ? '' : 'x'}`,
    // The last segment of a prefix may go on: only a complete one is a token of its own.
    tokens: complete ? segments : segments.slice(0, -1),
    open: !complete,
    total: complete || (everything && (text === '' || text.endsWith('/'))),
    ...(text.startsWith('/') && {
      vain: `paths are matched without their leading slash, expected ${source.replace(/^\^\\?\//, '^')}`,
    }),
    match(address): Match | undefined {
      if (address.length > longestForExpression) return undefined
      const found = expression.exec(address)
      if (!found) return undefined
      return { params: { ...definedGroups(found.groups) }, rest: address.slice(found.index + found[0].length) }
    },
  }
}

/** A group that took no part in the match is left out. */
function definedGroups(groups: Readonly<Record<string, string | undefined>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(groups).filter((pair): pair is [string, string] => pair[1] !== undefined))
}

interface Segment {
  readonly literal?: string
  readonly name?: string
  readonly type?: string
  readonly pattern?: RegExp
}

function compilePath(source: string): Matcher {
  if (!source.startsWith('/'))
    throw new Error(`expected a path that starts with a slash, found ${JSON.stringify(source)}`)
  const open = source.endsWith('/*')
  const segments = source
    .slice(1, open ? -2 : undefined)
    .split('/')
    .map(compileSegment)
  const shown = open && source === '/*' ? [] : segments
  const names = shown.flatMap(({ name }) => name ?? [])
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new Error(`the segment :${twice} stands twice in ${source}`)
  return {
    text: `path ${source}`,
    sample: `/${segments.map(sampleOf).join('/')}${open ? '/x' : ''}`.replace(/^\/\//, '/'),
    tokens: shown.map(({ literal }) => literal ?? null),
    open,
    total: shown.every(({ pattern }) => pattern === undefined),
    match: (address) => matchPath(shown, open, address.split('/')),
  }
}

function compileSegment(text: string): Segment {
  if (!text.startsWith(':')) {
    if (/[*<>]/.test(text))
      throw new Error(`a segment ${JSON.stringify(text)}: expected text, :name, :name<type>, or /* at the end`)
    return { literal: text }
  }
  const [, name, type = 'str'] = /^:([A-Za-z_]\w*)(?:<(\w+)>)?$/.exec(text) ?? []
  const pattern = segmentTypes[type]
  if (name === undefined) throw new Error(`a segment ${JSON.stringify(text)}: expected :name or :name<type>`)
  if (!pattern)
    throw new Error(`a segment type ${JSON.stringify(type)}: expected one of ${Object.keys(segmentTypes).join(', ')}`)
  return { name, type, pattern }
}

function sampleOf({ literal, name = '', type }: Segment): string {
  if (type === 'int') return '1'
  return literal ?? (type === 'uuid' ? '00000000-0000-4000-8000-000000000000' : name)
}

function matchPath(segments: readonly Segment[], open: boolean, found: readonly string[]): Match | undefined {
  // `/api/*` takes what is below `/api/`, which is at least an empty segment more.
  if (open ? found.length <= segments.length : found.length !== segments.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, { literal, name, pattern }] of segments.entries()) {
    const value = found[index] as string // the lengths were compared above
    if (literal !== undefined && literal !== value) return undefined
    if (pattern && !pattern.test(value)) return undefined
    if (name !== undefined) params[name] = value
  }
  return { params, rest: found.slice(segments.length).join('/') }
}

/** The one rule of the application grammar: a reference, or a map with one key that names a router or a middleware. */
import type { RouterDefinition } from '../asgi/router.ts'
import type { MiddlewareDefinition } from '../middleware/definition.ts'
import { once } from '../runtime/options.ts'
import type { Path, Report } from './diagnostics.ts'
import { readMatcher } from './matcher.ts'
import { found, plain, type ConfigNode, type Entry, type MapNode } from './nodes.ts'
import type { Branch, Plan, PlannedRule, Reference, UserRule } from './plan.ts'
import { refusalOf } from './refusal.ts'
import { routersOf, scopeTypes, type Registry } from './registry.ts'
import { withSettings } from './rule-settings.ts'
import { didYouMean } from './suggest.ts'
import { oneOf, reportIssues } from './zod-issues.ts'

export const protocolTypeRouterName = 'ProtocolTypeRouter'
/** A file or a package, and the name of an export. */
export const referencePattern = /^[^#\s][^#]*#[A-Za-z_$][\w$]*$/

/** A node with its path and the scope types that can come there. */
interface Spot {
  readonly node: ConfigNode
  readonly path: Path
  readonly protocols: readonly string[]
}

export interface NamedReference {
  readonly reference: Reference
  /** It names what makes a router or a middleware, not an application. */
  readonly makes: boolean
}

/** Reads the whole tree, reporting every mistake; a part with one is left out of what it returns. */
export class ApplicationReader {
  readonly #report: Report
  readonly #registry: Registry
  readonly #routers: readonly RouterDefinition[]
  readonly #named: NamedReference[] = []

  constructor(report: Report, registry: Registry) {
    this.#report = report
    this.#registry = registry
    this.#routers = routersOf(registry)
  }

  /** Every reference that was read, also those in parts with a mistake. */
  get references(): readonly NamedReference[] {
    return this.#named
  }

  /** `protocols` are those that can come here: all that are served, until a ProtocolTypeRouter splits them. */
  read(spot: Spot): Plan | undefined {
    const { node, path, protocols } = spot
    if (node.kind === 'broken') return undefined
    if (node.kind === 'scalar' && typeof node.value === 'string') return this.#reference(node.value, spot)
    if (node.kind !== 'map')
      return this.#error(node.offset, path, `found ${found(node)}, expected ${expectedApplication}`)
    const [first, ...more] = [...node.entries]
    if (!first || more.length > 0) return this.#notOneKey(node, path)
    const [name, entry] = first
    const below: Spot = { node: entry.value, path: [...path, name], protocols }
    if (entry.value.kind === 'broken') return undefined
    if (name === protocolTypeRouterName) return this.#protocols(entry, below)
    const routers = this.#routers.filter((router) => router.name === name)
    if (routers.length > 0) return this.#router(routers, entry, below)
    const middleware = this.#registry.middleware.find((definition) => definition.name === name)
    if (middleware) return this.#middleware(middleware, entry, below)
    if (name.includes('#')) return this.#userDefined(name, entry, below)
    const known = this.#namesFor(protocols)
    const hint = didYouMean(name, known)
    const message = `found ${JSON.stringify(name)}, expected a router or middleware: ${oneOf(known)}, or file.ts#Export${hint}`
    return this.#error(entry.keyOffset, below.path, message)
  }

  #notOneKey(node: MapNode, path: Path): undefined {
    const names = [...node.entries.keys()]
    const expected = 'expected one that names a router or a middleware'
    if (names.length === 0) return this.#error(node.offset, path, `found an empty map, ${expected}`)
    const message = `found ${names.length} keys (${names.join(', ')}), ${expected}; what belongs to it is indented below it`
    return this.#error(node.offset, path, message)
  }

  #namesFor(protocols: readonly string[]): readonly string[] {
    const routers = this.#routers.filter((router) => protocols.every((name) => router.protocols.includes(name)))
    const spot = { protocols, registry: this.#registry }
    const middleware = this.#registry.middleware.filter((definition) => refusalOf(definition, {}, spot) === undefined)
    return [...new Set([protocolTypeRouterName, ...[...routers, ...middleware].map(({ name }) => name)])]
  }

  #reference(text: string, { node, path }: Spot): Reference | undefined {
    if (referencePattern.test(text)) {
      const shown = node.kind === 'scalar' && node.hidden ? node.shown : text
      return this.#name({ kind: 'reference', text, shown, ...this.#placed(node.offset, path) }, false)
    }
    const named = [...this.#routers, ...this.#registry.middleware].some(({ name }) => name === text)
    const hint = named || text === protocolTypeRouterName ? `; a router or a middleware is a key: ${text}: …` : ''
    const after = this.#report.source.text.slice(node.offset + text.length, node.offset + text.length + 100)
    const cut = /^\s+#\w/.test(after) ? '; a # behind a space begins a comment' : ''
    return this.#error(
      node.offset,
      path,
      `found ${found(node)}, expected file.ts#Export or package#Export${hint}${cut}`,
    )
  }

  #protocols({ keyOffset: own }: Entry, { node, path }: Spot): Plan | undefined {
    if (node.kind !== 'map' || node.entries.size === 0) {
      return this.#error(node.offset, path, `found ${found(node)}, expected a map of protocols to applications`)
    }
    const types = scopeTypes(this.#registry)
    const branches: Branch[] = []
    for (const [protocol, { keyOffset, value }] of node.entries) {
      const below = [...path, protocol]
      if (!types.includes(protocol)) {
        const message = `found ${JSON.stringify(protocol)}, expected a protocol: ${oneOf(types)}`
        this.#report.error(keyOffset, below, `${message}${didYouMean(protocol, types)}`)
        continue
      }
      const app = this.read({ node: value, path: below, protocols: [protocol] })
      if (app) branches.push({ protocol, app, ...this.#placed(keyOffset, below) })
    }
    return { kind: 'protocols', branches, ...this.#placed(own, path) }
  }

  #router(routers: readonly RouterDefinition[], { keyOffset }: Entry, spot: Spot): Plan | undefined {
    const { node, path, protocols } = spot
    const definition = routers.find((router) => protocols.every((protocol) => router.protocols.includes(protocol)))
    if (!definition) {
      const { name } = routers[0] as RouterDefinition // the caller found at least one
      const routed = [...new Set(routers.flatMap((router) => router.protocols))]
      const wrong = protocols.filter((protocol) => !routed.includes(protocol))
      const instead = this.#routers.filter((router) => wrong.every((protocol) => router.protocols.includes(protocol)))
      const below = `; put it below ${protocolTypeRouterName}`
      const hint =
        protocols.length > 1 ? below : instead.length > 0 ? `: ${oneOf(instead.map((router) => router.name))}` : ''
      const message = `found ${name}, which routes ${routed.join(' and ')}, expected what takes ${protocols.join(', ')}${hint}`
      return this.#error(keyOffset, path, message)
    }
    if (node.kind !== 'list' || node.items.length === 0) {
      const rule = `{ ${Object.keys(definition.keys)[0] ?? ''}: …, app: … }`
      return this.#error(node.offset, path, `found ${found(node)}, expected a list of rules such as ${rule}`)
    }
    const rules = node.items.flatMap(
      (item, index) => this.#rule(definition, { node: item, path: [...path, index], protocols }) ?? [],
    )
    return { kind: 'router', definition, rules, ...this.#placed(keyOffset, path) }
  }

  #rule(definition: RouterDefinition, { node, path, protocols }: Spot): PlannedRule | undefined {
    if (node.kind === 'broken') return undefined
    if (node.kind !== 'map') {
      const keys = oneOf(Object.keys(definition.keys))
      return this.#error(node.offset, path, `found ${found(node)}, expected a rule: a map of ${keys}, and app`)
    }
    const app = this.#app(node, path, protocols)
    const matcher = readMatcher(this.#report, definition, node, path)
    const whole = app && withSettings(this.#report, app, { node, path, protocols, registry: this.#registry })
    return whole && matcher && { matcher, app: whole, ...this.#placed(node.offset, path) }
  }

  #app(node: MapNode, path: Path, protocols: readonly string[]): Plan | undefined {
    const entry = node.entries.get('app')
    if (entry) return this.read({ node: entry.value, path: [...path, 'app'], protocols })
    return this.#error(node.offset, path, `found no app, expected app: ${expectedApplication}`)
  }

  #middleware(definition: MiddlewareDefinition, { keyOffset }: Entry, spot: Spot): Plan | undefined {
    const { node, path, protocols } = spot
    if (node.kind !== 'map') return this.#error(node.offset, path, `found ${found(node)}, expected a map with app`)
    const app = this.#app(node, path, protocols)
    const settings: MapNode = { ...node, entries: new Map([...node.entries].filter(([key]) => key !== 'app')) }
    const parsed = definition.options.safeParse(plain(settings), once)
    if (parsed.success) {
      const refusal = refusalOf(definition, parsed.data, { protocols, registry: this.#registry })
      if (refusal !== undefined) return this.#error(keyOffset, path, refusal)
      return app && { kind: 'middleware', definition, options: parsed.data, app, ...this.#placed(keyOffset, path) }
    }
    reportIssues(this.#report, parsed.error.issues, { node: settings, path, schema: definition.options })
    return undefined
  }

  #userDefined(name: string, { keyOffset }: Entry, spot: Spot): Plan | undefined {
    const { node, path, protocols } = spot
    const placed = this.#placed(keyOffset, path)
    if (!referencePattern.test(name)) {
      return this.#error(keyOffset, path, `found ${JSON.stringify(name)}, expected file.ts#Export or package#Export`)
    }
    const reference = this.#name({ kind: 'reference', text: name, shown: name, ...placed }, true)
    if (node.kind === 'list') {
      const rules = node.items.flatMap(
        (item, index) => this.#userRule({ node: item, path: [...path, index], protocols }) ?? [],
      )
      return { kind: 'userRouter', reference, rules, ...placed }
    }
    if (node.kind !== 'map') {
      const message = `found ${found(node)}, expected a list of rules (a router) or a map with app (a middleware)`
      return this.#error(node.offset, path, message)
    }
    const app = this.#app(node, path, protocols)
    return app && { kind: 'userMiddleware', reference, options: settingsOf(node), app, ...placed }
  }

  #userRule({ node, path, protocols }: Spot): UserRule | undefined {
    if (node.kind === 'broken') return undefined
    if (node.kind !== 'map')
      return this.#error(node.offset, path, `found ${found(node)}, expected a rule: a map with app`)
    const app = this.#app(node, path, protocols)
    return app && { settings: settingsOf(node), app, ...this.#placed(node.offset, path) }
  }

  #name(reference: Reference, makes: boolean): Reference {
    this.#named.push({ reference, makes })
    return reference
  }

  #placed(offset: number, path: Path) {
    return { offset, path, route: this.#report.source.route(offset) }
  }

  #error(offset: number, path: Path, message: string): undefined {
    this.#report.error(offset, path, message)
  }
}

const expectedApplication = 'file.ts#Export, or a map with one key that names a router or a middleware'

/** Everything but `app`, as plain values. */
function settingsOf(node: MapNode): Readonly<Record<string, unknown>> {
  const own = [...node.entries].filter(([key]) => key !== 'app')
  return Object.fromEntries(own.map(([key, { value }]) => [key, plain(value)]))
}

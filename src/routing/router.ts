/** The ordered router that every named router is made of: first match wins, in file order, and a nested miss goes on. */
import type { Application, Params, Protocol, Resolution, Step } from '../asgi/protocol.ts'
import type { Match, Matcher, RouterDefinition } from '../asgi/router.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { serving } from '../runtime/serves.ts'
import { TokenIndex } from './token-index.ts'

/** A compiled rule of a router. */
export interface Rule<P extends Protocol = Protocol> {
  readonly matcher: Matcher
  readonly app: Application<P>
  /** Where it stands, as `file:line`; in code `TopicRouter[0]`. */
  readonly route: string
}

interface Found<P extends Protocol> {
  readonly rule: Rule<P>
  readonly match: Match
  /** Where there is a router below: the scope as it was asked about, and its answer. */
  readonly inside?: P['scope'] | undefined
  readonly inner?: Resolution | undefined
  /** What it is answered with where nothing was captured before. */
  resolution?: Resolution
}

/**
 * An application that hands each scope to the first rule that takes it.
 * @throws SignalboxError `no_route` (as an application) when no rule does.
 */
export function orderedRouter<P extends Protocol>(
  definition: RouterDefinition<P['scope']>,
  rules: readonly Rule<P>[],
): Application<P> {
  const index = new TokenIndex()
  rules.forEach(({ matcher }, number) => index.add(matcher.tokens, matcher.open, number))

  /** The last leaf that was found by its address alone: who asks where a scope goes runs it there next. */
  let last: (Found<P> & { readonly address: string }) | undefined

  /** The scope as a rule hands it on. */
  function enter({ rule, match }: Found<P>, scope: P['scope']): P['scope'] {
    const routed = { ...scope, params: joined(scope.params, match.params), route: rule.route }
    return definition.consume ? definition.consume(routed, match.rest) : routed
  }

  /** What a rule makes of a scope that it matches; undefined when the router below it goes on without an answer. */
  function take(rule: Rule<P>, scope: P['scope'], match: Match, trace?: (step: Step) => void): Found<P> | undefined {
    if (!rule.app.resolve) return { rule, match }
    const inside = enter({ rule, match }, scope)
    const inner = rule.app.resolve(inside, trace)
    return inner && { rule, match, inside, inner }
  }

  function find(scope: P['scope']): Found<P> | undefined {
    const address = definition.address(scope)
    if (address === undefined) return undefined
    if (last?.address === address) return last
    let nested = false
    for (const number of index.candidates(definition.tokens(address))) {
      const rule = rules[number] as Rule<P> // the index holds these numbers and no others
      const match = rule.matcher.match(address)
      if (!match) continue
      const found = take(rule, scope, match)
      nested ||= rule.app.resolve !== undefined
      // A router below may look at more than the address.
      if (found && !nested) last = { rule, match, address }
      if (found) return found
    }
    return undefined
  }

  function explain(scope: P['scope'], trace: (step: Step) => void): Found<P> | undefined {
    const address = definition.address(scope)
    if (address === undefined) return undefined
    for (const rule of rules) {
      const match = rule.matcher.match(address)
      const step = { route: rule.route, rule: `${definition.name} ${rule.matcher.text}` }
      if (!match) {
        trace({ ...step, matched: false, reason: `${JSON.stringify(address)} does not match` })
        continue
      }
      trace({ ...step, matched: true, reason: captured(match.params) })
      const found = take(rule, scope, match, trace)
      if (found) return found
      trace({ ...step, matched: false, reason: 'the router below it has no rule for what is left: going on' })
    }
    return undefined
  }

  // It only hands on: a promise of its own would be held for as long as a socket is open.
  const router: Application<P> = (scope, receive, send, context) => {
    const found = find(scope)
    if (!found) return Promise.reject(noRoute(definition.name, definition.address(scope)))
    context.routed?.(found.rule.route)
    return found.rule.app(found.inside ?? enter(found, scope), receive, send, context)
  }
  const resolve = (scope: P['scope'], trace?: (step: Step) => void): Resolution | undefined => {
    const found = trace ? explain(scope, trace) : find(scope)
    if (!found) return undefined
    const { rule, inner } = found
    if (inner) return { ...inner, rules: [rule, ...inner.rules], route: inner.route ?? rule.route }
    if (!isEmpty(scope.params)) return leafOf(found, scope.params)
    found.resolution ??= leafOf(found, scope.params)
    return found.resolution
  }
  return serving(Object.assign(router, { resolve }), definition)
}

function leafOf<P extends Protocol>({ rule, match }: Found<P>, params: Params): Resolution {
  return { ...leaf(rule.app), rules: [rule], params: { ...params, ...match.params }, route: rule.route }
}

/** Mostly nothing is captured, and then there is nothing to copy for as long as a socket is open. */
function joined(before: Params, captured: Params): Params {
  return isEmpty(captured) ? before : { ...before, ...captured }
}

function isEmpty(params: Params): boolean {
  for (const _ in params) return false
  return true
}

/** What is said around an application that cannot say it itself. */
export function leaf({ delivery }: Pick<Application, 'delivery'>): Pick<Resolution, 'delivery'> {
  return delivery ? { delivery } : {}
}

/** The error of an address that no rule takes; adapters give their protocol's no-rule answer for it. */
export function noRoute(router: string, address: string | undefined): SignalboxError {
  return new SignalboxError('no_route', `${router}: no rule takes ${JSON.stringify(address ?? '')}`)
}

function captured(params: Params): string {
  const pairs = Object.entries(params).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  return pairs.length > 0 ? pairs.join(', ') : 'matches'
}

/** A rule as code writes it: one of the router's keys, and `app`. */
export type RuleInCode<P extends Protocol, Key extends string> = {
  readonly [K in Key]: { readonly [_ in K]: string } & { readonly [_ in Exclude<Key, K>]?: never }
}[Key] & { readonly app: Application<P> }

/**
 * Makes the function that builds this router in code: `TopicRouter([{ topic: 'sensors/#', app }])`.
 * It throws SignalboxError `bad_rule` for a rule that cannot be compiled.
 */
export function defineRouter<P extends Protocol, Key extends string = string>(
  definition: RouterDefinition<P['scope']> & { readonly keys: Readonly<Record<Key, unknown>> },
): (rules: readonly RuleInCode<P, Key>[]) => Application<P> {
  return (rules) =>
    orderedRouter(
      definition,
      rules.map((rule, index) => ({
        app: rule.app,
        matcher: compileRule(definition, rule),
        route: `${definition.name}[${index}]`,
      })),
    )
}

function compileRule(definition: Pick<RouterDefinition, 'name' | 'keys'>, rule: object): Matcher {
  const given = Object.entries(rule).filter(([key]) => key !== 'app')
  const [key = '', value] = given[0] ?? []
  const expected = Object.keys(definition.keys).join(', ')
  const ruleKey = definition.keys[key]
  if (given.length !== 1 || !ruleKey) {
    const found = given.map(([name]) => name).join(', ')
    throw new SignalboxError(
      'bad_rule',
      `${definition.name}: expected one of ${expected} beside app, found ${found || 'none'}`,
    )
  }
  try {
    return ruleKey.compile(String(value))
  } catch (error) {
    throw new SignalboxError('bad_rule', `${definition.name} ${key}: ${reason(error)}`, { cause: error })
  }
}

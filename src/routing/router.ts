/** The ordered router that every named router is made of: first match wins, in file order, and a nested miss goes on. */
import type { Application, Params, Protocol, Resolution, Step } from '../asgi/protocol.ts'
import type { Match, Matcher, RouterDefinition } from '../asgi/router.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
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
  readonly scope: P['scope']
  readonly inner: Resolution | undefined
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

  /** What a rule makes of a scope that it matches; undefined when the router below it goes on without an answer. */
  function take(rule: Rule<P>, scope: P['scope'], match: Match, trace?: (step: Step) => void): Found<P> | undefined {
    const routed = { ...scope, params: { ...scope.params, ...match.params }, route: rule.route }
    const inside = definition.consume ? definition.consume(routed, match.rest) : routed
    const inner = rule.app.resolve?.(inside, trace)
    return rule.app.resolve && !inner ? undefined : { rule, scope: inside, inner }
  }

  function find(scope: P['scope']): Found<P> | undefined {
    const address = definition.address(scope)
    if (address === undefined) return undefined
    for (const number of index.candidates(definition.tokens(address))) {
      const rule = rules[number] as Rule<P> // the index holds these numbers and no others
      const match = rule.matcher.match(address)
      const found = match && take(rule, scope, match)
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

  const router: Application<P> = async (scope, receive, send, context) => {
    const found = find(scope)
    if (!found) throw noRoute(definition.name, definition.address(scope))
    await found.rule.app(found.scope, receive, send, context)
  }
  const resolve = (scope: P['scope'], trace?: (step: Step) => void): Resolution | undefined => {
    const found = trace ? explain(scope, trace) : find(scope)
    if (!found) return undefined
    return { rules: [found.rule, ...(found.inner?.rules ?? [])], params: found.inner?.params ?? found.scope.params }
  }
  return Object.assign(router, { resolve })
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

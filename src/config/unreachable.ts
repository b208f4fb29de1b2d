/** Finds the rules that can never match, because an earlier one takes all they would. */
import { isDeepStrictEqual } from 'node:util'
import type { Matcher, RouterDefinition } from '../asgi/router.ts'
import type { Report } from './diagnostics.ts'
import { inside, type Plan, type PlannedRule, type RouterPlan } from './plan.ts'

/** Whether an application that was named by a reference may turn scopes away, as routers do. */
export type MayPass = (plan: Plan) => boolean

/** `whole`: no router has taken something off the address before. */
export function reportUnreachable(report: Report, plan: Plan, mayPass: MayPass, whole = true): void {
  if (plan.kind === 'router') reportInRouter(report, plan, mayPass)
  if (plan.kind === 'router' && whole) warnOfVain(report, plan)
  const still = whole && !(plan.kind === 'router' && plan.definition.consume)
  for (const part of inside(plan)) reportUnreachable(report, part, mayPass, still)
}

function warnOfVain(report: Report, { rules, definition }: RouterPlan): void {
  for (const { matcher, offset, path } of rules) {
    if (matcher.vain === undefined) continue
    const message = `found a rule of ${definition.name} that can never match (${matcher.text}): ${matcher.vain}`
    report.warning(offset, path, message)
  }
}

function reportInRouter(report: Report, { rules, definition }: RouterPlan, mayPass: MayPass): void {
  // Only rules that keep what they take: an inner router without a match hands it back to the next rule.
  const keepers: PlannedRule[] = []
  for (const rule of rules) {
    const only = onlyAddress(definition, rule.matcher)
    const earlier = keepers.find(
      ({ matcher }) => covers(matcher, rule.matcher) || (only !== undefined && matcher.match(only) !== undefined),
    )
    if (earlier) {
      const { line } = report.source.place(earlier.offset)
      const [own, other] = [rule.matcher.text, earlier.matcher.text]
      const taken =
        own === other ? `the same rule stands in line ${line}` : `line ${line} (${other}) takes all that it would`
      report.error(
        rule.offset,
        rule.path,
        `found a rule of ${definition.name} that can never match (${own}): ${taken}, expected it before that one`,
      )
    } else if (takesAll(rule.app, mayPass)) keepers.push(rule)
  }
}

/** Whether every address that `later` can match is one that `earlier` takes. */
function covers(earlier: Matcher, later: Matcher): boolean {
  if (earlier.text === later.text || earlier.covers?.(later.tokens)) return true
  if (!earlier.total) return false
  const [first, second] = [earlier.tokens, later.tokens]
  if (earlier.open ? second.length < first.length : later.open || second.length !== first.length) return false
  return first.every((token, index) => token === null || token === second[index])
}

/** The one address that a rule without anything open in it can match; undefined when there may be others. */
function onlyAddress(definition: RouterDefinition, matcher: Matcher): string | undefined {
  const literal = matcher.tokens.filter((token) => token !== null)
  if (matcher.open || literal.length !== matcher.tokens.length) return undefined
  // How a router cuts its addresses is its own affair: what is put together here counts only if it comes apart again.
  return ['/', '', '.', '@']
    .map((separator) => literal.join(separator))
    .find((address) => matcher.match(address) && isDeepStrictEqual(definition.tokens(address), literal))
}

/** Whether an application takes every scope that it is asked about. */
function takesAll(plan: Plan, mayPass: MayPass): boolean {
  switch (plan.kind) {
    case 'reference':
    case 'userRouter':
      return !mayPass(plan)
    case 'middleware':
    case 'userMiddleware':
      return takesAll(plan.app, mayPass)
    case 'router':
      return plan.rules.some(
        ({ matcher, app }) => matcher.total && matcher.open && matcher.tokens.length === 0 && takesAll(app, mayPass),
      )
    case 'protocols':
      return false
    default:
      return plan satisfies never
  }
}

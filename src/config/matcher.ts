/** What a rule matches on -> a matcher, or the mistakes in it. */
import type { Matcher, RouterDefinition, RuleKey } from '../asgi/router.ts'
import { reason } from '../runtime/errors.ts'
import { once } from '../runtime/options.ts'
import type { Path, Report } from './diagnostics.ts'
import { found, plain, type ConfigNode, type MapNode } from './nodes.ts'
import { ruleSettings } from './rule-settings.ts'
import { didYouMean } from './suggest.ts'
import { oneOf, reportIssues } from './zod-issues.ts'

/** A rule has exactly one of its router's keys, beside `app` and what every rule may have. */
export function readMatcher(
  report: Report,
  definition: RouterDefinition,
  node: MapNode,
  path: Path,
): Matcher | undefined {
  const keys = Object.keys(definition.keys)
  const common = ['app', ...ruleSettings.map((setting) => setting.key)]
  const unknown = [...node.entries].filter(([key]) => ![...common, ...keys].includes(key))
  for (const [key, { keyOffset }] of unknown) {
    const message = `found the unknown key ${JSON.stringify(key)}, expected ${oneOf(keys)}, and app`
    report.error(keyOffset, [...path, key], `${message}${didYouMean(key, [...keys, ...common])}`)
  }
  const given = [...node.entries].filter(([key]) => keys.includes(key))
  const [first, second] = given
  if (second) {
    const names = given.map(([key]) => key).join(' and ')
    report.error(second[1].keyOffset, [...path, second[0]], `found ${names} in one rule, expected one of them`)
    return undefined
  }
  const key = first && definition.keys[first[0]]
  if (key) return compile(report, key, first[1].value, [...path, first[0]])
  // A misspelt key was meant to be the one that is missing.
  if (unknown.length === 0) {
    const message = `found nothing to match on, expected ${oneOf(keys)} beside app; each - begins another rule`
    report.error(node.offset, path, message)
  }
  return undefined
}

function compile(report: Report, key: RuleKey, node: ConfigNode, path: Path): Matcher | undefined {
  if (node.kind === 'broken') return undefined
  const hidden = node.kind === 'scalar' && node.hidden
  const parsed = key.schema.safeParse(plain(node), once)
  if (!parsed.success) {
    const sentence = parsed.error.issues.every(({ message }) => /^(?:found|expected) /.test(message))
    const unquoted = node.kind === 'scalar' && node.value !== null && typeof node.value !== 'string'
    if (sentence || !unquoted) reportIssues(report, parsed.error.issues, { node, path, schema: key.schema })
    else
      report.error(
        node.offset,
        path,
        `found ${found(node)} without quotes, expected "${found(node)}": ${key.description}`,
      )
    return undefined
  }
  try {
    const matcher = key.compile(parsed.data)
    if (matcher.warning !== undefined && !hidden) report.warning(node.offset, path, matcher.warning)
    return matcher
  } catch (error) {
    const why = reason(error).split('\n', 1)[0] ?? ''
    // A compiler may repeat any part of what it was given.
    if (hidden) report.error(node.offset, path, `found ${found(node)}, expected ${key.description}`)
    else if (why.includes('expected')) report.error(node.offset, path, why)
    else report.error(node.offset, path, `found ${found(node)} (${why}), expected ${key.description}`)
    return undefined
  }
}

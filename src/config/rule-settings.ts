/** What a rule of any router may say beside what it matches on: each key is short for a middleware around the rule's application. */
import { z, type ZodType } from 'zod'
import type { MiddlewareDefinition } from '../middleware/definition.ts'
import { deliveryDefinition, deliveryModes, deliveryOptions } from '../middleware/delivery.ts'
import { timeoutDefinition, timeoutOptions } from '../middleware/timeout.ts'
import { once } from '../runtime/options.ts'
import type { Path, Report } from './diagnostics.ts'
import { plain, type MapNode } from './nodes.ts'
import type { Plan } from './plan.ts'
import { refusalOf } from './refusal.ts'
import type { Registry } from './registry.ts'
import { reportIssues } from './zod-issues.ts'

export interface RuleSetting {
  readonly key: string
  /** What the YAML may write behind it; it gives the middleware's options. */
  readonly schema: ZodType
  readonly definition: MiddlewareDefinition
}

/** From the inside out. */
export const ruleSettings: readonly RuleSetting[] = [
  {
    key: 'timeout',
    schema: timeoutOptions.shape.after.transform((after) => ({ after })),
    definition: timeoutDefinition,
  },
  {
    key: 'delivery',
    schema: z.union([deliveryModes.transform((mode) => ({ mode })), deliveryOptions]),
    definition: deliveryDefinition,
  },
]

interface Rule {
  readonly node: MapNode
  readonly path: Path
  /** The scope types that come there. */
  readonly protocols: readonly string[]
  readonly registry: Registry
}

/** The rule's application with what the rule says around it; undefined when that has a mistake, which is reported. */
export function withSettings(report: Report, app: Plan, rule: Rule): Plan | undefined {
  return ruleSettings.reduce<Plan | undefined>((plan, setting) => plan && withSetting(report, plan, rule, setting), app)
}

function withSetting(report: Report, app: Plan, rule: Rule, setting: RuleSetting): Plan | undefined {
  const { key, schema, definition } = setting
  const entry = rule.node.entries.get(key)
  if (!entry) return app
  const { value: node, keyOffset: offset } = entry
  if (node.kind === 'broken') return undefined
  const path = [...rule.path, key]
  const parsed = schema.safeParse(plain(node), once)
  if (!parsed.success) {
    reportIssues(report, parsed.error.issues, { node, path, schema })
    return undefined
  }
  const options = parsed.data
  const refusal = refusalOf(definition, options, rule)
  if (refusal === undefined) {
    return { kind: 'middleware', definition, options, app, offset, path, route: report.source.route(offset) }
  }
  report.error(offset, path, refusal)
  return undefined
}

/** Finds the handlers that stand where scopes of another protocol come. */
import { servesOf } from '../runtime/serves.ts'
import type { Loaded } from './compile.ts'
import type { Report } from './diagnostics.ts'
import { protocolTypeRouterName } from './grammar.ts'
import { inside, type Plan } from './plan.ts'

/** `protocols` are those that can come here; a handler that does not say which it takes may take all. */
export function reportMisplaced(report: Report, plan: Plan, protocols: readonly string[], loaded: Loaded): void {
  if (plan.kind === 'protocols') {
    for (const { protocol, app } of plan.branches) reportMisplaced(report, app, [protocol], loaded)
    return
  }
  for (const part of inside(plan)) reportMisplaced(report, part, protocols, loaded)
  if (plan.kind !== 'reference') return
  const taken = servesOf(loaded.applications.get(plan))?.protocols
  if (!taken || protocols.every((protocol) => taken.includes(protocol))) return
  const hint = protocols.length > 1 ? `; put it below ${protocolTypeRouterName}` : ''
  const message = `found ${plan.shown}, which takes ${taken.join(' and ')}, expected what takes ${protocols.join(', ')}${hint}`
  report.error(plan.offset, plan.path, message)
}

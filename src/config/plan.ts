/** The application as the YAML says it, checked but not built: a tree of references, routers and middleware. */
import type { Matcher, RouterDefinition } from '../asgi/router.ts'
import type { MiddlewareDefinition } from '../middleware/definition.ts'
import type { Path } from './diagnostics.ts'

/** Where a part stands. */
interface Placed {
  readonly offset: number
  readonly path: Path
  /** `gateway.yaml:14` */
  readonly route: string
}

/** `file.ts#Export`, or `package#Export`. */
export interface Reference extends Placed {
  readonly kind: 'reference'
  readonly text: string
  /** As an error shows it: it may have come from the environment. */
  readonly shown: string
}
export interface ProtocolTypePlan extends Placed {
  readonly kind: 'protocols'
  readonly branches: readonly Branch[]
}
export interface Branch extends Placed {
  readonly protocol: string
  readonly app: Plan
}
export interface RouterPlan extends Placed {
  readonly kind: 'router'
  readonly definition: RouterDefinition
  readonly rules: readonly PlannedRule[]
}
export interface PlannedRule extends Placed {
  readonly matcher: Matcher
  readonly app: Plan
}
export interface MiddlewarePlan extends Placed {
  readonly kind: 'middleware'
  readonly definition: MiddlewareDefinition
  readonly options: unknown
  readonly app: Plan
}
/** A router of the user's: any keys beside `app`. */
export interface UserRouterPlan extends Placed {
  readonly kind: 'userRouter'
  readonly reference: Reference
  readonly rules: readonly UserRule[]
}
export interface UserRule extends Placed {
  readonly settings: Readonly<Record<string, unknown>>
  readonly app: Plan
}
/** A middleware of the user's. */
export interface UserMiddlewarePlan extends Placed {
  readonly kind: 'userMiddleware'
  readonly reference: Reference
  readonly options: Readonly<Record<string, unknown>>
  readonly app: Plan
}

export type Plan = Reference | ProtocolTypePlan | RouterPlan | MiddlewarePlan | UserRouterPlan | UserMiddlewarePlan

/** The parts directly inside. */
export function inside(plan: Plan): readonly Plan[] {
  switch (plan.kind) {
    case 'reference':
      return []
    case 'protocols':
      return plan.branches.map(({ app }) => app)
    case 'router':
    case 'userRouter':
      return plan.rules.map(({ app }) => app)
    case 'middleware':
    case 'userMiddleware':
      return [plan.app]
    default:
      return plan satisfies never
  }
}

/** The ProtocolTypeRouter that everything goes through, also behind middleware. */
export function protocolTypes(plan: Plan): ProtocolTypePlan | undefined {
  if (plan.kind === 'protocols') return plan
  return plan.kind === 'middleware' || plan.kind === 'userMiddleware' ? protocolTypes(plan.app) : undefined
}

/** A plan, with what its references name -> the one application that the gateway runs. */
import type { Application, Middleware, Protocol, Step } from '../asgi/protocol.ts'
import { reason } from '../runtime/errors.ts'
import { protocolTypeRouter } from '../routing/protocol-type-router.ts'
import { orderedRouter, type Rule } from '../routing/router.ts'
import { wrap } from '../routing/wrap.ts'
import type { Report } from './diagnostics.ts'
import { protocolTypes, type Plan, type Reference, type UserMiddlewarePlan, type UserRouterPlan } from './plan.ts'
import { isApplication, kindOf, type UserFactory } from './references.ts'

/** What the references of a plan name. */
export interface Loaded {
  readonly applications: ReadonlyMap<Reference, Application>
  readonly factories: ReadonlyMap<Reference, UserFactory>
}

/** The rule that a resolution ends in, for people. */
export interface Leaf {
  readonly route: string
  /** The reference that the rule names, e.g. `./handlers/chat.ts#ChatConsumer`. */
  readonly application: string
}

export class Compiler {
  readonly #report: Report
  readonly #loaded: Loaded
  readonly #leaves = new WeakMap<object, Leaf>()

  constructor(report: Report, loaded: Loaded) {
    this.#report = report
    this.#loaded = loaded
  }

  /** What the last of a resolution's rules stands for. */
  leafOf(rule: object): Leaf | undefined {
    return this.#leaves.get(rule)
  }

  /** The whole tree; `served` are the protocols that reach it. Lifespan is only for those who name it. */
  root(plan: Plan, served: readonly string[]): Application {
    if (protocolTypes(plan)) return this.#build(plan)
    const app = this.#routed(plan, 'application')
    return byType(served.map((protocol) => [protocol, app]))
  }

  #build(plan: Plan): Application {
    switch (plan.kind) {
      case 'reference':
        return known(this.#loaded.applications.get(plan))
      case 'protocols':
        return byType(
          plan.branches.map(({ protocol, app }) => [protocol, this.#routed(app, `ProtocolTypeRouter ${protocol}`)]),
        )
      case 'router':
        return orderedRouter(
          plan.definition,
          plan.rules.map(({ matcher, app, route }) => {
            const rule: Rule = { matcher, app: this.#build(app), route }
            this.#leaves.set(rule, { route, application: label(app) })
            return rule
          }),
        )
      case 'middleware':
        return wrap((app, options) => plan.definition.wrap(app, options), plan.options, this.#build(plan.app))
      case 'userRouter':
        return this.#userRouter(plan)
      case 'userMiddleware':
        return this.#userMiddleware(plan)
      default:
        return plan satisfies never
    }
  }

  #userRouter(plan: UserRouterPlan): Application {
    const rules = plan.rules.map(({ settings, app, route }) => {
      const rule = Object.freeze({ ...settings, app: saying(route, this.#build(app)), route })
      this.#leaves.set(rule, { route, application: label(app) })
      return rule
    })
    return this.#made(plan.reference, () => known(this.#loaded.factories.get(plan.reference))(Object.freeze(rules)))
  }

  #userMiddleware(plan: UserMiddlewarePlan): Application {
    const inner = this.#build(plan.app)
    const { reference, options } = plan
    const factory = known(this.#loaded.factories.get(reference))
    return wrap((app) => this.#made(reference, () => factory(app, Object.freeze(options))), undefined, inner)
  }

  /** What a function of the user's makes; when it makes none, that is reported, and nothing will run it. */
  #made({ shown, offset, path }: Reference, make: () => unknown): Application {
    try {
      const made = make()
      if (isApplication(made)) return made
      this.#report.error(offset, path, `found ${shown}, which makes ${kindOf(made)}, expected an application`)
    } catch (error) {
      this.#report.error(offset, path, `found ${shown}, which throws: ${reason(error)}, expected an application`)
    }
    return async () => undefined
  }

  /** An application that takes every scope of a protocol is a rule too: it has a place, and it can be asked for. */
  #routed(plan: Plan, rule: string): Application {
    const app = this.#build(plan)
    if (app.resolve) return app
    const { route } = plan
    const routed: Application = (scope, receive, send, context) => {
      context.routed?.(route)
      return app({ ...scope, route }, receive, send, context)
    }
    const leaf = Object.freeze({ rule, route })
    this.#leaves.set(leaf, { route, application: label(plan) })
    const resolve = (scope: Protocol['scope'], trace?: (step: Step) => void) => {
      trace?.({ route, rule, matched: true, reason: 'takes everything' })
      return { rules: [leaf], params: scope.params, route, ...(app.delivery && { delivery: app.delivery }) }
    }
    return Object.assign(routed, { resolve })
  }
}

/** The same application, whose scopes are those of the rule from when it gets them; a router in it says more. */
function saying(route: string, app: Application): Application {
  const said: Middleware = (inner) => (scope, receive, send, context) => {
    context.routed?.(route)
    return inner(scope, receive, send, context)
  }
  return wrap(said, undefined, app)
}

const byType = (applications: readonly (readonly [string, Application])[]): Application =>
  protocolTypeRouter(Object.fromEntries(applications))

/** `accessLog > ./handlers/site.ts#site` */
export function label(plan: Plan): string {
  switch (plan.kind) {
    case 'reference':
      return plan.text
    case 'protocols':
      return 'ProtocolTypeRouter'
    case 'router':
      return plan.definition.name
    case 'middleware':
      return `${plan.definition.name} > ${label(plan.app)}`
    case 'userRouter':
      return plan.reference.text
    case 'userMiddleware':
      return `${plan.reference.text} > ${label(plan.app)}`
    default:
      return plan satisfies never
  }
}

/** Every reference of the plan was loaded, or there is nothing to compile. */
function known<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('a reference was compiled before it was loaded')
  return value
}

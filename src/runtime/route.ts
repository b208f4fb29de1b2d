/** Which rule a scope went to, asked afterwards: routers hand on copies of a scope, and whoever opened it has the original. */
import type { Application, BaseScope } from '../asgi/protocol.ts'

/** As `file:line`; empty where no router or rule stands between. Slow: for what failed. */
export function routeOf(application: Application, scope: BaseScope): string {
  let route = scope.route
  application.resolve?.(scope, (step) => {
    // A rule that a nested router made vain is followed by the one that was taken instead.
    if (step.matched) route = step.route
  })
  return route
}

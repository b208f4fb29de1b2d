/** The outermost router: which application gets the scopes of which protocol. */
import type { EveryApplication, Protocol, Resolution, SomeApplication, Step } from '../asgi/protocol.ts'
import { leaf, noRoute } from './router.ts'

/**
 * Hands each scope to the application of its `type`.
 * @throws SignalboxError `no_route` (as an application) when there is none.
 */
export function protocolTypeRouter(
  applications: Readonly<Record<string, SomeApplication | undefined>>,
): EveryApplication {
  // The one place where a protocol's own application is handed a scope of the union: its key is the scope's type.
  const byType = new Map(Object.entries(applications)) as Map<string, EveryApplication | undefined>

  const router: EveryApplication = (scope, receive, send, context) => {
    const application = byType.get(scope.type)
    if (!application) return Promise.reject(noRoute('ProtocolTypeRouter', scope.type))
    return application(scope, receive, send, context)
  }
  const resolve = (scope: Protocol['scope'], trace?: (step: Step) => void): Resolution | undefined => {
    const application = byType.get(scope.type)
    if (!application) {
      trace?.({ route: '', rule: 'ProtocolTypeRouter', matched: false, reason: `has no ${scope.type}` })
      return undefined
    }
    return application.resolve
      ? application.resolve(scope, trace)
      : { ...leaf(application), rules: [application], params: scope.params }
  }
  return Object.assign(router, { resolve })
}

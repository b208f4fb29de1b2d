/** Puts a middleware around an application without hiding the routing questions that a router inside can answer. */
import type { Application, Middleware, Protocol } from '../asgi/protocol.ts'

/** `wrap(accessLog, {}, URLRouter([...]))` is a router still: an outer one sees its misses and goes on. */
export function wrap<Options, P extends Protocol>(
  middleware: Middleware<Options, P>,
  options: Options,
  application: Application<P>,
): Application<P> {
  const wrapped = middleware(application, options)
  const { resolve } = application
  if (!resolve || wrapped.resolve) return wrapped
  return Object.assign(wrapped.bind(undefined), { resolve })
}

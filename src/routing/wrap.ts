/** Puts a middleware around an application without hiding the questions that what is inside can answer. */
import type { Application, Middleware, Protocol } from '../asgi/protocol.ts'
import { serves, servesOf } from '../runtime/serves.ts'

/** `wrap(accessLog, {}, URLRouter([...]))` is a router still: an outer one sees its misses and goes on. */
export function wrap<Options, P extends Protocol>(
  middleware: Middleware<Options, P>,
  options: Options,
  application: Application<P>,
): Application<P> {
  const wrapped = middleware(application, options)
  const { resolve, delivery } = application
  const says = servesOf(application)
  const passed = {
    ...(resolve && !wrapped.resolve && { resolve }),
    ...(delivery && !wrapped.delivery && { delivery }),
    ...(says && !servesOf(wrapped) && { [serves]: says }),
  }
  return Reflect.ownKeys(passed).length === 0 ? wrapped : Object.assign(wrapped.bind(undefined), wrapped, passed)
}

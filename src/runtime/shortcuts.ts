/** What a consumer can do at less cost where nobody stands between it and the instance of its scope. */
import type { Context } from '../asgi/context.ts'
import type { Protocol, Receive, Send } from '../asgi/protocol.ts'
import { Instance } from './instance.ts'
import { handleInLoop, type EventHandler } from './pump.ts'

/**
 * Calls the handler with each event of a scope, in order, until the last one is handled or the scope is over. What a loop around
 * `receive` does, at less cost.
 * @throws what a handler raised.
 */
export function handleEvents<P extends Protocol, T>(
  receive: Receive<P>,
  context: Context,
  handler: EventHandler<P['receive'], T>,
  of: T,
): Promise<void> {
  return Instance.behind(receive, context)?.handleEach(handler, of) ?? handleInLoop(receive, handler, of)
}

/** To whom an application says something. */
interface Speaker<P extends Protocol> {
  send(event: P['send']): Promise<void>
}

/** Whom a consumer keeps of `send`: the instance itself, which is one object less to look at for each event, or who stands before it. */
export function speaker<P extends Protocol>(send: Send<P>, context: Context): Speaker<P> {
  return Instance.saying(send, context) ?? { send }
}

/** See `touchNext`. */
export function touchSpeakers(speakers: readonly unknown[]): number {
  return Instance.touch(speakers)
}

/** The contract of every part: scopes, events, and the one interface that applications, routers and middleware share. */
import type { Context } from './context.ts'
import type { DeliveryOptions } from './delivery.ts'

/**
 * Something that happened, on the wire or in the process. `type` has a dot in it (`http.request`, `chat.message`)
 * and is the name of the consumer method that handles it.
 */
export interface Event {
  readonly type: string
}

/** What a lifespan application hands to every later scope, plus `data`, the absolute path of the gateway's data folder. */
export type State = Readonly<Record<string, unknown>>

/** The values that routing captured: named groups, path parameters, named topic levels. */
export type Params = Readonly<Record<string, string>>

/**
 * What every scope has. A scope is plain data: it survives `structuredClone`, so it can cross to a worker thread and be
 * stored. Routers and middleware hand on a copy with their additions, never the same object.
 */
export interface BaseScope {
  /** The protocol's name, which ProtocolTypeRouter looks at. */
  readonly type: string
  /** Unique in this process; the log carries it as `scope`. */
  readonly id: string
  /** The peer's address and port; null where there is none. */
  readonly client: readonly [host: string, port: number] | null
  /** The address and port that the peer reached; null where there is none. */
  readonly server: readonly [host: string, port: number] | null
  /** What the routers on the way captured. */
  readonly params: Params
  /** Which rule chose the application, as `file:line`; empty outside of a router. */
  readonly route: string
  /** What the lifespan application left, with `data`, the data folder. */
  readonly state: State
  /** How often this event is tried, with this time; left out: it is the first time. */
  readonly attempt?: number
  /** Whether an earlier process of the gateway may have handled this event, or part of it. Left out: it has not. */
  readonly redelivered?: boolean
}

/** One protocol as a type: its scope, what an application may receive on it, and what it may send. */
export interface Protocol {
  readonly scope: BaseScope
  readonly receive: Event
  readonly send: Event
}

/**
 * Gives the next event of this scope, in order. Asking for the next event says that the last one was handled.
 * Messages to the scope's own channel (see `Context.channel`) arrive here too.
 * @throws SignalboxError `scope_ended` when the scope's last event was already taken.
 */
export type Receive<P extends Protocol> = () => Promise<P['receive']>

/**
 * Says something to the peer. Resolves when the peer's side can take more (back-pressure); a no-op once the peer is gone.
 * @throws SignalboxError `unexpected_event` when the scope's state does not allow this event now.
 */
export type Send<P extends Protocol> = (event: P['send']) => Promise<void>

/** One rule that a router asked on its way, and why it did or did not match: what `signalbox explain` prints. */
export interface Step {
  /** Where the rule stands, as `file:line`. */
  readonly route: string
  /** The rule in words, e.g. `URLRouter path /chat/:room`. */
  readonly rule: string
  readonly matched: boolean
  /** Why not, or what was captured. */
  readonly reason: string
}

/** Which leaf rule takes a scope. `rules` goes from the outermost to the leaf; the last identifies the leaf. */
export interface Resolution {
  readonly rules: readonly object[]
  readonly params: Params
  /** Where the leaf stands, as `file:line`; left out by a router that does not know. */
  readonly route?: string
  /** What the rules on the way say of their events' delivery. */
  readonly delivery?: DeliveryOptions
}

/**
 * Written as methods, because TypeScript compares methods more kindly: an application of one protocol may stand where one
 * of any protocol is asked for (a router's table), while one of another protocol still may not.
 */
interface Signatures<P extends Protocol> {
  application(scope: P['scope'], receive: Receive<P>, send: Send<P>, context: Context): Promise<void>
  resolve(scope: P['scope'], trace?: (step: Step) => void): Resolution | undefined
}

/**
 * The one interface: handlers, consumers, routers and middleware are all of this type.
 * Routers (and middleware around them) also answer `resolve`: which rule would take this scope, without running anything.
 * Undefined from `resolve` means that no rule does; an application without `resolve` takes every scope.
 */
export type Application<P extends Protocol = Protocol> = Signatures<P>['application'] & {
  readonly resolve?: Resolve<P>
  /** What is said of its events' delivery around an application without `resolve`; one with it puts that into its answers. */
  readonly delivery?: DeliveryOptions
}

/** See {@link Application}; `trace` is told of every rule that was asked, which makes the search linear. */
export type Resolve<P extends Protocol = Protocol> = Signatures<P>['resolve']

/** Wraps an application in another of the same protocol. Called once a place in the tree, not once a scope. */
export type Middleware<Options = void, P extends Protocol = Protocol> = (
  application: Application<P>,
  options: Options,
) => Application<P>

/** An application of one protocol, whichever it is: what a router of several is given. Every `Application<P>` is one. */
export interface SomeApplication {
  (scope: never, receive: () => Promise<never>, send: (event: Event) => Promise<void>, context: Context): Promise<void>
  readonly resolve?: (scope: never, trace?: (step: Step) => void) => Resolution | undefined
  readonly delivery?: DeliveryOptions
}

/** An application of every protocol, because it only hands scopes on: what such a router is. It is an `Application<P>` of any P. */
export interface EveryApplication {
  (
    scope: BaseScope,
    receive: () => Promise<Event>,
    send: (event: never) => Promise<void>,
    context: Context,
  ): Promise<void>
  readonly resolve?: (scope: BaseScope, trace?: (step: Step) => void) => Resolution | undefined
  readonly delivery?: DeliveryOptions
}

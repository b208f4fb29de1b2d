/** What a gateway is started with. */
import type { ListenAddress, TlsFiles } from '../asgi/adapter.ts'
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { ProtocolDefinition } from '../asgi/definition.ts'
import type { Application } from '../asgi/protocol.ts'
import type { AdminOptions } from './admin.ts'
import type { DeadLetters } from './dead-letters.ts'
import type { WorkerOptions } from './workers.ts'

/** What the YAML says: a checked and compiled configuration is one of these. */
export interface GatewayOptions {
  readonly application: Application
  /** The parsed options of each protocol that is served, by the protocol's name. */
  readonly listen: Readonly<Record<string, unknown>>
  /** The http listener, which protocols without an address of their own share; also when `http` itself is not served. */
  readonly http: { readonly address: ListenAddress; readonly tls?: TlsFiles | undefined }
  /** Where relative paths start, absolute. */
  readonly base: string
  /** The data folder, absolute; it is made when it is missing. */
  readonly data: string
  /** The named channels that are served in this process. Default: none. */
  readonly workers?: readonly WorkerOptions[]
  /** The admin listener; left out: there is none. */
  readonly admin?: AdminOptions | undefined
  /** How long the lifespan application may take to start, in milliseconds. Default 60,000. */
  readonly startTimeout?: number
  /** How long an application may go on after its scope ended, in milliseconds. */
  readonly closeTimeout: number
  /** How long open scopes may take when the gateway closes, in milliseconds. */
  readonly drainTimeout: number
}

/** What the program brings: the protocols it knows, its channel layer, its log. */
export interface GatewayParts {
  readonly definitions: readonly ProtocolDefinition[]
  readonly layer: ChannelLayer
  readonly log: Log
  /** Where what failed is kept. Default: `dead-letters.jsonl` in the data folder. */
  readonly deadLetters?: DeadLetters
}

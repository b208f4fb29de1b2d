/** What a gateway is started with. */
import type { ListenAddress, SharedRedis, TlsFiles } from '../asgi/adapter.ts'
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { ProtocolDefinition } from '../asgi/definition.ts'
import type { Application } from '../asgi/protocol.ts'
import type { Journal } from '../journal/journal.ts'
import type { JournalOptions } from '../journal/options.ts'
import type { Reloaded } from './admin-places.ts'
import type { AdminOptions } from './admin.ts'
import type { LeftJournal } from './deliveries.ts'
import type { ThreadStats } from './metrics.ts'
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
  /** Which of the processes that share the ports and the data folder this is, from 1. Default 1. */
  readonly process?: number
  /** How many processes they are. Default 1. */
  readonly processes?: number
  /** How stored events are kept and tried. Default: see the options. */
  readonly journal?: JournalOptions
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
  /** The Redis behind the layer, which protocols share too. Left out: what they keep is this gateway's own. */
  readonly redis?: SharedRedis | undefined
  readonly log: Log
  /** Where events are stored; closed by whoever brought it. Default: one of the gateway's own in the data folder, if it listens. */
  readonly journal?: Journal | undefined
  /** What earlier processes left in journals of their own: delivered here. Closed by whoever brought them. Default: none. */
  readonly left?: readonly LeftJournal[] | undefined
  /** Ends the start when it aborts: what was opened until then is closed, and `Gateway.start` rejects with its reason. */
  readonly stop?: AbortSignal | undefined
  /** Reads the YAML again, for the admin listener. Left out: it cannot be asked to. */
  readonly reload?: (() => Promise<Reloaded>) | undefined
  /** The worker threads for blocking code, for the metrics. */
  readonly threads?: (() => ThreadStats | undefined) | undefined
}

/** What a YAML file says once it is checked and compiled: everything the gateway needs, frozen. */
import type { ListenAddress, TlsFiles } from '../asgi/adapter.ts'
import type { Application } from '../asgi/protocol.ts'
import type { BridgeOptions } from '../bridge/options.ts'
import type { JournalOptions } from '../journal/options.ts'
import type { AdminSettings } from './admin.ts'
import type { LayerSettings } from './layer.ts'
import type { WorkerSettings } from './workers.ts'

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** The address that protocols without one of their own share. */
export interface SharedListener {
  readonly address: ListenAddress
  readonly tls?: TlsFiles | undefined
}

export interface Config {
  /** The YAML, as an absolute path. */
  readonly file: string
  /** The YAML's folder: where its relative paths start. */
  readonly base: string
  /** The data folder, as an absolute path; the gateway makes it. */
  readonly data: string
  /** The parsed options of each protocol that is served, by the protocol's name. */
  readonly listen: Readonly<Record<string, unknown>>
  /** The http listener's address: `listen.http`, or its defaults when the YAML does not open one. */
  readonly http: SharedListener
  /** The channel layer. */
  readonly layer: LayerSettings
  /** The named channels that are served in the gateway's own process. */
  readonly workers: readonly WorkerSettings[]
  /** How stored events are kept and tried. */
  readonly journal: JournalOptions
  /** The worker threads for handlers that block. */
  readonly sync: BridgeOptions
  /** Undefined: there is no admin listener. */
  readonly admin: AdminSettings | undefined
  /** The one application of the gateway, with every router and middleware around it. */
  readonly application: Application
  /** Names the lifespan application and the version of its module; empty: there is none. */
  readonly lifespan: string
  /** The URLs of the modules whose handlers run on worker threads. */
  readonly blocking: readonly string[]
  /** How long an application may go on after its scope ended, in milliseconds. */
  readonly closeTimeout: number
  /** How long open scopes may take when the gateway closes, in milliseconds. */
  readonly drainTimeout: number
  readonly log: { readonly level: LogLevel }
}

/** One protocol as the registry holds it: light enough to be always loaded; adapter and client come when they are needed. */
import type { ZodType } from 'zod'
import type { Adapter, ListenAddress, TlsFiles, Unrouted } from './adapter.ts'
import type { DeliveryMode } from './delivery.ts'
import type { Protocol } from './protocol.ts'
import type { RouterDefinition } from './router.ts'

/** One protocol's entry in the registry: light enough to be loaded always. */
export interface ProtocolDefinition<P extends Protocol = Protocol, Options = unknown> {
  readonly name: P['scope']['type']
  /** The schema of `listen.NAME`; every setting has a default or an error that says what to write. */
  readonly options: ZodType<Options>
  /** The modes of delivery that a rule may choose; left out: none, because the application's own answer is the answer. */
  readonly delivery?: readonly DeliveryMode[]
  /** The routers that YAML may use below this protocol. */
  readonly routers: readonly RouterDefinition[]
  /** Loads the adapter: the only import of the protocol's packages. */
  load(): Promise<{ readonly adapter: Adapter<P, Options> }>
  /** Loads the client of `signalbox send`. */
  loadClient(): Promise<{ readonly client: Client }>
  /** Loads what shows a stored body to a person; left out: a body is shown as text where it is text. */
  loadBodyReader?(): Promise<{ readonly readBody: ReadBody }>
  /** The command line of `signalbox send NAME`, e.g. `TOPIC MESSAGE [--qos N]`, and one example. */
  readonly sendUsage: SendUsage
  /** The scope that a peer at this address would get, for `signalbox explain NAME ADDRESS`; throws on a malformed address. */
  sampleScope(address: string): Unrouted<P['scope']>
  /** What is unsafe about these options off loopback, or cannot be, each as a sentence that says what to write. */
  refuse?(options: Options, shared: SharedSettings): readonly Refusal[]
  /** Why several processes cannot serve these options on one port, as a sentence that says what to write; undefined: they can. */
  refuseProcesses?(options: Options, shared: SharedByProcesses): string | undefined
}
/** A body as a person reads it: decoded, with what is no text named. */
export type ReadBody = (body: Uint8Array) => Promise<string>
/** What the processes of one gateway have in common. */
export interface SharedByProcesses {
  /** The layer is on Redis. */
  readonly redis: boolean
}
/** What else in the YAML a protocol's options may not go with. */
export interface SharedSettings {
  readonly http: { readonly address: ListenAddress }
  /** The layer's Redis is said to be a cluster. */
  readonly redisCluster?: boolean
}
export interface Refusal {
  /** The setting, below `listen.NAME`, as a path. */
  readonly path: readonly string[]
  readonly message: string
}
export interface SendUsage {
  readonly arguments: readonly { readonly name: string; readonly description: string; readonly optional?: boolean }[]
  readonly options: readonly { readonly name: string; readonly value?: string; readonly description: string }[]
  readonly example: string
}

/** The protocol type behind a registry entry. */
export type ProtocolOf<D> = D extends ProtocolDefinition<infer P, infer _> ? P : never

/** How `signalbox send PROTOCOL …` plays a client. */
export interface Client {
  /** The positional arguments and options of the command, for the argument parser. */
  send(
    arguments_: readonly string[],
    options: Readonly<Record<string, string>>,
    target: ClientTarget,
  ): Promise<ClientAnswer>
}
/** What the YAML says of the listener to talk to. */
export interface ClientTarget {
  /** This protocol's `listen` entry, parsed. */
  readonly options: unknown
  /** The http listener's entry, parsed, for the protocols that share it. */
  readonly http: { readonly address: ListenAddress; readonly tls?: TlsFiles | undefined }
  readonly signal: AbortSignal
  /** Shows something as it comes; left out: all of it comes with the answer. */
  readonly print?: (text: string) => void
  /** The peer has answered: from here on `signal` has no time limit. */
  readonly answered?: () => void
}
export interface ClientAnswer {
  /** True when the peer gave a positive answer: the command's exit code is 0 only then. */
  readonly positive: boolean
  /** What came back on the wire and was not printed, for a person; empty: nothing more. */
  readonly text: string
}

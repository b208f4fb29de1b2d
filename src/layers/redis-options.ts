/** What the Redis layer can be told, beside what every layer can. */
import type { Log } from '../asgi/context.ts'
import type { LayerOptions } from './limits.ts'

export interface RedisTlsOptions {
  /** PEM: the authorities that the server's certificate is checked against. */
  readonly ca?: string | Buffer
  /** PEM: this client's own certificate, with its key. */
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  readonly servername?: string
}

export interface RedisLayerOptions extends LayerOptions {
  /** `redis://[[username]:password@]host[:port][/database]`, or `rediss://` for TLS. Default redis://127.0.0.1:6379. */
  readonly url?: string
  readonly username?: string
  readonly password?: string
  /** Keys are in this database; pub/sub messages reach every database of a server: two systems there need two prefixes. */
  readonly database?: number
  readonly tls?: true | RedisTlsOptions
  /** Every key and every pub/sub name begins with this and a colon. Default `signalbox`. */
  readonly prefix?: string
  /** Whether the server is a cluster. Default: it is asked. */
  readonly cluster?: boolean
  /** The name of this process, unique among all: channels of this process begin with it. Default: a random one. */
  readonly process?: string
  /** Milliseconds after which a process that says nothing is dead to `groupMembers`. Default 15 s. */
  readonly presenceTimeout?: number
  /** Milliseconds after which the unfinished message of a worker that says nothing is given to another. Default 30 s. */
  readonly claimAfter?: number
  /** Milliseconds that opening the layer waits for Redis before it goes on without. Default 5 s. */
  readonly connectTimeout?: number
  /** Milliseconds without an answer after which a Redis that has taken the connection counts as away. Default 10 s. */
  readonly answerTimeout?: number
  /** Dead letters that are kept for each channel. Default 1,000. */
  readonly maxDeadLetters?: number
  readonly log?: Log
}

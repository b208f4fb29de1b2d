/** The connections to Redis: commands on one, subscriptions on another, and one for each read that blocks. */
import type { RedisClientOptions, RedisClientType } from '@redis/client'
import { reason } from '../runtime/errors.ts'
import { silence } from './answers.ts'
import type { RedisLayerOptions } from './redis-options.ts'

export interface LinkEvents {
  /** Commands and subscriptions go through again. */
  readonly onReady: () => void
  /** Something is away that the link itself will mend. */
  readonly onDown: (error: unknown) => void
  /** What was subscribed to may not be subscribed to again. */
  readonly onRefused: (error: unknown) => void
  /** A connection is broken, or commands go out and no answer comes: the link is to be closed, and a new one opened. */
  readonly onLost: (error: unknown) => void
  readonly onMessage: (name: string, payload: Buffer) => void
}

/** A connection of its own for commands that wait in the server. It is never mended: a broken one is thrown away. */
export interface BlockingConnection {
  /** The server's number for it, for CLIENT UNBLOCK. */
  readonly id: string
  command(args: readonly string[]): Promise<unknown>
  destroy(): void
}

/** The same for one server and for a cluster, where the key says which node is meant. Nothing is queued while Redis is away. */
export interface RedisLink {
  readonly ready: boolean
  command(key: string, args: readonly string[]): Promise<unknown>
  /** Answers how many connections got it. */
  publish(name: string, message: string): Promise<number>
  subscribe(names: readonly string[]): Promise<void>
  unsubscribe(name: string): Promise<void>
  /** Asks for a sign of life where messages come from: there, silence looks like peace. */
  probe(): void
  block(key: string): Promise<BlockingConnection>
  /** Deletes every key that matches one of the patterns. */
  deleteKeys(patterns: readonly string[]): Promise<void>
  /** Resolves when every command has its answer. */
  settled(): Promise<void>
  close(): void
}

/** How long an attempt to connect may take. */
export interface Patience {
  /** Milliseconds from the connection to the answer. */
  readonly answerTimeout: number
  readonly signal: AbortSignal
}

/** Commands that may wait for their answer: a server that hangs must not fill this process. */
const maxCommands = 50_000

/** Milliseconds that a connection of TCP and TLS may take to come about. */
export const connectTimeout = 5000

/** See `RedisLayerOptions.answerTimeout`. */
export const defaultAnswerTimeout = 10_000

export type ClientOptions = RedisClientOptions & { readonly socket: object }

/** Milliseconds before the attempt to connect with this number, from 0: at once at first, then every two seconds. */
export function retryDelay(attempt: number): number {
  return Math.min(2000, 50 * 2 ** Math.min(attempt, 10)) * (0.75 + Math.random() / 2)
}

export function clientOptions(options: RedisLayerOptions): ClientOptions {
  const { url = 'redis://127.0.0.1:6379', username, password, database, tls } = options
  const socket = {
    connectTimeout,
    keepAliveInitialDelay: 5000,
    // A broken connection is thrown away, with its link.
    reconnectStrategy: false as const,
    ...(tls !== undefined && { tls: true as const, ...(tls === true ? {} : tls) }),
  }
  return {
    // The scheme of the URL would win over the option.
    url: tls === undefined ? url : url.replace(/^redis:/, 'rediss:'),
    socket,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && { database }),
    RESP: 3,
    disableOfflineQueue: true,
    commandsQueueMaxLength: maxCommands,
    maintNotifications: 'disabled',
    disableClientInfo: true,
    // Commands are written at once or refused: a timer for each would be the dearest part of it.
    commandOptions: { timeout: 0 },
  }
}

/**
 * Connects a client, and asks for what is to be known first. A server that takes the connection and then says nothing is given
 * up. A client with which it fails is destroyed.
 */
export async function attempt<Answer>(
  client: RedisClientType,
  { answerTimeout, signal }: Patience,
  ask: () => Promise<Answer>,
): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined
  const given = new AbortController()
  const ended = AbortSignal.any([signal, given.signal])
  ended.throwIfAborted()
  const giveUp = () => client.destroy()
  ended.addEventListener('abort', giveUp, { once: true })
  client.once('connect', () => {
    timer = setTimeout(() => given.abort(silence(answerTimeout)), answerTimeout)
  })
  try {
    await client.connect()
    const answer = await ask()
    ended.throwIfAborted()
    return answer
  } catch (error) {
    // Also one that was destroyed before it had a connection, and has got one now.
    client.destroy()
    ended.throwIfAborted()
    throw error
  } finally {
    clearTimeout(timer)
    ended.removeEventListener('abort', giveUp)
  }
}

/** A blocking connection with the options of another client. */
export async function openBlocking(client: RedisClientType, patience: Patience): Promise<BlockingConnection> {
  const { socket } = client.options
  const own = client.duplicate({
    socket: { ...socket, reconnectStrategy: false, socketTimeout: undefined },
    pingInterval: undefined,
  } as never) as RedisClientType
  own.on('error', ignore) // whoever waits on it is told by its command
  const id = await attempt(own, patience, () => own.sendCommand<number>(['CLIENT', 'ID']))
  return { id: String(id), command: (args) => own.sendCommand(args), destroy: () => own.destroy() }
}

/** Deletes what matches on one server, a few keys at a time. */
export async function deleteKeysOf(client: RedisClientType, pattern: string): Promise<void> {
  for await (const keys of client.scanIterator({ MATCH: pattern, COUNT: 1000 })) {
    // One by one: in a cluster two keys may be in two slots of one node.
    await Promise.all(keys.map((key) => client.sendCommand(['UNLINK', key])))
  }
}

/** Whether Redis has answered, and with an error, which begins with a code: no connection broke. */
export function isRefusal(error: unknown): boolean {
  return /^[A-Z]{2,} /.test(reason(error))
}

/** What to say when Redis does not take the login, or wants one; undefined: it is something else. */
export function loginText(error: unknown): string | undefined {
  const why = reason(error)
  if (!/^(?:WRONGPASS|NOAUTH) /.test(why)) return undefined
  return `Redis refuses the login (${why}): look at username and password under layer.redis, or in its url`
}

export function ignore(): void {}

/** The connections to Redis: commands on one, subscriptions on another, and one for each read that blocks. */
import type { RedisClientOptions, RedisClientType } from '@redis/client'
import type { RedisLayerOptions } from './redis-options.ts'

export interface LinkEvents {
  /** Commands and subscriptions go through, for the first time or again. */
  readonly onReady: () => void
  readonly onDown: (error: unknown) => void
  /** Commands go out, and no answer comes: the link is to be closed, and a new one opened. */
  readonly onSilence: (error: Error) => void
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
  block(key: string): Promise<BlockingConnection>
  /** Deletes every key that matches one of the patterns. */
  deleteKeys(patterns: readonly string[]): Promise<void>
  /** Resolves when every command has its answer. */
  settled(): Promise<void>
  close(): void
}

/** Commands that may wait for their answer: a server that hangs must not fill this process. */
const maxCommands = 50_000

/** See `RedisLayerOptions.answerTimeout`. */
export const defaultAnswerTimeout = 10_000

export type ClientOptions = RedisClientOptions & { readonly socket: object }

export function clientOptions(options: RedisLayerOptions): ClientOptions {
  const { url = 'redis://127.0.0.1:6379', username, password, database, tls } = options
  const socket = {
    connectTimeout: 5000,
    keepAliveInitialDelay: 5000,
    reconnectStrategy: (retries: number) =>
      Math.min(2000, 50 * 2 ** Math.min(retries, 10)) * (0.75 + Math.random() / 2),
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

/** A blocking connection with the options of another client. */
export async function openBlocking(client: RedisClientType): Promise<BlockingConnection> {
  await client.connect()
  try {
    const id = String(await client.sendCommand<number>(['CLIENT', 'ID']))
    return { id, command: (args) => client.sendCommand(args), destroy: () => client.destroy() }
  } catch (error) {
    client.destroy()
    throw error
  }
}

/** Deletes what matches on one server, a few keys at a time. */
export async function deleteKeysOf(client: RedisClientType, pattern: string): Promise<void> {
  for await (const keys of client.scanIterator({ MATCH: pattern, COUNT: 1000 })) {
    // One by one: in a cluster two keys may be in two slots of one node.
    await Promise.all(keys.map((key) => client.sendCommand(['UNLINK', key])))
  }
}

export function ignore(): void {}

/** One named channel as a Redis Stream: read when somebody waits, acknowledged after handling, taken over from the dead. */
import { setTimeout as pause } from 'node:timers/promises'
import type { ConsumeOptions, WorkHandler } from '../asgi/channel-layer.ts'
import type { Event } from '../asgi/protocol.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import type { DeadLetter, RetryOptions } from './limits.ts'
import type { RedisBase } from './redis-base.ts'
import { Flaw, type RawEntry, entriesOf, readEntry } from './redis-entry.ts'
import { type BlockingConnection, type RedisLink, ignore } from './redis-link.ts'
import {
  ackScript,
  buryScript,
  claimScript,
  evalArgs,
  pruneScript,
  releaseScript,
  renewScript,
  retryScript,
  workers,
} from './redis-scripts.ts'
import { Trouble } from './trouble.ts'
import { type Job, Retries, workOff } from './work.ts'

export interface WorkStreamParts {
  readonly base: RedisBase
  readonly channel: string
  readonly retry: RetryOptions
  readonly claimAfter: number
  readonly answerTimeout: number
  readonly expiry: number
  readonly maxMessageSize: number
  readonly maxDeadLetters: number
  readonly now: () => number
  readonly onDeadLetter: (letter: DeadLetter) => void
  /** Nobody reads it any more: it may be forgotten. */
  readonly onIdle: () => void
}

/** A message in the hands of this process, from being read to being acknowledged. */
interface Held {
  readonly id: string
  readonly text: string
  readonly message: Event
  attempt: number
}

interface Taker {
  readonly resolve: (held: Held) => void
  readonly reject: (error: unknown) => void
}

/** The connection of a channel that nobody reads is kept for so long, because a loop of `receive` comes back at once. */
const keepFor = 10_000

/** Workers that hold nothing and were not heard of for so long are forgotten. */
const pruneAfter = 86_400_000

export class WorkStream {
  readonly #parts: WorkStreamParts
  readonly #key: string
  readonly #takers = new Set<Taker>()
  readonly #held = new Map<string, Held>()
  /** Tried again, and waiting for a free worker. */
  readonly #due: Held[] = []
  readonly #retries: Retries<Held>
  readonly #stop = new AbortController()
  readonly #trouble: Trouble
  #connection: BlockingConnection | undefined
  #reading = false
  /** How many messages the read that is under way may bring. */
  #asked = 0
  #read: Promise<unknown> = Promise.resolve()
  #claimFirst = true
  #consumers = 0
  #tick: NodeJS.Timeout | undefined
  #idle: NodeJS.Timeout | undefined

  constructor(parts: WorkStreamParts) {
    this.#parts = parts
    this.#key = parts.base.names.stream(parts.channel)
    this.#trouble = new Trouble(parts.base.log, `reading channel ${parts.channel}`)
    this.#retries = new Retries(parts.retry, (held) => void this.#tryAgain(held))
  }

  /** At most once: the message is acknowledged before it is handed out. */
  async receive(signal: AbortSignal | undefined): Promise<Event> {
    for (;;) {
      const held = await this.#take(signal)
      if (await this.#acknowledge(held)) return held.message
    }
  }

  async consume(handler: WorkHandler, options: ConsumeOptions): Promise<void> {
    this.#consumers++
    try {
      await workOff(async (signal) => this.#job(await this.#take(signal)), handler, options)
    } finally {
      this.#consumers--
      // What waits for its next attempt is for others now.
      if (this.#consumers === 0) await this.#release([...this.#retries.clear(), ...this.#due.splice(0)])
    }
  }

  /** The link was opened anew: what waits in the server on an old connection may wait for ever. */
  reconnect(): void {
    this.#connection?.destroy()
  }

  /** What is in hand stays in the stream, for others to take over. */
  async close(): Promise<void> {
    const waiting = [...this.#retries.clear(), ...this.#due.splice(0)]
    this.#stop.abort(new SignalboxError('closing', `the layer of channel ${this.#parts.channel} is closed`))
    for (const taker of this.#takers) taker.reject(this.#stop.signal.reason)
    this.#takers.clear()
    clearInterval(this.#tick)
    clearTimeout(this.#idle)
    this.#connection?.destroy()
    await this.#release(waiting)
    await this.#script(pruneScript, [pruneAfter, this.#parts.base.process]).catch(ignore)
  }

  #take(signal: AbortSignal | undefined): Promise<Held> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#stop.signal.aborted) return Promise.reject(this.#stop.signal.reason)
    const due = this.#due.shift()
    if (due) return Promise.resolve(due)
    const { promise, resolve, reject } = Promise.withResolvers<Held>()
    const cancel = () => {
      if (!this.#takers.delete(taker)) return
      // When the server no longer has a read of ours that asks for more, what is sent next stays where it is.
      void this.#askLess().then(() => reject(signal?.reason))
    }
    const settle =
      <Value>(how: (value: Value) => void) =>
      (value: Value) => {
        signal?.removeEventListener('abort', cancel)
        how(value)
      }
    const taker = { resolve: settle(resolve), reject: settle(reject) }
    this.#takers.add(taker)
    signal?.addEventListener('abort', cancel, { once: true })
    void this.#readOn()
    return promise
  }

  /** Reads for as long as somebody waits. */
  async #readOn(): Promise<void> {
    // Also when it reads already: a read that nobody waited for can last long, and meanwhile nobody looked after anything.
    this.#tick ??= setInterval(() => void this.#onTick(), this.#parts.claimAfter / 3).unref()
    if (this.#reading) return
    this.#reading = true
    clearTimeout(this.#idle)
    let failures = 0
    while (this.#takers.size > 0 && !this.#stop.signal.aborted) {
      try {
        await this.#readOnce()
        failures = 0
        this.#trouble.over()
      } catch (error) {
        this.#connection?.destroy()
        this.#connection = undefined
        failures++
        if (this.#parts.base.link && failures > 1) this.#trouble.failed(error)
        await pause(Math.min(2000, 20 * 2 ** failures), undefined, { signal: this.#stop.signal }).catch(ignore)
      } finally {
        this.#asked = 0
      }
    }
    this.#reading = false
    // It may have been opened after the end.
    if (this.#stop.signal.aborted) this.#connection?.destroy()
    else this.#idle = setTimeout(() => this.#onIdle(), keepFor).unref()
  }

  async #readOnce(): Promise<void> {
    const link = await this.#parts.base.untilReady(this.#stop.signal)
    const connection = (this.#connection ??= await this.#connect(link))
    await this.#claimAll()
    this.#asked = this.#takers.size
    if (this.#asked === 0) return
    const group = ['GROUP', workers, this.#parts.base.process]
    const read = connection.command([
      'XREADGROUP',
      ...group,
      'COUNT',
      String(this.#asked),
      'BLOCK',
      '0',
      'STREAMS',
      this.#key,
      '>',
    ])
    this.#read = read.catch(ignore)
    const reply = await read
    this.#asked = 0
    for (const entry of entriesOf(reply)) this.#arrived(entry, 1)
  }

  async #connect(link: RedisLink): Promise<BlockingConnection> {
    try {
      // Not on the connection that waits: the link finds the node of the channel, which in a cluster may be another one by now.
      await link.command(this.#key, ['XGROUP', 'CREATE', this.#key, workers, '0', 'MKSTREAM'])
    } catch (error) {
      if (!reason(error).startsWith('BUSYGROUP')) throw error
      await this.#script(pruneScript, [pruneAfter, ''])
    }
    this.#claimFirst = true
    return await link.block(this.#key)
  }

  /** What was there before goes before what is new: for as long as there may be something that somebody waits for. */
  async #claimAll(): Promise<void> {
    while (this.#claimFirst && this.#takers.size > 0) await this.#claim()
  }

  /** Takes over what workers hold that were not heard of for a while, as much of it as somebody waits for. */
  async #claim(): Promise<void> {
    const most = this.#takers.size
    if (most === 0) return
    const { base, claimAfter } = this.#parts
    // Now, because what is given back meanwhile is to be looked for again.
    this.#claimFirst = false
    const reply = await this.#script(claimScript, [base.process, claimAfter, most])
    const found = reply as readonly (readonly [id: string, fields: readonly string[], attempt: number])[]
    if (found.length === most) this.#claimFirst = true
    for (const [id, fields, attempt] of found) {
      // What this process still holds it has only been late to say so.
      if (!this.#held.has(id)) this.#arrived([id, fields], attempt)
    }
    await this.#askLess()
  }

  #arrived(raw: RawEntry, attempt: number): void {
    const { expiry, maxMessageSize, now } = this.#parts
    const { id, text, at, content } = readEntry(raw, maxMessageSize)
    const letter = { id, text, attempt }
    if (content instanceof Flaw) void this.#bury(letter, content)
    else if (at + expiry <= now()) void this.#bury(letter, new Flaw('expired', 'no worker took it in time'))
    else if (this.#retries.isLast(attempt - 1)) void this.#bury(letter, new Flaw('failed', 'its workers died'))
    else this.#give({ ...letter, message: content })
  }

  #give(held: Held): void {
    const [taker] = this.#takers
    if (taker) {
      this.#held.set(held.id, held)
      this.#takers.delete(taker)
      taker.resolve(held)
    } else if (this.#consumers > 0 && this.#held.has(held.id)) this.#due.push(held)
    // Its receiver was cancelled just now: it goes back, as if nobody had had it.
    else void this.#release([{ ...held, attempt: held.attempt - 1 }])
  }

  #job(held: Held): Job {
    return {
      message: held.message,
      attempt: held.attempt,
      done: async () => {
        await this.#acknowledge(held)
      },
      failed: async (error, stopped) => {
        if (this.#retries.isLast(held.attempt)) await this.#bury(held, new Flaw('failed', reason(error)))
        else await this.#retries.later(held, held.attempt, stopped)
      },
    }
  }

  async #tryAgain(held: Held): Promise<void> {
    const { reply } = await this.#persist(retryScript, [this.#parts.base.process, held.id])
    // Without an answer it is counted here alone.
    const attempt = Number(reply ?? held.attempt + 1)
    if (attempt === 0) this.#held.delete(held.id)
    else if (!this.#stop.signal.aborted) this.#give(Object.assign(held, { attempt }))
  }

  /** Answers false when another worker has the message now. */
  async #acknowledge(held: Held): Promise<boolean> {
    const { reply, again } = await this.#persist(ackScript, [held.id])
    this.#held.delete(held.id)
    // When the first answer was lost with the connection, 0 may mean that it was acknowledged then.
    return reply === 1 || again
  }

  async #bury({ id, text, attempt }: Omit<Held, 'message'>, { reason: why, error }: Flaw): Promise<void> {
    const { channel, base, maxDeadLetters, onDeadLetter } = this.#parts
    const fields = ['message', text, 'reason', why, 'error', error, 'attempts', attempt, 'id', id]
    const { reply } = await this.#persist(buryScript, [id, maxDeadLetters, ...fields], [base.names.dead(channel)])
    this.#held.delete(id)
    if (reply === 1) onDeadLetter({ channel, message: text, attempts: attempt, reason: why, error })
  }

  async #release(messages: readonly Held[]): Promise<void> {
    for (const { id } of messages) this.#held.delete(id)
    if (messages.length === 0) return
    this.#claimFirst = true
    // If this fails, the others wait until the messages have been silent for long enough.
    await this.#script(releaseScript, [
      this.#parts.base.process,
      ...messages.flatMap(({ id, attempt }) => [id, attempt]),
    ]).catch(ignore)
    // Who waits already waits for what is new.
    await this.#claimAll().catch(ignore)
  }

  /** Ends a read that may bring more messages than somebody waits for. */
  async #askLess(): Promise<void> {
    const deadline = performance.now() + this.#parts.answerTimeout
    for (let wait = 2; this.#asked > this.#takers.size; wait = Math.min(500, wait * 2)) {
      const { link } = this.#parts.base
      const connection = this.#connection
      if (!link || !connection) return
      try {
        const ended = await link.command(this.#key, ['CLIENT', 'UNBLOCK', connection.id])
        // 0: the read has just returned, or has not yet arrived. If it stays so, what Redis said on its connection is lost.
        if (ended !== 1 && performance.now() > deadline) connection.destroy()
        await (ended === 1 ? this.#read : Promise.race([this.#read, pause(wait)]))
      } catch {
        return
      }
    }
  }

  async #onTick(): Promise<void> {
    if (this.#held.size === 0 && this.#takers.size === 0) {
      clearInterval(this.#tick)
      this.#tick = undefined
      return
    }
    if (!this.#parts.base.link) return
    try {
      if (this.#held.size > 0) await this.#script(renewScript, [this.#parts.base.process, ...this.#held.keys()])
      await this.#claim()
      // What was found may have been for nobody: too large, too old, tried too often.
      await this.#claimAll()
    } catch (error) {
      // What was to be taken over may be there still.
      this.#claimFirst = true
      this.#parts.base.log.debug({ err: error }, `channel ${this.#parts.channel} was not looked after`)
    }
  }

  #onIdle(): void {
    if (this.#reading) return
    this.#connection?.destroy()
    this.#connection = undefined
    if (this.#held.size === 0 && this.#consumers === 0) this.#parts.onIdle()
  }

  async #script(script: string, args: readonly (string | number)[], keys: readonly string[] = []): Promise<unknown> {
    const { link } = this.#parts.base
    if (!link) throw new SignalboxError('send_failed', 'Redis is away')
    return link.command(this.#key, evalArgs(script, [this.#key, ...keys], args))
  }

  /** Runs a script until it has an answer, over every outage. `again`: it may have run before, without an answer. */
  async #persist(script: string, args: readonly (string | number)[], keys: readonly string[] = []) {
    let again = false
    for (let failures = 0; !this.#stop.signal.aborted; failures++) {
      try {
        await this.#parts.base.untilReady(this.#stop.signal)
        return { reply: await this.#script(script, args, keys), again }
      } catch (error) {
        if (failures > 5 && this.#parts.base.link) {
          this.#parts.base.log.error(
            { err: error },
            `Redis refuses to say what became of a message of channel ${this.#parts.channel}`,
          )
          break
        }
        again = true
        await pause(Math.min(2000, 20 * 2 ** failures), undefined, { signal: this.#stop.signal }).catch(ignore)
      }
    }
    return { reply: undefined, again }
  }
}

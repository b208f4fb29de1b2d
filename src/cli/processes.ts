/** The processes of one gateway, as the one that started them keeps them: started, replaced when they die, and ended. */
import cluster, { type Worker } from 'node:cluster'
import type { Log } from '../asgi/context.ts'
import { isNews, type News, type Order } from './primary.ts'

interface ProcessesOptions {
  readonly count: number
  /** The command line of process `number`, which counts from 1. */
  readonly arguments: (number: number) => readonly string[]
  readonly log: Log
}

interface Member {
  readonly number: number
  worker: Worker | undefined
  /** When it began to serve, by `performance.now()`; undefined: it does not yet. */
  serving: number | undefined
  /** Milliseconds before it is started again when it dies. */
  pause: number
  timer: NodeJS.Timeout | undefined
}

/** Milliseconds before a process that died is started again; doubled each time until it has served for a while. */
const firstPause = 100
const longestPause = 10_000
const steady = 30_000

export class Processes {
  readonly #options: ProcessesOptions
  readonly #members: Member[] = []
  #greeting = ''
  #started = false
  #closing: Promise<boolean> | undefined

  constructor(options: ProcessesOptions) {
    this.#options = options
  }

  /** What the first process says of where it listens. */
  get greeting(): string {
    return this.#greeting
  }

  /**
   * Starts the first process, and when it serves the others: what it makes in the data folder is there for them. Resolves when
   * all serve, or with the exit code of the first one that ended before.
   */
  async start(): Promise<number | undefined> {
    const first = await this.#add(1)
    if (first !== undefined) return first
    const others = Array.from({ length: this.#options.count - 1 }, (_, index) => this.#add(index + 2))
    const ended = (await Promise.all(others)).find((code) => code !== undefined)
    this.#started = ended === undefined
    return ended
  }

  /** Has each read the YAML again. */
  reload(except?: Member): void {
    for (const member of this.#members) if (member !== except) this.#order(member, { kind: 'reload' })
  }

  /** Lets each end what it has in hand. Resolves when none is left, with whether all came to their own end. */
  close(why = 'the start of the others failed'): Promise<boolean> {
    this.#closing ??= this.#close(why)
    return this.#closing
  }

  /** Ends all of them at once. */
  kill(): void {
    for (const { worker } of this.#members) worker?.process.kill('SIGKILL')
  }

  async #close(why: string): Promise<boolean> {
    const ends = this.#members.map(async (member) => {
      clearTimeout(member.timer)
      const { worker } = member
      if (!worker) return true
      const { promise, resolve } = Promise.withResolvers<number | null>()
      worker.once('exit', (code: number | null) => resolve(code))
      this.#order(member, { kind: 'close', why })
      return (await promise) === 0
    })
    return (await Promise.all(ends)).every(Boolean)
  }

  /** Resolves when it serves, or with its exit code when it ends before. */
  #add(number: number): Promise<number | undefined> {
    const member: Member = { number, worker: undefined, serving: undefined, pause: firstPause, timer: undefined }
    const { promise, resolve } = Promise.withResolvers<number | undefined>()
    if (this.#closing) return Promise.resolve(0)
    this.#members.push(member)
    const worker = this.#fork(member)
    worker.on('message', () => {
      if (member.serving !== undefined) resolve(undefined)
    })
    worker.once('exit', (code: number | null) => resolve(code ?? 1))
    return promise
  }

  #fork(member: Member): Worker {
    cluster.setupPrimary({ args: [...this.#options.arguments(member.number)] })
    const worker = cluster.fork()
    member.worker = worker
    member.serving = undefined
    worker.on('message', (message: unknown) => {
      if (isNews(message)) this.#hear(member, message)
    })
    worker.on('error', (err) => this.#options.log.error({ err, process: member.number }, 'a process cannot be reached'))
    worker.once('exit', (code: number | null, signal: string | null) => this.#onExit(member, signal ?? code))
    return worker
  }

  #hear(member: Member, news: News): void {
    if (news.kind === 'reloaded') return this.reload(member)
    member.serving = performance.now()
    if (member.number === 1) this.#greeting = news.greeting
    if (this.#started) this.#options.log.info({ process: member.number }, 'the process serves again')
  }

  #onExit(member: Member, how: number | string | null): void {
    const { number, serving } = member
    member.worker = undefined
    member.serving = undefined
    // One that does not start for the first time keeps the whole from starting.
    if (this.#closing || (!this.#started && serving === undefined)) return
    if (serving !== undefined && performance.now() - serving > steady) member.pause = firstPause
    const { pause } = member
    member.pause = Math.min(pause * 2, longestPause)
    this.#options.log.error(
      { process: number, ended: how, pause },
      `process ${number} has ended (${how}): another is started`,
    )
    member.timer = setTimeout(() => this.#fork(member), pause)
  }

  #order({ worker }: Member, order: Order): void {
    if (worker?.isConnected()) worker.send(order)
  }
}

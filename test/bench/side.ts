/** One side of a case while it is measured: a server, and a load generator that stands still between its turns. */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LoadConfig, LoadPlan } from './load/load.ts'
import type { Reading } from './load/main.ts'
import { Process, root } from './processes.ts'
import { Server, type ServerName, type ServerOptions } from './servers.ts'

/** What was done in some time. */
export interface Work {
  readonly done: number
  /** Milliseconds. */
  readonly elapsed: number
  /** Milliseconds of the generator's processor. */
  readonly own: number
  /** Microseconds of the server's processor; NaN where it is not known. */
  readonly server: number
}

export const noWork: Work = { done: 0, elapsed: 0, own: 0, server: 0 }

/** Until both are at work again after they stood still, in milliseconds. */
const settling = 30

export class Side implements AsyncDisposable {
  readonly server: Server
  readonly #generator: Process

  /** Resolves when its load has begun; it stands still then. */
  static async start(name: ServerName, options: ServerOptions, load: LoadPlan): Promise<Side> {
    const server = await Server.start(name, options)
    const side = new Side(server, startLoad(server, load))
    try {
      await side.#generator.until(/^loading$/)
      side.#generator.signal('SIGSTOP')
      return side
    } catch (error) {
      await side[Symbol.asyncDispose]()
      throw error
    }
  }

  private constructor(server: Server, generator: Process) {
    this.server = server
    this.#generator = generator
  }

  /** At work for so many milliseconds. */
  async work(milliseconds: number): Promise<Work> {
    this.#generator.signal('SIGCONT')
    await sleep(settling)
    const before = await this.#read()
    await sleep(milliseconds)
    const after = await this.#read()
    this.#generator.signal('SIGSTOP')
    return {
      done: after.done - before.done,
      elapsed: after.at - before.at,
      own: after.own - before.own,
      server: (after.server ?? NaN) - (before.server ?? NaN),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#generator[Symbol.asyncDispose]()
    await this.server[Symbol.asyncDispose]()
  }

  async #read(): Promise<Reading> {
    this.#generator.say('read')
    return JSON.parse((await this.#generator.until(/^\{/)).at(-1) ?? '') as Reading
  }
}

export function startLoad(server: Server, load: LoadPlan): Process {
  const config: LoadConfig = { ...load, urls: server.urls, serverPid: server.process.pid }
  const program = path.join(root, 'test', 'bench', 'load', 'main.ts')
  return new Process([process.execPath, program, JSON.stringify(config)], { processor: 'load' })
}

export function sum(first: Work, second: Work): Work {
  return {
    done: first.done + second.done,
    elapsed: first.elapsed + second.elapsed,
    own: first.own + second.own,
    server: first.server + second.server,
  }
}

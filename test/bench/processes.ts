/** The processes of a benchmark: started on a processor of their own, read line by line, and ended. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'

export const root = path.join(import.meta.dirname, '..', '..')

/** Two processors that this process may use: one for the server, one for the load. Undefined: they cannot be told apart. */
export const processors: Processors | undefined = findProcessors()

interface Processors {
  readonly server: number
  readonly load: number
}

function findProcessors(): Processors | undefined {
  if (process.platform !== 'linux' || spawnSync('taskset', ['--version']).status !== 0) return undefined
  const list = /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? ''
  const [server, load] = list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
  return server === undefined || load === undefined ? undefined : { server, load }
}

export interface ProcessOptions {
  readonly processor?: keyof Processors
  readonly environment?: Readonly<Record<string, string>>
}

/** A program that runs until it is ended. */
export class Process implements AsyncDisposable {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown>
  readonly #lines: string[] = []
  #error = ''
  #wake = Promise.withResolvers<void>()
  #over = false

  constructor(command: readonly string[], { processor, environment }: ProcessOptions = {}) {
    const pinned = processor && processors ? ['taskset', '-c', String(processors[processor]), ...command] : command
    const [program = '', ...rest] = pinned
    const child = spawn(program, rest, { cwd: root, env: { ...process.env, ...environment } })
    this.#child = child
    this.pid = child.pid ?? 0
    this.#closed = once(child, 'close').finally(() => {
      this.#over = true
      this.#wake.resolve()
    })
    createInterface(child.stdout).on('line', (line) => {
      this.#lines.push(line)
      this.#wake.resolve()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      this.#error = (this.#error + chunk.toString()).slice(-4000)
    })
  }

  /** Every line until one matches, that one too; they are taken. */
  async until(pattern: RegExp): Promise<readonly string[]> {
    for (;;) {
      const at = this.#lines.findIndex((line) => pattern.test(line))
      if (at >= 0) return this.#lines.splice(0, at + 1)
      if (this.#over) {
        throw new Error(`${this.#child.spawnargs.join(' ')} ended early:\n${this.#lines.join('\n')}\n${this.#error}`)
      }
      await this.#wake.promise
      if (!this.#over) this.#wake = Promise.withResolvers()
    }
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Lets it end by itself for a moment. */
  async end(): Promise<void> {
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 15_000)
    await this.#closed
    clearTimeout(timer)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }
}

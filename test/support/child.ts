/** Runs programs as child processes: whole, or line by line while they run. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'

const root = path.join(import.meta.dirname, '..', '..')
export const toyMain = path.join(root, 'test', 'support', 'toy-main.ts')
export const realMain = path.join(root, 'bin', 'signalbox.js')

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly error: string
}

interface ChildOptions {
  readonly folder?: string
  readonly environment?: Readonly<Record<string, string>>
  readonly input?: string
}

function start(program: string, given: readonly string[], { folder, environment }: ChildOptions) {
  const env = { PATH: process.env['PATH'] ?? '', ...environment }
  return spawn(process.execPath, [program, ...given], { cwd: folder ?? root, env })
}

/** Runs a command to its end. */
export async function run(program: string, given: readonly string[], options: ChildOptions = {}): Promise<Ended> {
  const child = start(program, given, options)
  child.stdin.end(options.input ?? '')
  const [out, error, [code]] = await Promise.all([read(child.stdout), read(child.stderr), once(child, 'close')])
  return { code: code as number | null, out, error }
}

async function read(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += String(chunk)
  return text
}

/** A program that runs until it is told to end; killed when the test is over. */
export class Running implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #closed: Promise<unknown>
  readonly #waiting = new Set<() => void>()
  out = ''
  error = ''

  constructor(program: string, given: readonly string[], options: ChildOptions = {}) {
    this.#child = start(program, given, options)
    this.#closed = once(this.#child, 'close')
    this.#child.stdout.on('data', (chunk: Buffer) => this.#add('out', chunk))
    this.#child.stderr.on('data', (chunk: Buffer) => this.#add('error', chunk))
    this.#child.on('close', () => this.#wake())
  }

  /** Resolves with the match when the output has it; rejects when the program ends without. */
  async sees(stream: 'out' | 'error', pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this[stream])
      if (found) return found
      if (this.#child.exitCode !== null) throw new Error(`it ended without ${pattern}:\n${this.out}${this.error}`)
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  /** Leaves the program writing to nobody. */
  stopReading(): void {
    this.#child.stdout.destroy()
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** How it ended. */
  async ended(): Promise<Ended> {
    await this.#closed
    return { code: this.#child.exitCode, out: this.out, error: this.error }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }

  #add(stream: 'out' | 'error', chunk: Buffer): void {
    this[stream] += chunk.toString()
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}

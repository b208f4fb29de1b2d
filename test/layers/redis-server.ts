/** A real redis-server for a test: on a free port, in a folder of its own, stopped by its process id. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Valkey, or another one that speaks as Redis does, can be tried in its place. */
const program = process.env['SIGNALBOX_REDIS_SERVER'] ?? 'redis-server'

export class RedisServer {
  readonly port: number
  readonly #args: readonly string[]
  readonly #folder = mkdtempSync(join(tmpdir(), 'signalbox-redis-'))
  #process: ChildProcess | undefined

  /** `args` are further options of redis-server. Nothing is kept on disk, unless they say so. */
  static async start(...args: readonly string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), args)
    await server.start()
    return server
  }

  private constructor(port: number, args: readonly string[]) {
    this.port = port
    this.#args = args
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const place = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#folder, '--daemonize', 'no']
    const child = spawn(program, [...place, '--save', '', '--appendonly', 'no', ...this.#args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    this.#process = child
    for await (const line of createInterface({ input: child.stdout }))
      if (line.includes('Ready to accept connections')) break
    child.stdout.resume()
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`)
  }

  /** As a crash: nothing is said to anybody. */
  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (!child) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  /** It takes connections and commands, and says nothing, until `wake`. */
  hang(): void {
    this.#process?.kill('SIGSTOP')
  }

  wake(): void {
    this.#process?.kill('SIGCONT')
  }

  async stop(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async cli(...args: readonly string[]): Promise<string> {
    return await runRedisCli('-h', '127.0.0.1', '-p', String(this.port), ...args)
  }

  /** Every command that clients send from now on, without what scripts do, until `stop`. */
  async monitor(): Promise<{ readonly stop: () => Promise<readonly string[]> }> {
    const socket = connect(this.port, '127.0.0.1')
    const lines: string[] = []
    const ended = Promise.withResolvers<void>()
    const started = Promise.withResolvers<void>()
    createInterface({ input: socket }).on('line', (line) => {
      if (line === '+OK') started.resolve()
      else if (line.includes('"end-of-monitor"')) ended.resolve()
      else if (!line.includes(' lua] ')) lines.push(line.replace(/^\+\S+ \[[^\]]*\] /, ''))
    })
    socket.write('MONITOR\r\n')
    await started.promise
    return {
      stop: async () => {
        await this.cli('ECHO', 'end-of-monitor')
        await ended.promise
        socket.destroy()
        // Whatever redis-cli itself says when it comes.
        return lines.filter((line) => !/^"(COMMAND|HELLO|CLIENT|command)"/.test(line))
      },
    }
  }
}

/** Answers what it prints; throws when it fails. */
export async function runRedisCli(...args: readonly string[]): Promise<string> {
  const { stdout } = await run('redis-cli', args)
  return stdout.trim()
}

/** Below those that the system gives to whoever asks for any: nobody gets it before it is listened on, or while its server is away. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 30_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

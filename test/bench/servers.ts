/** The servers that are measured: the gateway from a real YAML, and the bare libraries doing the same work. */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Process, root } from './processes.ts'

/** Which server: a YAML of the gateway, or a bare program with its arguments. */
export type ServerName = (GatewayName | { readonly bare: readonly string[] }) & Room

interface Room {
  /** It may use them all, and shares one with the load. Default: one that is its own. */
  readonly processors?: 'any'
}

interface GatewayName {
  readonly gateway: 'gateway' | 'redis' | 'stored'
  /** How many processes serve it. Default 1. */
  readonly processes?: number
}

export interface ServerOptions {
  /** More of Node's own arguments. */
  readonly node?: readonly string[]
  readonly redis?: string | undefined
}

export class Server implements AsyncDisposable {
  readonly process: Process
  readonly urls: Readonly<Record<string, string>>
  readonly #data: string

  /** Resolves when it listens. */
  static async start(name: ServerName, { node = [], redis = '' }: ServerOptions = {}): Promise<Server> {
    const data = await mkdtemp(path.join(tmpdir(), 'signalbox-bench-'))
    const child = new Process([process.execPath, ...node, ...programOf(name)], {
      ...(name.processors !== 'any' && { processor: 'server' }),
      environment: { BENCH_DATA: data, BENCH_REDIS: redis },
    })
    try {
      const lines = await child.until('bare' in name ? /^serving$/ : /^ +data /)
      const urls = lines.flatMap((line) => line.match(/\b(?:http|ws|mqtt|smtp):\/\/[\d.]+:\d+/) ?? [])
      return new Server(child, Object.fromEntries(urls.map((url) => [url.split(':')[0] ?? '', url])), data)
    } catch (error) {
      await child[Symbol.asyncDispose]()
      await rm(data, { recursive: true, force: true })
      throw error
    }
  }

  private constructor(child: Process, urls: Readonly<Record<string, string>>, data: string) {
    this.process = child
    this.urls = urls
    this.#data = data
  }

  /** As an operator ends it: with `--cpu-prof` Node writes its profile then. */
  async end(): Promise<void> {
    await this.process.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]()
    await rm(this.#data, { recursive: true, force: true })
  }
}

function programOf(name: ServerName): readonly string[] {
  const bench = path.join(root, 'test', 'bench')
  if ('gateway' in name) {
    const { gateway, processes = 1 } = name
    const file = path.join(bench, 'gateway', `${gateway}.yaml`)
    return [path.join(root, 'bin', 'signalbox.js'), 'serve', file, '--processes', String(processes)]
  }
  const [program = '', ...given] = name.bare
  return [path.join(bench, 'bare', `${program}.ts`), ...given]
}

/** A Redis on a free port that keeps nothing. */
export async function startRedis(program: string): Promise<AsyncDisposable & { readonly url: string }> {
  const port = await freePort()
  const child = new Process(
    [program, '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
    { processor: 'load' },
  )
  await child.until(/Ready to accept connections/)
  return { url: `redis://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() }
}

async function freePort(): Promise<number> {
  const server = createServer()
  const { promise, resolve } = Promise.withResolvers<number>()
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    server.close(() => resolve(port))
  })
  return promise
}

/** Several processes of the real program on one YAML, in a folder of their own: gateways, workers, commands, sockets. */
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { Running, realMain, run } from './child.ts'

const root = path.join(import.meta.dirname, '..', '..')

/** A gateway that runs, and what it is reached by. */
export interface RunningGateway {
  readonly process: Running
  /** Where each protocol listens, as the greeting says it. */
  readonly urls: Readonly<Record<string, URL>>
  /** What the YAML's variables must be for a command to talk to this one. */
  readonly environment: Readonly<Record<string, string>>
}

export class Gateways implements AsyncDisposable {
  readonly folder: string
  readonly #environment: Readonly<Record<string, string>>
  readonly #running: Running[] = []
  readonly #sockets: Socket[] = []

  /** `handlers` is a folder with `gateway.yaml` in it; handlers there may import `signalbox`. */
  static async create(handlers: string, environment: Readonly<Record<string, string>>): Promise<Gateways> {
    const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-gateways-'))
    await cp(handlers, folder, { recursive: true })
    await mkdir(path.join(folder, 'node_modules'))
    await symlink(root, path.join(folder, 'node_modules', 'signalbox'))
    await writeFile(path.join(folder, 'package.json'), '{ "type": "module" }')
    return new Gateways(folder, environment)
  }

  private constructor(folder: string, environment: Readonly<Record<string, string>>) {
    this.folder = folder
    this.#environment = environment
  }

  /** Starts a gateway on free ports, with a data folder of its own. */
  async serve(name: string, file = 'gateway.yaml', ...more: readonly string[]): Promise<RunningGateway> {
    const environment = this.#environmentOf(name)
    const process = this.begin(name, file, ...more)
    await process.sees('out', /^ {2}data .*$/m)
    const lines = process.out.matchAll(/^ {2}(\w+) +(\w+:\/\/\S+)/gm)
    const urls = Object.fromEntries(Array.from(lines, ([, protocol = '', url = '']) => [protocol, new URL(url)]))
    const hosts = Object.entries(urls).map(([protocol, { host }]) => [protocol.toUpperCase(), host])
    return { process, urls, environment: { ...environment, ...Object.fromEntries(hosts) } }
  }

  /** The same, without waiting for it. */
  begin(name: string, file = 'gateway.yaml', ...more: readonly string[]): Running {
    return this.#start(['serve', file, ...more], this.#environmentOf(name))
  }

  /** Starts a worker for these channels. */
  async work(...channels: readonly string[]): Promise<Running> {
    const process = this.#start(['worker', ...channels], { ...this.#environment, DATA: path.join(this.folder, 'data') })
    await process.sees('out', /works on/)
    return process
  }

  /** Runs a command to its end, and answers what it printed; with a gateway it talks to that one. Throws when it fails. */
  async run(given: readonly string[], gateway?: RunningGateway): Promise<string> {
    const environment = gateway?.environment ?? this.#environment
    const { code, out, error } = await run(realMain, given, { folder: this.folder, environment })
    if (code !== 0) throw new Error(`${given.join(' ')} ended with ${code}: ${error}`)
    return out
  }

  /** Closes every socket that is open. */
  closeSockets(): void {
    for (const socket of this.#sockets.splice(0)) socket.close()
  }

  /** How many are in the group, in all processes, as that gateway's admin listener says it. */
  async groupSize({ urls }: RunningGateway, group: string): Promise<number> {
    const response = await fetch(new URL(`/groups/${group}`, urls['admin']))
    return ((await response.json()) as { size: number }).size
  }

  /** Resolves when so many are in the group. */
  async untilGroupSize(gateway: RunningGateway, group: string, size: number): Promise<void> {
    while ((await this.groupSize(gateway, group)) !== size) await pause(20)
  }

  /** So many sockets to that gateway. */
  async connectAll(gateway: RunningGateway, where: string, count: number): Promise<readonly Socket[]> {
    return await Promise.all(Array.from({ length: count }, () => this.connect(gateway, where)))
  }

  /** Connects as a page of that gateway would. */
  async connect({ urls }: RunningGateway, where: string): Promise<Socket> {
    const { host } = urls['http'] as URL // every YAML of these tests listens for http
    const socket = new Socket(`ws://${host}${where}`, `http://${host}`)
    this.#sockets.push(socket)
    await socket.opened
    return socket
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closeSockets()
    await Promise.all(this.#running.map((process) => process[Symbol.asyncDispose]()))
    await rm(this.folder, { recursive: true, force: true })
  }

  #environmentOf(name: string): Readonly<Record<string, string>> {
    return { ...this.#environment, DATA: path.join(this.folder, `data-${name}`) }
  }

  #start(given: readonly string[], environment: Readonly<Record<string, string>>): Running {
    const process = new Running(realMain, given, { folder: this.folder, environment })
    this.#running.push(process)
    return process
  }
}

/** A WebSocket that keeps what it hears. */
export class Socket {
  readonly heard: string[] = []
  readonly opened: Promise<unknown>
  readonly #socket: WebSocket
  readonly #waiting = new Set<() => void>()

  constructor(url: string, origin: string) {
    this.#socket = new WebSocket(url, { origin, perMessageDeflate: false })
    this.opened = once(this.#socket, 'open')
    this.#socket.on('message', (data: Buffer) => {
      this.heard.push(data.toString())
      for (const wake of this.#waiting) wake()
      this.#waiting.clear()
    })
  }

  send(text: string): void {
    this.#socket.send(text)
  }

  /** Resolves when it has heard this. */
  async hears(text: string): Promise<void> {
    while (!this.heard.includes(text)) await this.hearsMore()
  }

  /** Resolves when it hears the next message. */
  async hearsMore(): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  close(): void {
    this.#socket.terminate()
  }
}

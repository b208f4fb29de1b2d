/** The gateway as a process that is killed and started again, always on the same ports and the same data. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import path from 'node:path'

export interface Ports {
  readonly http: number
  readonly mqtt: number
  readonly email: number
}

const root = path.join(import.meta.dirname, '..', '..')

export async function freePorts(): Promise<Ports> {
  const servers = Array.from({ length: 3 }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const [http = 0, mqtt = 0, email = 0] = servers.map((server) => (server.address() as AddressInfo).port) // they listen
  await Promise.all(servers.map((server) => new Promise((resolve) => void server.close(resolve))))
  return { http, mqtt, email }
}

/** Writes the YAML; answers its path. `journal` is what stands below that key. */
export function writeYaml(folder: string, { http, mqtt, email }: Ports, journal: string): string {
  const handlers = path.join(import.meta.dirname, 'handlers.ts')
  const file = path.join(folder, 'gateway.yaml')
  const yaml = `
listen:
  http: { address: 127.0.0.1:${http} }
  mqtt: { address: 127.0.0.1:${mqtt}, anonymous: true }
  email: { address: 127.0.0.1:${email} }
  sms: { provider: { twilio: { authToken: development, publicUrl: 'http://127.0.0.1:${http}' } } }
data: ./data
drainTimeout: 30s
journal: { attempts: 30, backoff: 10ms, maxBackoff: 100ms, ${journal} }
application:
  ProtocolTypeRouter:
    mqtt:
      TopicRouter:
        - { topic: chaos/#, app: '${handlers}#Publishes' }
    email:
      EmailToRouter:
        - { domain: chaos.example, app: '${handlers}#Mails' }
    sms:
      SMSFromRouter:
        - { phone: '+1', app: '${handlers}#Texts' }
`
  writeFileSync(file, yaml)
  return file
}

export class GatewayProcess {
  readonly #yaml: string
  readonly #environment: NodeJS.ProcessEnv
  #child: ChildProcess | undefined
  #error = ''
  starts = 0

  /** `longest`: how long an attempt takes at most, in milliseconds. */
  constructor(yaml: string, longest: number) {
    this.#yaml = yaml
    this.#environment = { ...process.env, CHAOS_LONGEST: String(longest) }
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    this.starts++
    const program = path.join(root, 'bin', 'signalbox.js')
    const child = spawn(process.execPath, [program, 'serve', this.#yaml], {
      cwd: root,
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    this.#error = ''
    child.stderr.on('data', (chunk: Buffer) => (this.#error = (this.#error + String(chunk)).slice(-20_000)))
    const ended = once(child, 'close').then(() => {
      throw new Error(`the gateway ended by itself:\n${this.#error}`)
    })
    await Promise.race([once(child.stdout, 'data'), ended])
    ended.catch(() => undefined)
    child.stdout.resume()
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Ends it well; answers its exit code. */
  async close(): Promise<number | null> {
    return await this.#end('SIGTERM')
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (!child || child.exitCode !== null) return child?.exitCode ?? null
    const closed = once(child, 'close')
    child.kill(signal)
    await closed
    return child.exitCode
  }
}

/** The gateway as a process that is killed and started again, always on the same ports and the same data. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
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

/** What Twilio signs with. */
export const token = 'development'

/** Writes the YAML; answers its path. `journal` is what stands below that key. The rule of each sender says whose it is. */
export function writeYaml(folder: string, { http, mqtt, email }: Ports, journal: string): string {
  const handlers = path.join(import.meta.dirname, 'handlers.ts')
  const file = path.join(folder, 'gateway.yaml')
  const yaml = `
listen:
  http: { address: 127.0.0.1:${http} }
  mqtt: { address: 127.0.0.1:${mqtt}, anonymous: true }
  email: { address: 127.0.0.1:${email} }
  sms: { replyTimeout: 300ms, provider: { twilio: { authToken: ${token}, publicUrl: 'http://127.0.0.1:${http}' } } }
data: ./data
drainTimeout: 30s
journal: { attempts: 30, backoff: 10ms, maxBackoff: 100ms, ${journal} }
application:
  ProtocolTypeRouter:
    mqtt:
      TopicRouter:
        - { topic: chaos/mqtt-1, app: '${handlers}#Publishes' } # mqtt-1
        - { topic: chaos/mqtt-2, app: '${handlers}#Publishes' } # mqtt-2
    email:
      EmailToRouter:
        - { domain: email.example, app: '${handlers}#Mails' } # email
        - { domain: email-no-id.example, app: '${handlers}#Mails' } # email-no-id
    sms:
      SMSFromRouter:
        - { phone: '+1', app: '${handlers}#Texts' } # sms
`
  writeFileSync(file, yaml)
  return file
}

/** Whose rule stands there: `gateway.yaml:17` is what the journal calls it. */
export function senderAt(yaml: string, route: string): string | undefined {
  const line = readFileSync(yaml, 'utf8').split('\n')[Number(route.split(':')[1]) - 1]
  return line?.split(' # ')[1]
}

export class GatewayProcess implements AsyncDisposable {
  readonly #yaml: string
  readonly #environment: NodeJS.ProcessEnv
  #child: ChildProcess | undefined
  /** Resolves when it was ended, and rejects when it has ended by itself. */
  #ended: Promise<void> = Promise.resolve()
  /** How long the last start took, in milliseconds. */
  startTook = 0

  /** `notes` is where the handlers write; `longest`: how long an attempt takes at most, in milliseconds. */
  constructor(yaml: string, { notes, longest }: { readonly notes: string; readonly longest: number }) {
    this.#yaml = yaml
    this.#environment = { ...process.env, CHAOS_NOTES: notes, CHAOS_LONGEST: String(longest) }
  }

  /** Resolves when it serves, or was killed before it did. */
  async start(): Promise<void> {
    const begun = performance.now()
    const program = path.join(root, 'bin', 'signalbox.js')
    const child = spawn(process.execPath, [program, 'serve', this.#yaml], {
      cwd: root,
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    let error = ''
    child.stderr.on('data', (chunk: Buffer) => (error = (error + String(chunk)).slice(-20_000)))
    this.#ended = once(child, 'close').then(() => {
      if (!child.killed) throw new Error(`the gateway ended by itself:\n${error}`)
    })
    // Whoever kills it next hears of it.
    this.#ended.catch(() => undefined)
    await Promise.race([once(child.stdout, 'data'), this.#ended])
    if (!child.killed) this.startTook = performance.now() - begun
    child.stdout.resume()
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Ends it well; answers its exit code. */
  async close(): Promise<number | null> {
    await this.#end('SIGTERM')
    return this.#child?.exitCode ?? null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#ended.catch(() => undefined)
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#child?.kill(signal)
    await this.#ended
  }
}

/** What the benchmark measures: the gateway on one side, the bare library doing the same work on the other. */
import path from 'node:path'
import { bridge, journal, memory, routing, startUp, throughput, type LoadOptions, type Measure } from './measure.ts'
import { root } from './processes.ts'
import type { ServerName } from './servers.ts'

export interface BenchCase {
  readonly name: string
  readonly unit: string
  /** What `ratio` is to be at least, or where lower is better at most. */
  readonly target: number
  readonly lowerIsBetter: boolean
  /** `difference`: the ratio is the gateway's value less the bare one's. Default: their quotient. */
  readonly compare?: 'difference'
  readonly needsRedis?: boolean
  /** With fewer processors it measures nothing. */
  readonly needsProcessors?: number
  readonly gateway: Measure
  readonly bare: Measure
}

const gateway: ServerName = { gateway: 'gateway' }
const redis: ServerName = { gateway: 'redis' }
const stored: ServerName = { gateway: 'stored' }
const bare = (...given: readonly string[]): ServerName => ({ bare: given })

interface Rate {
  readonly unit: string
  readonly target: number
  readonly bare: ServerName
  readonly gateway?: ServerName
}

function rate(name: string, { unit, target, ...sides }: Rate, load: LoadOptions): BenchCase {
  return {
    name,
    unit: `${unit}/s`,
    target,
    lowerIsBetter: false,
    needsRedis: sides.gateway === redis,
    gateway: throughput(sides.gateway ?? gateway, load),
    bare: throughput(sides.bare, load),
  }
}

function room(name: string, inFlight: number, { target, ...sides }: Omit<Rate, 'unit'>): BenchCase {
  return rate(name, { unit: 'deliveries', target, ...sides }, { load: 'room', connections: 1000, inFlight, warmUps: 4 })
}

function publishes(qos: 0 | 1, inFlight: number): BenchCase {
  const load = { load: `qos${qos}`, connections: 32, inFlight }
  return rate(`mqtt-qos${qos}-${inFlight}`, { unit: 'messages', target: 1, bare: bare('mqtt') }, load)
}

function connects(protocol: string, server: string): BenchCase {
  // Before the constructors of Node's streams are compiled, what they assign keeps every seventh connection in memory for a while:
  // one side was measured with that, and the other without.
  const load = { load: `connect-${protocol}`, connections: 16, warmUps: 4 }
  return rate(`connect-${protocol}`, { unit: 'connections', target: 0.9, bare: bare(server) }, load)
}

function routes(router: string, rules: number): BenchCase {
  return {
    name: `routing-${router}-${rules}`,
    unit: 'ns',
    target: 3,
    lowerIsBetter: true,
    gateway: routing(router, rules),
    bare: routing(router, 10),
  }
}

function idle(protocol: string): BenchCase {
  const load = { load: `idle-${protocol}`, connections: 10_000 }
  return {
    name: `memory-${protocol}`,
    unit: 'bytes',
    target: 1.25,
    lowerIsBetter: true,
    gateway: memory(gateway, load),
    bare: memory(bare(protocol), load),
  }
}

/** Two processes against one: the load needs a processor too. */
function processes(name: string, unit: string, load: string): BenchCase {
  const by = (count: number): ServerName => ({ gateway: 'redis', processes: count, processors: 'any' })
  return {
    name: `redis-two-processes-${name}`,
    unit: `${unit}/s`,
    target: 1.7,
    lowerIsBetter: false,
    needsRedis: true,
    needsProcessors: 3,
    gateway: throughput(by(2), { load, connections: 64 }),
    bare: throughput(by(1), { load, connections: 64 }),
  }
}

/** What the disk allows, and what the journal makes of it. */
const groupCommit: BenchCase = {
  name: 'journal',
  unit: 'records/s',
  target: 0.5,
  lowerIsBetter: false,
  gateway: journal('gateway'),
  bare: journal('bare'),
}

function bridged(what: string, unit: string, target: number): BenchCase {
  return {
    name: `bridge-${what}`,
    unit,
    target,
    lowerIsBetter: true,
    gateway: bridge(what, 'gateway'),
    bare: bridge(what, 'bare'),
  }
}

function startsUp(name: string, settings: { readonly kept: boolean }): BenchCase {
  return {
    name,
    unit: 's',
    target: 0.5,
    lowerIsBetter: true,
    compare: 'difference',
    gateway: startUp(
      {
        command: [path.join(root, 'bin', 'signalbox.js'), 'serve', 'config/gateway.yaml'],
        ready: /^ +data /,
        environment: sampleEnvironment,
      },
      settings,
    ),
    bare: startUp(
      {
        command: [path.join(root, 'test', 'bench', 'bare', 'imports.ts')],
        ready: /^serving$/,
        environment: sampleEnvironment,
      },
      settings,
    ),
  }
}

/** Any free port, and a folder of its own for the sample's database. */
function sampleEnvironment(data: string) {
  const any = '127.0.0.1:0'
  return {
    SIGNALBOX_DATA: data,
    SIGNALBOX_HTTP: any,
    SIGNALBOX_MQTT: any,
    SIGNALBOX_SMTP: any,
    SIGNALBOX_ADMIN: any,
  }
}

const websocket = bare('websocket')
const fewSockets = { load: 'echo', connections: 64 }
const subscribers = { load: 'subscribers', connections: 500 }
const mailboxes = { load: 'mails', connections: 16, warmUps: 4 }
const readers = { ...mailboxes, load: 'mails-to-read' }

function storedMail(name: string, connections: number, room: Pick<ServerName, 'processors'> = {}): BenchCase {
  const sides = { bare: { ...bare('email'), ...room }, gateway: { ...stored, ...room } }
  return rate(name, { unit: 'mails', target: 0.8, ...sides }, { ...mailboxes, connections })
}

export const cases: readonly BenchCase[] = [
  rate('http-hello', { unit: 'requests', target: 0.9, bare: bare('http') }, { load: 'hello', connections: 64 }),
  // The same with an application that speaks in events.
  rate('http-events', { unit: 'requests', target: 0.9, bare: bare('http') }, { load: 'events', connections: 64 }),
  // The same with a consumer that answers with a web-standard Response; the other side makes one too, and sends what is in it.
  rate(
    'http-response',
    { unit: 'requests', target: 0.9, bare: bare('http', 'response') },
    { load: 'response', connections: 64 },
  ),
  rate('websocket-echo-1', { unit: 'messages', target: 1, bare: websocket }, fewSockets),
  rate('websocket-echo-8', { unit: 'messages', target: 2.5, bare: websocket }, { ...fewSockets, inFlight: 8 }),
  room('fan-out-1', 1, { target: 1, bare: websocket }),
  room('fan-out-8', 8, { target: 2, bare: websocket }),
  room('fan-out-redis-1', 1, { target: 1, bare: websocket, gateway: redis }),
  room('fan-out-redis-8', 8, { target: 2, bare: websocket, gateway: redis }),
  // Here the other side is the gateway itself, with the layer in memory.
  room('fan-out-redis-memory-1', 1, { target: 0.9, bare: gateway, gateway: redis }),
  room('fan-out-redis-memory-8', 8, { target: 0.9, bare: gateway, gateway: redis }),
  // Here too: two processes on the same port, and one.
  processes('http', 'requests', 'hello'),
  processes('echo', 'messages', 'echo'),
  publishes(0, 1),
  publishes(0, 20),
  publishes(1, 1),
  publishes(1, 20),
  rate('mqtt-fan-out-1', { unit: 'deliveries', target: 1, bare: bare('mqtt') }, subscribers),
  rate('mqtt-fan-out-20', { unit: 'deliveries', target: 1, bare: bare('mqtt') }, { ...subscribers, inFlight: 20 }),
  // Both sides take the mail as it came, and nobody looks into it.
  rate('mail', { unit: 'mails', target: 0.9, bare: bare('email') }, mailboxes),
  // Both sides ask for its subject and its text, and so it is parsed: by the gateway, and by `mailparser`.
  rate('mail-parsed', { unit: 'mails', target: 0.9, bare: bare('email', 'parse') }, readers),
  // On disk before PUBACK and 250; the other side stores nothing.
  rate(
    'mqtt-stored-20',
    { unit: 'messages', target: 0.5, bare: bare('mqtt'), gateway: stored },
    { load: 'qos1', connections: 32, inFlight: 20 },
  ),
  storedMail('mail-stored', 16),
  // From many senders, whose mails share a commit.
  storedMail('mail-stored-128', 128),
  storedMail('mail-stored-512', 512),
  // The same where the journal's thread may run beside the event loop, as it does unless somebody forbids it.
  storedMail('mail-stored-any', 128, { processors: 'any' }),
  groupCommit,
  rate(
    'sms-webhook',
    { unit: 'texts', target: 0.9, bare: bare('sms') },
    { load: 'webhook', connections: 16, warmUps: 4 },
  ),
  ...['url', 'topic', 'email', 'sms', 'channel'].flatMap((router) => [routes(router, 1000), routes(router, 100_000)]),
  connects('http', 'http'),
  connects('websocket', 'websocket'),
  connects('mqtt', 'mqtt'),
  connects('email', 'email'),
  bridged('sync-to-async', 'us', 1.3),
  bridged('async-to-sync', 'us', 2),
  // The 99th percentile while two threads burn CPU; the other side is the loop that does so itself.
  bridged('loop-delay', 'ms', 0.5),
  idle('websocket'),
  idle('mqtt'),
  startsUp('start-up', { kept: true }),
  // The first start of all: nothing is compiled yet.
  startsUp('start-up-first', { kept: false }),
]

/** One measurement of one side: what each kind of case does with its server. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { firstLot } from './load/first-lot.ts'
import type { LoadPlan } from './load/load.ts'
import { Process, type ProcessOptions } from './processes.ts'
import { Server, type ServerName, type ServerOptions } from './servers.ts'
import { noWork, Side, startLoad, sum } from './side.ts'
import type { Turns } from './turns.ts'

export interface Settings {
  /** Of one measurement. */
  readonly seconds: number
  readonly warmUp: number
  /** Few of everything: only to see that it runs. */
  readonly small: boolean
  /** The folder for CPU profiles of the servers: those of each side in a folder of its own there. */
  readonly profile: string | undefined
  readonly redis: string | undefined
  /** Those of this round. */
  readonly turns: Turns
}

export interface Sample {
  readonly value: number
  /** Microseconds of the server's processor for one; undefined where it is not known, or says nothing. */
  readonly cpu?: number | undefined
  /** The load generator had its processor to itself for nearly all of the time: the server may be faster than this. */
  readonly generatorBound?: boolean
}

export type Measure = (settings: Settings) => Promise<Sample>

/** One that is not measured in pieces. */
const inOneTurn =
  (measure: Measure): Measure =>
  (settings) =>
    settings.turns.take(() => measure(settings))

export interface LoadOptions {
  readonly load: string
  readonly connections: number
  readonly inFlight?: number
  /** So many times the usual warm-up: what comes seldom needs longer until its code is compiled. Default 1. */
  readonly warmUps?: number
}

/** More of its processor than this, and it is the generator that is measured. */
const generatorLimit = 0.95

/**
 * Milliseconds of a turn: what the machine's neighbours do hardly changes in two of them. Whoever waits meanwhile has connections
 * that stand still, for less than the 200 ms that Linux waits at least for an acknowledgement: after more than that they count as
 * idle, and begin slowly again (RFC 5681 4.1).
 */
const turnLength = 100
/** Seconds after which something must have been done. */
const patience = 30

/** How much a server does in a second. */
export function throughput(name: ServerName, load: LoadOptions): Measure {
  return async (settings) => {
    const { turns, seconds, profile } = settings
    const options = serverOptions(settings, 'bare' in name ? 'bare' : 'gateway')
    await using side = await turns.take(() => Side.start(name, options, loadOf(load, settings)))
    const length = Math.min(turnLength, seconds * 1000)
    const next = () => turns.take(() => side.work(length))
    for (let warm = 0; warm < warmUpOf(load, settings) * 1000; warm += length) await next()
    let work = noWork
    // A short time may see nothing.
    while (work.elapsed < seconds * 1000 || (work.done === 0 && work.elapsed < patience * 1000))
      work = sum(work, await next())
    if (work.done === 0) throw new Error(`nothing was answered in ${patience} seconds`)
    if (profile !== undefined) await side.server.end()
    // Of several processes only one would be seen.
    const cpu = 'processes' in name || Number.isNaN(work.server) ? undefined : work.server / work.done
    const generatorBound = work.own / work.elapsed > generatorLimit
    return { value: (work.done * 1000) / work.elapsed, cpu, generatorBound }
  }
}

/**
 * Bytes that an idle connection costs a server, as its system sees it: also what V8 has grown by for all that was new and for its
 * compiler, which for the bare `ws` is more than what it holds.
 */
export function memory(name: ServerName, load: LoadOptions): Measure {
  return inOneTurn(async (settings) => {
    const collect = path.join(import.meta.dirname, 'collect.ts')
    const options = { ...serverOptions(settings), node: ['--expose-gc', '--import', collect] }
    await using server = await Server.start(name, options)
    await using generator = startLoad(server, loadOf(load, settings))
    await generator.until(/^opened$/)
    const before = await resident(server)
    generator.say('more')
    await generator.until(/^opened$/)
    const after = await resident(server)
    const connections = smaller(load.connections, settings)
    // A few connections may find room in what the process already has: then they took next to nothing, and not nothing.
    return { value: Math.max(1, (after - before) / (connections - firstLot(connections))) }
  })
}

async function resident({ process: child }: Server): Promise<number> {
  await sleep(300)
  child.signal('SIGUSR2')
  return Number((await child.until(/^resident /)).at(-1)?.split(' ')[1])
}

/** A program, and when it is ready. */
export interface Start {
  readonly command: readonly string[]
  readonly ready: RegExp
  /** What it finds, the same for both sides; made anew for each start in this folder. */
  readonly environment: (folder: string) => Readonly<Record<string, string>>
}

/**
 * Seconds from the start of a process until it says that it is ready. Node keeps what it has compiled, for either side: with
 * `kept` an earlier start has done so, and otherwise it is the first.
 */
export function startUp(start: Start, { kept }: { readonly kept: boolean }): Measure {
  return inOneTurn(async () => {
    const cache = await mkdtemp(path.join(tmpdir(), 'signalbox-bench-'))
    try {
      if (kept) await secondsToStart(start, cache)
      return { value: await secondsToStart(start, cache) }
    } finally {
      await rm(cache, { recursive: true, force: true })
    }
  })
}

async function secondsToStart({ command, ready, environment }: Start, cache: string): Promise<number> {
  const data = await mkdtemp(path.join(tmpdir(), 'signalbox-bench-'))
  try {
    const begun = performance.now()
    await using child = new Process([process.execPath, ...command], {
      processor: 'server',
      environment: { ...environment(data), NODE_COMPILE_CACHE: cache },
    })
    await child.until(ready)
    const seconds = (performance.now() - begun) / 1000
    // What was compiled is written when it ends by itself.
    await child.end()
    return seconds
  } finally {
    await rm(data, { recursive: true, force: true })
  }
}

/** Nanoseconds until a router has found the last of its rules. */
export function routing(router: string, rules: number): Measure {
  return inOneTurn(async ({ seconds }) => {
    const program = path.join(import.meta.dirname, 'routing.ts')
    await using child = new Process([process.execPath, program, router, String(rules), String(seconds)], {
      processor: 'server',
    })
    return { value: Number((await child.until(/^[\d.]+$/)).at(-1)) }
  })
}

/** What the bridge does, or with `bare` what it stands on, in a process of its own. */
export function bridge(what: string, side: 'gateway' | 'bare'): Measure {
  return inOneTurn(async ({ seconds }) => {
    const program = path.join(import.meta.dirname, 'bridge.ts')
    // Calls go to and fro: on one processor they do so alike each time. Loops that are to go on beside others need several.
    const options: ProcessOptions = what === 'loop-delay' ? {} : { processor: 'server' }
    await using child = new Process([process.execPath, program, what, side, String(seconds)], options)
    return { value: Number((await child.until(/^[\d.]+$/)).at(-1)) }
  })
}

/** Records a second that are stored and settled, by the journal or by SQLite alone. */
export function journal(side: 'gateway' | 'bare'): Measure {
  return inOneTurn(async ({ seconds }) => {
    const program = path.join(import.meta.dirname, 'journal.ts')
    await using child = new Process([process.execPath, program, side, String(seconds)], { processor: 'server' })
    return { value: Number((await child.until(/^[\d.]+$/)).at(-1)) }
  })
}

function serverOptions({ profile, redis }: Settings, side = ''): ServerOptions {
  const node = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${path.resolve(profile, side)}`]
  return { node, redis }
}

/** In seconds. */
function warmUpOf({ warmUps = 1 }: LoadOptions, { warmUp }: Settings): number {
  return warmUp * warmUps
}

function loadOf(options: LoadOptions, settings: Settings): LoadPlan {
  const { load, connections, inFlight = 1 } = options
  const seconds = warmUpOf(options, settings) + settings.seconds
  return { load, connections: smaller(connections, settings), inFlight, seconds }
}

function smaller(connections: number, { small }: Settings): number {
  return small ? Math.min(connections, 4) : connections
}

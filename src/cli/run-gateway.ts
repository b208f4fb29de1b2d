/** A gateway from its YAML to its end: what `serve` and `worker` have in common. */
import { flushCompileCache } from 'node:module'
import { BridgePool } from '../bridge/pool.ts'
import type { Config } from '../config/config.ts'
import { handlerModules } from '../config/handler-modules.ts'
import type { LoadResult } from '../config/load.ts'
import type { DeadLetter } from '../layers/limits.ts'
import { reason } from '../runtime/errors.ts'
import { createLog } from '../runtime/log.ts'
import { buryMessage, openJournal, openLeftJournals } from '../server/deliveries.ts'
import { Gateway } from '../server/gateway.ts'
import type { GatewayParts } from '../server/options.ts'
import { configFile, load, refuse, tell } from './config-file.ts'
import { openLayer, sharedRedis } from './layer.ts'
import { exitCodes, type ExitCode, type Parts } from './parts.ts'
import type { Primary } from './primary.ts'
import { Reloadable } from './reloadable.ts'
import { EndingSignals } from './signals.ts'
import { boundYoungGeneration } from './young-generation.ts'

/** How a command runs the gateway of a YAML. */
export interface Role {
  /** What of the YAML it takes; an exit code: it cannot, and has said why. */
  readonly take: (config: Config, loaded: LoadResult) => Config | ExitCode
  /** Called when it runs. */
  readonly serving: (gateway: Gateway, config: Config, loaded: LoadResult) => void
  /** Which of several processes this is. Left out: the only one. */
  readonly place?: Place
}

/** A process among those that share the ports and the data folder. */
export interface Place {
  /** From 1. */
  readonly number: number
  readonly count: number
  readonly primary: Primary
}

/** Runs until a signal ends it: the first lets what is in hand finish, the second ends at once. */
export async function runGateway(parts: Parts, named: string | undefined, role: Role): Promise<ExitCode> {
  using signals = new EndingSignals(role.place?.primary)
  return await Promise.race([untilEnd(parts, named, { role, signals }), signals.forced.then(() => exitCodes.failed)])
}

interface Run {
  readonly role: Role
  readonly signals: EndingSignals
}

async function untilEnd(parts: Parts, named: string | undefined, { role, signals }: Run): Promise<ExitCode> {
  const { output } = parts
  const { number, count, primary } = role.place ?? { number: 1, count: 1 }
  const loaded = await load(parts, named)
  if (!loaded.config) return refuse(parts, configFile(parts, named), loaded.diagnostics)
  // Of several processes the first says it for all.
  if (number === 1) tell(parts, loaded.diagnostics)
  const config = role.take(loaded.config, loaded)
  if (typeof config === 'number') return config
  // What is loaded until the gateway starts are packages.
  handlerModules.rest()
  const written = await createLog({ level: config.log.level, pretty: parts.pretty })
  const log = count > 1 ? written.child({ process: number }) : written
  signals.surviveErrors(log)
  const reloadable = new Reloadable(loaded.config, log)
  // Closed last: what is in hand when the gateway closes may still need its threads, and the journal.
  await using last = new AsyncDisposableStack()
  const bridge = last.use(new BridgePool(config.sync, log))
  let gateway: Gateway
  const reload = () =>
    reloadable.reload(
      () => load(parts, named),
      (application) => gateway.renewLifespan(application),
    )
  const reloadAll = async () => {
    const reloaded = await reload()
    if (reloaded.reloaded) primary?.tell({ kind: 'reloaded' })
    return reloaded
  }
  try {
    // The journal first: its thread starts while the packages of the protocols are loaded.
    const place = { process: number, processes: count }
    const [journal] = await Promise.all([openJournal({ ...config, ...place }, log), loadAdapters(parts, config)])
    last.use(journal)
    const left = journal && number === 1 ? await openLeftJournals(config, count, log) : []
    for (const one of left) last.use(one.journal)
    handlerModules.watch()
    const control = { log, journal, left, stop: signals.stop, reload: reloadAll, threads: () => bridge.stats() }
    gateway = await start(parts, { ...config, application: reloadable.application, ...place }, control)
  } catch (error) {
    output.error(`the gateway does not start: ${reason(error)}`)
    return error === signals.stop.reason ? exitCodes.ok : exitCodes.failed
  }
  signals.onReload(() => void reload())
  role.serving(gateway, config, loaded)
  // Written now: worker threads find it, and so does the next start when this process comes to no good end.
  flushCompileCache()
  const channels = config.workers.map(({ channel }) => channel)
  log.info({ file: config.file, listening: gateway.listeners.flatMap(({ urls }) => urls), channels }, 'serving')
  const prepared = config.blocking.length > 0 ? bridge.prepare(config.blocking) : Promise.resolve()
  // Only now: it sets flags of V8, which takes nothing from the cache that was compiled under other flags.
  void prepared.then(boundYoungGeneration)
  const signal = await signals.first
  log.info({ signal }, 'closing: open scopes may finish, a second signal ends at once')
  const clean = await gateway.close()
  log.info({ clean }, 'closed')
  return clean ? exitCodes.ok : exitCodes.failed
}

/** Loads what is going to listen. What fails to load says so when it is started. */
async function loadAdapters(parts: Parts, { listen }: Config): Promise<void> {
  const { definitions } = await parts.loadRegistry()
  await Promise.allSettled(definitions.filter(({ name }) => name in listen).map((definition) => definition.load()))
}

async function start(
  parts: Parts,
  config: Config & { readonly process: number; readonly processes: number },
  { log, journal, ...control }: Pick<GatewayParts, 'log' | 'journal' | 'left' | 'stop' | 'reload' | 'threads'>,
): Promise<Gateway> {
  const onDeadLetter = (letter: DeadLetter) => journal && buryMessage({ journal, log }, letter)
  const began = performance.now()
  const layer = await openLayer(config.layer, { base: config.base, log, onDeadLetter })
  const redis = await sharedRedis(config.layer, config.base, performance.now() - began)
  const { definitions } = await parts.loadRegistry()
  return await Gateway.start(config, { definitions, layer, redis, log, journal, ...control })
}

/** A gateway from its YAML to its end: what `serve` and `worker` have in common. */
import type { Config } from '../config/config.ts'
import type { LoadResult } from '../config/load.ts'
import { reason } from '../runtime/errors.ts'
import { createLog } from '../runtime/log.ts'
import { DeadLetters } from '../server/dead-letters.ts'
import { Gateway } from '../server/gateway.ts'
import { configFile, load, refuse, tell } from './config-file.ts'
import { openLayer } from './layer.ts'
import { exitCodes, type ExitCode, type Parts } from './parts.ts'
import { Reloadable } from './reloadable.ts'
import { EndingSignals } from './signals.ts'

/** How a command runs the gateway of a YAML. */
export interface Role {
  /** What of the YAML it takes; an exit code: it cannot, and has said why. */
  readonly take: (config: Config, loaded: LoadResult) => Config | ExitCode
  /** What is printed when it runs. */
  readonly greeting: (gateway: Gateway, config: Config) => string
}

/** Runs until a signal ends it: the first lets what is in hand finish, the second ends at once. */
export async function runGateway(parts: Parts, named: string | undefined, role: Role): Promise<ExitCode> {
  using signals = new EndingSignals()
  return await Promise.race([untilEnd(parts, named, { role, signals }), signals.forced.then(() => exitCodes.failed)])
}

interface Run {
  readonly role: Role
  readonly signals: EndingSignals
}

async function untilEnd(parts: Parts, named: string | undefined, { role, signals }: Run): Promise<ExitCode> {
  const { output } = parts
  const loaded = await load(parts, named)
  if (!loaded.config) return refuse(parts, configFile(parts, named), loaded.diagnostics)
  tell(parts, loaded.diagnostics)
  const config = role.take(loaded.config, loaded)
  if (typeof config === 'number') return config
  const log = await createLog({ level: config.log.level, pretty: parts.pretty })
  signals.surviveErrors(log)
  const reloadable = new Reloadable(loaded.config, log)
  const interrupted = signals.first.then((signal) => {
    throw new Error(`${signal} came before it was open`)
  })
  let gateway: Gateway
  try {
    const starting = start(parts, { ...config, application: reloadable.application }, log)
    gateway = await Promise.race([starting, interrupted])
  } catch (error) {
    output.error(`the gateway does not start: ${reason(error)}`)
    return exitCodes.failed
  }
  interrupted.catch(() => undefined) // from here on a signal is what ends it well
  signals.onReload(async () => reloadable.replace(await load(parts, named)))
  output.out(role.greeting(gateway, config))
  const channels = config.workers.map(({ channel }) => channel)
  log.info({ file: config.file, listening: gateway.listeners.flatMap(({ urls }) => urls), channels }, 'serving')
  const signal = await signals.first
  log.info({ signal }, 'closing: open scopes may finish, a second signal ends at once')
  await gateway.close()
  log.info({}, 'closed')
  return exitCodes.ok
}

async function start(
  { registry }: Parts,
  config: Config,
  log: Awaited<ReturnType<typeof createLog>>,
): Promise<Gateway> {
  const deadLetters = new DeadLetters(config.data, log)
  const onDeadLetter = deadLetters.addMessage.bind(deadLetters)
  const layer = await openLayer(config.layer, { base: config.base, log, onDeadLetter })
  return await Gateway.start(config, { definitions: registry.definitions, layer, log, deadLetters })
}

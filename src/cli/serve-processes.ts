/** `signalbox serve --processes N`: the process that starts the others, and one of the others. */
import type { ProtocolDefinition } from '../asgi/definition.ts'
import type { Config } from '../config/config.ts'
import type { ReadResult } from '../config/load.ts'
import { createLog } from '../runtime/log.ts'
import { configFile, read, refuse } from './config-file.ts'
import { exitCodes, type ExitCode, type Parts } from './parts.ts'
import { Processes } from './processes.ts'
import { EndingSignals } from './signals.ts'

/** Runs `count` processes until a signal ends them: the first lets what is in hand finish, the second ends at once. */
export async function serveProcesses(parts: Parts, named: string | undefined, count: number): Promise<ExitCode> {
  const { output } = parts
  using signals = new EndingSignals()
  const file = configFile(parts, named)
  const { settings, diagnostics } = await read(parts, named)
  if (!settings) return refuse(parts, file, diagnostics)
  const { definitions } = await parts.loadRegistry()
  const refused = refusals(definitions, settings, count)
  for (const why of refused) output.error(`${file}: --processes ${count}: ${why}`)
  if (refused.length > 0) return exitCodes.config
  if (settings.layer.kind === 'memory') {
    output.error(`${file}: --processes ${count}: warning: with layer: memory groups and channels stay in each process`)
  }
  const log = await createLog({ level: settings.log.level, pretty: parts.pretty })
  signals.surviveErrors(log)
  const line = (number: number) => [
    'serve',
    ...(named === undefined ? [] : [named]),
    '--processes',
    String(count),
    '--process',
    String(number),
  ]
  const processes = new Processes({ count, arguments: line, log })
  signals.onReload(() => processes.reload())
  const forced = signals.forced.then(() => {
    processes.kill()
    return exitCodes.failed
  })
  return await Promise.race([untilEnd(processes, signals, (text) => output.out(text)), forced])
}

async function untilEnd(
  processes: Processes,
  signals: EndingSignals,
  greet: (text: string) => void,
): Promise<ExitCode> {
  const closed = signals.first.then((signal) => processes.close(signal))
  const failed = await processes.start()
  if (failed !== undefined) {
    const clean = await processes.close()
    return clean ? codeOf(failed) : exitCodes.failed
  }
  greet(processes.greeting)
  return (await closed) ? exitCodes.ok : exitCodes.failed
}

const codeOf = (code: number): ExitCode => Object.values(exitCodes).find((known) => known === code) ?? exitCodes.failed

/** Why this YAML cannot be served by several processes, each as a sentence. */
function refusals(
  definitions: readonly ProtocolDefinition[],
  { listen, layer, admin }: NonNullable<ReadResult['settings']>,
  count: number,
): readonly string[] {
  const redis = layer.kind === 'redis'
  const protocols = definitions.flatMap((definition) => {
    const { name } = definition
    const why = name in listen ? definition.refuseProcesses?.(listen[name], { redis }) : undefined
    return why === undefined ? [] : [`${name}: ${why}`]
  })
  const last = adminPort(admin?.address.port ?? 0, count)
  if (last <= 65_535) return protocols
  return [...protocols, `admin: process ${count} would have port ${last}, expected at most 65535`]
}

/** Each process has an admin listener of its own, on the ports from that of the YAML on; 0 is any free one for each. */
const adminPort = (port: number, number: number): number => (port === 0 ? 0 : port + number - 1)

/** What process `number` takes of the YAML. */
export function ofProcess(config: Config, number: number): Config {
  const { admin } = config
  if (!admin) return config
  const { address } = admin
  return { ...config, admin: { ...admin, address: { ...address, port: adminPort(address.port, number) } } }
}

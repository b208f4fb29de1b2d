/** `signalbox stats`: what a running gateway has counted, once or again and again. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { timeout } from '../runtime/options.ts'
import type { Stats } from '../server/stats.ts'
import { askAdmin } from './admin-client.ts'
import { configArgument, configFile, configHelp, read, refuse } from './config-file.ts'
import { explained } from './connection.ts'
import { table } from './table.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

interface Options {
  readonly watch?: true
  readonly json?: true
  readonly interval: string
}

const answerTimeout = 10_000

export function defineStats(command: Command, parts: Parts, run: Run): void {
  command
    .description('Shows events, failures, connections and drops of the gateway that runs on this YAML.')
    .argument(configArgument, configHelp)
    .option('-w, --watch', 'again and again, until Ctrl+C')
    .option('--interval <duration>', 'how often with --watch', '1s')
    .option('--json', 'one JSON object a line')
    .addHelpText(
      'after',
      '\nNeeds the admin listener: admin: { address: 127.0.0.1:8100 } in the YAML.\n\nExamples:\n  npx signalbox stats\n  npx signalbox stats --watch',
    )
    .action((config: string | undefined, options: Options) => run(stats(parts, config, options)))
}

async function stats(parts: Parts, named: string | undefined, options: Options): Promise<ExitCode> {
  const { output } = parts
  const interval = timeout().safeParse(options.interval)
  if (!interval.success) {
    output.error(`--interval: ${interval.error.issues[0]?.message ?? 'expected a duration'}`)
    return exitCodes.usage
  }
  const file = configFile(parts, named)
  const { settings, diagnostics } = await read(parts, named)
  if (!settings) return refuse(parts, file, diagnostics)
  const { admin } = settings
  if (!admin || admin.address.port === 0) {
    output.error(`${file}: found no admin listener on a port of its own, expected admin: { address: 127.0.0.1:8100 }`)
    return exitCodes.config
  }
  let before: Stats | undefined
  for (;;) {
    try {
      // One after the other, each with what came since the one before.
      const now = await askAdmin<Stats>(admin, '/stats', AbortSignal.timeout(answerTimeout))
      output.out(options.json ? JSON.stringify(now) : shown(now, before))
      if (!options.watch) return exitCodes.ok
      before = now
      await pause(interval.data)
    } catch (error) {
      output.error(explained(error))
      return exitCodes.failed
    }
  }
}

const counts = ['events', 'handled', 'failed', 'interrupted', 'waiting', 'dead'] as const
const columns = ['protocol', 'rule', ...counts] as const

/** Three lines on the whole, and a table of the rules that have counted something; `new` is what came since the one before. */
function shown(now: Stats, before: Stats | undefined): string {
  const some = now.rules.filter((rule) => counts.some((column) => rule[column] > 0))
  if (some.length === 0) return [...summary(now), ''].join('\n')
  const head = before ? [...columns, 'new'] : [...columns]
  const rows = some.map((rule) => {
    const was = before?.rules.find((other) => other.protocol === rule.protocol && other.rule === rule.rule)
    const cells = columns.map((column) => String(rule[column]) || '-')
    return before ? [...cells, `+${rule.events - (was?.events ?? 0)}`] : cells
  })
  return [...summary(now), table([head, ...rows], (column) => column >= 2), ''].join('\n')
}

function summary(stats: Stats): readonly string[] {
  const { ready, reasons, processes, uptime, connections, scopes, unrouted, layer, dropped } = stats
  const state = ready ? 'ready' : `not ready (${reasons.join('; ')})`
  const reaches = layer.connected ? ', connected' : ', not connected'
  const drops = Object.entries(dropped).flatMap(([who, counts]) =>
    Object.entries(counts).map(([why, count]) => [`${who} ${why}`, count] as const),
  )
  return [
    `${new Date().toTimeString().slice(0, 8)}  ${state}, up ${uptime} s${processes > 1 ? `, ${processes} processes` : ''}`,
    `connections: ${counted(connections)}; scopes: ${counted(scopes)}; without a rule: ${counted(unrouted)}`,
    `layer: ${layer.channels} channels, ${layer.groups} groups${layer.connected === undefined ? '' : reaches}; dropped: ${counted(Object.fromEntries(drops))}`,
  ]
}

function counted(counts: Readonly<Record<string, number>>): string {
  const some = Object.entries(counts).filter(([, count]) => count > 0)
  return some.map(([what, count]) => `${count} ${what}`).join(', ') || 'none'
}

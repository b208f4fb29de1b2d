/** `signalbox check`: every mistake and warning in the YAML. */
import type { Command } from 'commander'
import { formatDiagnostic } from '../config/diagnostics.ts'
import { configArgument, configFile, configHelp, load, summary } from './config-file.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

export function defineCheck(command: Command, parts: Parts, run: Run): void {
  command
    .description(
      'Reads the YAML, loads the handlers it names, and lists every mistake and warning with its place. Opens no port.',
    )
    .argument(configArgument, configHelp)
    .option('--json', 'one JSON object instead of lines')
    .addHelpText(
      'after',
      '\nExit code 0 when the gateway would start, 78 when not.\n\nExamples:\n  npx signalbox check\n  npx signalbox check config/gateway.yaml --json',
    )
    .action((config: string | undefined, options: { json?: true }) => run(check(parts, config, options)))
}

async function check(parts: Parts, config: string | undefined, { json }: { json?: true }): Promise<ExitCode> {
  const { output } = parts
  const file = configFile(parts, config)
  const { diagnostics, config: loaded } = await load(parts, config)
  if (json) output.out(JSON.stringify({ file, ok: loaded !== undefined, diagnostics }, null, 2))
  else {
    for (const diagnostic of diagnostics) output.out(formatDiagnostic(diagnostic))
    output.out(`${file}: ${summary(diagnostics)}`)
  }
  return loaded ? exitCodes.ok : exitCodes.config
}

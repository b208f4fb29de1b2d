/** `signalbox schema`: the JSON Schema of the YAML. */
import type { Command } from 'commander'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

export function defineSchema(command: Command, parts: Parts, run: Run): void {
  command
    .description('Prints the JSON Schema of the YAML, with which an editor completes and checks it.')
    .addHelpText('after', '\nExample:\n  npx signalbox schema > config/gateway.schema.json')
    .action(() => run(schema(parts)))
}

async function schema(parts: Parts): Promise<ExitCode> {
  const { jsonSchema } = await import('../config/json-schema.ts')
  parts.output.out(JSON.stringify(jsonSchema(await parts.loadRegistry()), null, 2))
  return exitCodes.ok
}

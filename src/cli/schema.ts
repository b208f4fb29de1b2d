/** `signalbox schema`: the JSON Schema of the YAML. */
import type { Command } from 'commander'
import { jsonSchema } from '../config/json-schema.ts'
import { exitCodes, type Parts, type Run } from './parts.ts'

export function addSchema(program: Command, { registry, output }: Parts, run: Run): void {
  program
    .command('schema')
    .summary('print the JSON Schema of the YAML')
    .description('Prints the JSON Schema of the YAML, with which an editor completes and checks it.')
    .addHelpText('after', '\nExample:\n  signalbox schema > config/gateway.schema.json')
    .action(() => {
      output.out(JSON.stringify(jsonSchema(registry), null, 2))
      return run(Promise.resolve(exitCodes.ok))
    })
}

/** The command line over the toy protocols, as a program: what the tests start as a child process. */
import { processOutput } from '../../src/cli/output.ts'
import { runCommandLine } from '../../src/cli/program.ts'
import { toyRegistry } from './toy-registry.ts'

const code = await runCommandLine(process.argv.slice(2), {
  loadRegistry: () => Promise.resolve(toyRegistry),
  output: processOutput(),
  environment: process.env,
  folder: process.cwd(),
  version: '1.2.3',
  input: process.stdin,
  pretty: false,
  hashPassword: (password) => Promise.resolve(`hash-of-${password.length}`),
})
process.exit(code)

/** The daemon: arguments -> config -> gateway -> signals -> exit code. */
import packageJson from './package.json' with { type: 'json' }
import { protocols } from './protocols/registry.ts'
import { outputWritten, processOutput } from './src/cli/output.ts'
import { runCommandLine } from './src/cli/program.ts'
import { builtinMiddleware } from './src/middleware/registry.ts'
import { channelNameRouterDefinition } from './src/routing/channel-name-router.ts'

const code = await runCommandLine(process.argv.slice(2), {
  registry: {
    definitions: Object.values(protocols),
    routers: [channelNameRouterDefinition],
    middleware: builtinMiddleware,
  },
  output: processOutput(),
  environment: process.env,
  folder: process.cwd(),
  version: packageJson.version,
  input: process.stdin,
  pretty: process.stderr.isTTY,
  hashPassword: async (password) => (await import('./protocols/mqtt/password.ts')).hashPassword(password),
})

await outputWritten()
process.exit(code)

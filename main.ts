/** The daemon: arguments -> config -> gateway -> signals -> exit code. */
import packageJson from './package.json' with { type: 'json' }
import { outputWritten, processOutput } from './src/cli/output.ts'
import { runCommandLine } from './src/cli/program.ts'
import type { Registry } from './src/config/registry.ts'

const code = await runCommandLine(process.argv.slice(2), {
  loadRegistry,
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

async function loadRegistry(): Promise<Registry> {
  const { protocols } = await import('./protocols/registry.ts')
  const { builtinMiddleware } = await import('./src/middleware/registry.ts')
  const { channelNameRouterDefinition } = await import('./src/routing/channel-name-router.ts')
  return {
    definitions: Object.values(protocols),
    routers: [channelNameRouterDefinition],
    middleware: builtinMiddleware,
  }
}

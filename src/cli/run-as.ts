/** Runs the gateway for a command, which whoever only asks for that command's help does not load. */
import type { ExitCode, Parts } from './parts.ts'
import type { Role } from './run-gateway.ts'

export async function runAs(parts: Parts, config: string | undefined, role: Role): Promise<ExitCode> {
  const { runGateway } = await import('./run-gateway.ts')
  return await runGateway(parts, config, role)
}

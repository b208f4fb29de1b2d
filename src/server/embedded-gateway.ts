/** The gateway for the package's face, which handlers import: what it is made of is loaded with the first that is started. */
import type { Gateway as Started } from './gateway.ts'
import type { GatewayOptions, GatewayParts } from './options.ts'

export type Gateway = Started

export const Gateway = {
  /**
   * Starts the lifespan application, then every listener.
   * @throws SignalboxError `lifespan_failed`, `listen_failed`; what was opened until then is closed again.
   */
  async start(options: GatewayOptions, parts: GatewayParts): Promise<Gateway> {
    const { Gateway: Server } = await import('./gateway.ts')
    return await Server.start(options, parts)
  },
}

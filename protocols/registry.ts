/** Every protocol that the gateway speaks: THE registration. A new one is its folder, and its name here. */
import type { ChannelProtocol } from '../src/asgi/channel.ts'
import type { ProtocolOf } from '../src/asgi/definition.ts'
import type { LifespanProtocol } from '../src/asgi/lifespan.ts'
import type { Application, EveryApplication } from '../src/asgi/protocol.ts'
import { protocolTypeRouter } from '../src/routing/protocol-type-router.ts'
import { email } from './email/protocol.ts'
import { http } from './http/protocol.ts'
import { mqtt } from './mqtt/protocol.ts'
import { sms } from './sms/protocol.ts'
import { websocket } from './websocket/protocol.ts'

/** In the order in which they open and are shown. */
export const protocols = { http, websocket, mqtt, email, sms } as const

type Protocols = typeof protocols

/** The scope of any registered protocol: `type` tells them apart. */
export type Scope = ProtocolOf<Protocols[keyof Protocols]>['scope']

/** What ProtocolTypeRouter may have as keys, and whose application stands behind each. */
export type Applications = {
  readonly [Name in keyof Protocols]?: Application<ProtocolOf<Protocols[Name]>>
} & {
  readonly channel?: Application<ChannelProtocol>
  readonly lifespan?: Application<LifespanProtocol>
}

/** `ProtocolTypeRouter({ http: URLRouter([...]), sms: SMSFromRouter([...]) })`: as in the YAML, in code. */
export const ProtocolTypeRouter = (applications: Applications): EveryApplication => protocolTypeRouter(applications)

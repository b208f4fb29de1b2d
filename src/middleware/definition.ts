/** A middleware that YAML can name. */
import type { ZodType } from 'zod'
import type { ProtocolDefinition } from '../asgi/definition.ts'
import type { Application } from '../asgi/protocol.ts'

export interface MiddlewareDefinition<Options = unknown> {
  /** As the YAML says it, e.g. `accessLog`. */
  readonly name: string
  readonly description: string
  /** What may stand beside `app`. */
  readonly options: ZodType<Options>
  /** The scope types it may stand around; undefined: every one. */
  readonly protocols?: readonly string[]
  /** Why it cannot stand, with these options, around an application of this protocol. */
  refuse?(options: Options, protocol: ProtocolDefinition): string | undefined
  wrap(application: Application, options: Options): Application
}

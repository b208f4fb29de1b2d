/** A middleware that YAML can name. */
import type { ZodType } from 'zod'
import type { Application } from '../asgi/protocol.ts'

export interface MiddlewareDefinition<Options = unknown> {
  /** As the YAML says it, e.g. `accessLog`. */
  readonly name: string
  readonly description: string
  /** What may stand beside `app`. */
  readonly options: ZodType<Options>
  /** The scope types it may stand around; undefined: every one. */
  readonly protocols?: readonly string[]
  wrap(application: Application, options: Options): Application
}

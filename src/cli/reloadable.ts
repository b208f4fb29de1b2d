/** The gateway's application with a changeable inside: a reload puts another routing in, open scopes keep theirs. */
import { isDeepStrictEqual } from 'node:util'
import type { Context, Log } from '../asgi/context.ts'
import type { Application, Protocol, Receive, Send, Step } from '../asgi/protocol.ts'
import type { Config } from '../config/config.ts'
import { formatDiagnostic } from '../config/diagnostics.ts'
import type { LoadResult } from '../config/load.ts'
import { reason } from '../runtime/errors.ts'
import type { Reloaded } from '../server/admin-places.ts'

/** What only the next start can change. */
const fixed = ['data', 'layer', 'workers', 'journal', 'sync', 'admin', 'log', 'closeTimeout', 'drainTimeout'] as const

/** Starts the lifespan of an application that takes over. It rejects when that does not start. */
type RenewLifespan = (application: Application) => Promise<void>

export class Reloadable {
  readonly application: Application
  readonly #started: Config
  readonly #log: Log
  #current: Config
  #last: Promise<unknown> = Promise.resolve()

  constructor(config: Config, log: Log) {
    this.#started = config
    this.#current = config
    this.#log = log
    this.application = Object.assign(
      (scope: Protocol['scope'], receive: Receive<Protocol>, send: Send<Protocol>, context: Context) =>
        this.#current.application(scope, receive, send, context),
      {
        resolve: (scope: Protocol['scope'], trace?: (step: Step) => void) => {
          const { application } = this.#current
          return application.resolve ? application.resolve(scope, trace) : { rules: [application], params: {} }
        },
      },
    )
  }

  /** Loads the file again, when the reload before is over. With a mistake in it everything stays as it was. */
  reload(load: () => Promise<LoadResult>, renewLifespan: RenewLifespan): Promise<Reloaded> {
    const next = this.#last.then(async () => this.#replace(await load(), renewLifespan))
    this.#last = next.catch(() => undefined)
    return next
  }

  async #replace({ config, diagnostics }: LoadResult, renewLifespan: RenewLifespan): Promise<Reloaded> {
    for (const { severity, file, line, column, path, message } of diagnostics) {
      this.#log[severity === 'error' ? 'error' : 'warn']({ place: `${file}:${line}:${column}`, path }, message)
    }
    const messages = diagnostics.map(formatDiagnostic)
    if (!config) {
      this.#log.error({}, 'the YAML was read again and has mistakes: the routing stays as it was')
      return { reloaded: false, messages, later: [] }
    }
    try {
      if (config.lifespan !== this.#current.lifespan) await renewLifespan(config.application)
    } catch (error) {
      this.#log.error({ err: error }, `the YAML was read again: ${reason(error)}: the routing stays as it was`)
      return { reloaded: false, messages: [...messages, reason(error)], later: [] }
    }
    this.#current = config
    const later = this.#later(config)
    if (later.length > 0) this.#log.warn({ settings: later }, 'these settings change with the next start')
    this.#log.info({ file: config.file }, 'the YAML was read again: new scopes follow its routing')
    return { reloaded: true, messages, later }
  }

  /** `listen.mqtt`, `drainTimeout`. */
  #later(config: Config): readonly string[] {
    const { listen } = this.#started
    const protocols = new Set([...Object.keys(listen), ...Object.keys(config.listen)])
    const listeners = [...protocols].filter((name) => !isDeepStrictEqual(config.listen[name], listen[name]))
    const settings = fixed.filter((key) => !isDeepStrictEqual(config[key], this.#started[key]))
    return [...listeners.map((name) => `listen.${name}`), ...settings]
  }
}

/** The gateway's application with a changeable inside: SIGHUP puts another routing in, open scopes keep theirs. */
import { isDeepStrictEqual } from 'node:util'
import type { Context, Log } from '../asgi/context.ts'
import type { Application, Protocol, Receive, Send, Step } from '../asgi/protocol.ts'
import type { Config } from '../config/config.ts'
import type { LoadResult } from '../config/load.ts'

/** What only the next start can change. */
const fixed = ['listen', 'data', 'layer', 'workers', 'admin', 'log', 'closeTimeout', 'drainTimeout'] as const

export class Reloadable {
  readonly application: Application
  readonly #started: Config
  readonly #log: Log
  #current: Application

  constructor(config: Config, log: Log) {
    this.#started = config
    this.#current = config.application
    this.#log = log
    this.application = Object.assign(
      (scope: Protocol['scope'], receive: Receive<Protocol>, send: Send<Protocol>, context: Context) =>
        this.#current(scope, receive, send, context),
      {
        resolve: (scope: Protocol['scope'], trace?: (step: Step) => void) =>
          this.#current.resolve ? this.#current.resolve(scope, trace) : { rules: [this.#current], params: {} },
      },
    )
  }

  /** With a mistake in the new file everything stays as it is. */
  replace({ config, diagnostics }: LoadResult): void {
    for (const { severity, file, line, column, path, message } of diagnostics) {
      this.#log[severity === 'error' ? 'error' : 'warn']({ place: `${file}:${line}:${column}`, path }, message)
    }
    if (!config) {
      this.#log.error({}, 'the YAML was read again and has mistakes: the routing stays as it was')
      return
    }
    const later = fixed.filter((key) => !isDeepStrictEqual(config[key], this.#started[key]))
    if (later.length > 0) this.#log.warn({ settings: later }, 'these settings change with the next start')
    this.#current = config.application
    this.#log.info({ file: config.file }, 'the YAML was read again: new scopes follow its routing')
  }
}

/** Plays the server's side of the lifespan protocol: start-up before any port opens, shut-down when all is closed. */
import type { Connection, Transport } from '../asgi/adapter.ts'
import type { LifespanProtocol, LifespanScope } from '../asgi/lifespan.ts'
import type { Application, State } from '../asgi/protocol.ts'
import { SignalboxError, hasCode, reason } from '../runtime/errors.ts'
import { Instance } from '../runtime/instance.ts'
import type { InstanceOptions } from '../runtime/instance-options.ts'

type Answer = LifespanProtocol['send']

/** A running lifespan application; `state` is what it left for later scopes. */
export class Lifespan {
  readonly #connection: Connection<LifespanProtocol>
  #answer = Promise.withResolvers<Answer>()
  #started = false
  state: State

  constructor(application: Application, state: State, options: InstanceOptions) {
    this.state = state
    const scope: LifespanScope = {
      type: 'lifespan',
      id: 'lifespan',
      client: null,
      server: null,
      params: {},
      route: '',
      state,
    }
    const transport: Transport<LifespanProtocol> = {
      progress: 'finished',
      send: (event) => this.#answer.resolve(event),
      end: (outcome) =>
        this.#answer.reject(
          outcome.kind === 'raised' ? outcome.error : new SignalboxError('scope_ended', outcome.kind),
        ),
    }
    // An application that no router leads to has no lifespan; see `startup`.
    this.#connection = new Instance(application as Application<LifespanProtocol>, scope, transport, options)
  }

  /** @throws SignalboxError `lifespan_failed` when the application says so, raises, or has not answered after `timeout` milliseconds. */
  async startup(timeout: number): Promise<void> {
    try {
      const answer = await this.#ask({ type: 'lifespan.startup' }, timeout)
      if (answer.type === 'lifespan.startup.failed') throw new Error(answer.message ?? 'no reason given')
      if (answer.type !== 'lifespan.startup.complete') throw unexpected(answer, 'lifespan.startup.complete or .failed')
      this.state = { ...this.state, ...structuredClone(answer.state) }
      this.#started = true
    } catch (error) {
      // ASGI lifespan: an application that does not know the protocol goes without it.
      if (hasCode(error, 'no_route')) return
      throw new SignalboxError('lifespan_failed', `the lifespan application did not start: ${reason(error)}`, {
        cause: error,
      })
    }
  }

  /** @throws SignalboxError `lifespan_failed`, as for `startup`. */
  async shutdown(timeout: number): Promise<void> {
    if (this.#connection.ended || !this.#started) return this.#connection.disconnect()
    try {
      const answer = await this.#ask({ type: 'lifespan.shutdown' }, timeout)
      if (answer.type === 'lifespan.shutdown.failed') throw new Error(answer.message ?? 'no reason given')
      if (answer.type !== 'lifespan.shutdown.complete')
        throw unexpected(answer, 'lifespan.shutdown.complete or .failed')
    } catch (error) {
      throw new SignalboxError('lifespan_failed', `the lifespan application did not shut down: ${reason(error)}`, {
        cause: error,
      })
    }
  }

  async #ask(event: LifespanProtocol['receive'], timeout: number): Promise<Answer> {
    this.#answer = Promise.withResolvers<Answer>()
    const last = event.type === 'lifespan.shutdown'
    const answer = this.#answer
    this.#connection.deliver(event, { last })
    const late = () => answer.reject(new SignalboxError('timed_out', `it has not answered within ${timeout} ms`))
    const timer = setTimeout(late, timeout)
    try {
      return await answer.promise
    } finally {
      clearTimeout(timer)
      // A later end of the application is nobody's answer.
      this.#answer.promise.catch(() => undefined)
      if (last) this.#connection.disconnect()
    }
  }
}

function unexpected(answer: Answer, expected: string): SignalboxError {
  return new SignalboxError('unexpected_event', `lifespan: expected ${expected}, found ${answer.type}`)
}

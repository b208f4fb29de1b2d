/** The events of one request on their way into its consumer: nothing is asked for before a handler wants it. */
import type { Event, Receive } from '../../src/asgi/protocol.ts'
import { Mailbox } from '../../src/runtime/mailbox.ts'
import { leftEarly } from './request.ts'
import type { HttpProtocol } from './scope.ts'

export interface IntakeOptions {
  readonly receive: Receive<HttpProtocol>
  /** Handles a message of the channel layer; the next one waits for it. */
  readonly dispatch: (message: Event) => unknown
  /** Told when a message could not be handled. */
  readonly failed: (error: unknown) => void
}

export class Intake {
  readonly #options: IntakeOptions
  readonly #body = new Mailbox<Uint8Array | undefined>()
  readonly #wanted = new Mailbox<true>()

  /** Takes every event from now on: parts of the body when they are wanted, messages at once. */
  constructor(options: IntakeOptions) {
    this.#options = options
    this.#run().catch(options.failed)
  }

  /** The next part of the body; undefined at its end. */
  nextPart(): Promise<Uint8Array | undefined> {
    this.#wanted.put(true)
    return this.#body.take()
  }

  async #run(): Promise<void> {
    const { receive, dispatch } = this.#options
    let more = true
    for (;;) {
      const event = await receive()
      if (event.type === 'http.disconnect') {
        if (more) this.#body.close(leftEarly())
        return
      }
      if (event.type !== 'http.request') {
        await dispatch(event)
        continue
      }
      more = event.moreBody
      this.#body.put(event.body)
      if (!more) this.#body.put(undefined)
      // Asking for the next part before this one is wanted would take the back-pressure from the peer.
      else await this.#wanted.take()
    }
  }
}

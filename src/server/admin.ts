/** The admin listener: health, metrics, and sending to groups and channels for other programs, by plain HTTP and JSON. */
import type { ListenAddress } from '../asgi/adapter.ts'
import type { Log } from '../asgi/context.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { createHttpHost, type ListeningHttpHost } from '../runtime/http-host.ts'
import { addressText, isLoopback } from '../runtime/options.ts'
import { refuseCaller } from './admin-guard.ts'
import { LateDesk, type LateDeskParts } from './late-desk.ts'

export interface AdminOptions {
  readonly address: ListenAddress
  /** What callers must bring. Undefined: nothing, for a listener on loopback. */
  readonly token?: string
  /** Bytes; a larger request is refused. */
  readonly maxBodySize: number
}

interface AdminParts extends Pick<LateDeskParts, 'places'> {
  readonly log: Log
}

/** Callers at a time: they are few, and one more is closed. */
const maxConnections = 100

export class AdminListener {
  readonly #host: ListeningHttpHost

  /** @throws SignalboxError `listen_failed`. */
  static async start(options: AdminOptions, parts: AdminParts): Promise<AdminListener> {
    if (options.token === undefined && !isLoopback(options.address)) {
      const where = addressText(options.address)
      throw new SignalboxError('listen_failed', `the admin listener needs a token on ${where}, which is not loopback`)
    }
    const listener = new AdminListener(options, parts)
    await listener.#host.listen()
    return listener
  }

  private constructor({ address, token, maxBodySize }: AdminOptions, { places, log }: AdminParts) {
    const desk = new LateDesk({
      places,
      log,
      maxBodySize,
      probes: token !== undefined,
      refuse: (request) => refuseCaller(request, token),
    })
    this.#host = createHttpHost({ address, maxConnections, exclusive: true }, '', log)
    this.#host.onRequest(undefined, (request, response) => void desk.serve(request, response))
  }

  get url(): string {
    return this.#host.url
  }

  close(signal: AbortSignal): Promise<void> {
    return this.#host.close(signal)
  }
}

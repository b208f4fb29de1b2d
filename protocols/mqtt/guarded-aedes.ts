/** Aedes itself, with the places where it would go wrong, or ahead of us, put right. */
import { Aedes, type AedesOptions, type Client, type PublishPacket } from 'aedes'
import type { Session } from './session.ts'

type Callback = (error?: Error) => void

/** The session of each of Aedes' clients. */
export type Sessions = WeakMap<object, Session>

export class GuardedAedes extends Aedes {
  readonly #sessions: Sessions

  constructor(options: AedesOptions, sessions: Sessions) {
    super(options)
    this.#sessions = sessions
  }

  /** What a client published comes back here when its session has let it go on. */
  override publish(packet: PublishPacket, client: Client | Callback | null, done?: Callback): void {
    const session = client && typeof client !== 'function' ? this.#sessions.get(client) : undefined
    const back = session?.inbound.handedBack(packet)
    if (!back) return untyped.publish.call(this, packet, client, done)
    const brokered: Callback = (error) => {
      back.done(error)
      done?.(error)
    }
    return back.dropped ? brokered() : untyped.publish.call(this, packet, client, brokered)
  }

  /** What a client published that came past Aedes' parser, to every subscriber. */
  broker(packet: PublishPacket, client: Client, done: Callback): void {
    untyped.publish.call(this, packet, client, done)
  }

  /**
   * Answers at once. Until then a client has the subscription still: one that leaves would take it away once more, and with
   * mqemitter-redis from others too.
   */
  override unsubscribe(topic: string, listener: never, done: Callback = () => undefined): void {
    untyped.unsubscribe.call(this, topic, listener)
    done()
  }

  /** A client that left while its session was looked up would be listed for ever. */
  registerClient(client: Client): void {
    if (client.closed) return
    this.#sessions.get(client)?.registered()
    untyped.registerClient.call(this, client)
  }
}

/** What Aedes' types leave out. */
const untyped = Aedes.prototype as unknown as {
  publish(packet: PublishPacket, client: Client | Callback | null, done?: Callback): void
  registerClient(client: Client): void
  unsubscribe(topic: string, listener: unknown, done?: Callback): void
}

/** What a client with a session gets when it comes back: first what waited for it, then what came meanwhile, and nothing twice. */
import type { AedesPublishPacket } from 'aedes'

/** What may be held back, in bytes. */
const heldLimit = 4 * 2 ** 20
/** What a message takes beside its topic and payload, in bytes, about. */
const messageSize = 512
/** For so long a message that was read from the session may still be on its way from its publisher, in milliseconds. */
const overlap = 10_000

export interface CatchUpHost {
  /** To the client, like any other message. */
  deliver(packet: AedesPublishPacket): void
  /** More came than can be held back. */
  overflow(): void
}

/**
 * Aedes sends what it reads from the session, and at the same time what is published: newer messages would come before older
 * ones, and those that were both stored and on their way would come twice.
 */
export class CatchUp {
  readonly #host: CatchUpHost
  /** What came while the session is read; undefined: it is not. */
  #held: AedesPublishPacket[] | undefined
  #heldBytes = 0
  #over: PromiseWithResolvers<void> | undefined
  /** What was read from the session, by name. */
  #read: Set<string> | undefined
  #timer: NodeJS.Timeout | undefined
  #delivering: AedesPublishPacket | undefined

  constructor(host: CatchUpHost) {
    this.#host = host
  }

  /** The session is about to be read. */
  begin(): void {
    this.#held ??= []
    this.#over ??= Promise.withResolvers()
  }

  /** Resolves when the session was read, or the client is gone; undefined: it is not being read. */
  get over(): Promise<void> | undefined {
    return this.#over?.promise
  }

  /** This message was read from the session and is sent. */
  read(packet: Named): void {
    ;(this.#read ??= new Set()).add(nameOf(packet))
  }

  /** Whether a message that was published is not to be sent now: it comes later, or has come already. */
  keepsBack(packet: AedesPublishPacket): boolean {
    if (this.#wasRead(packet)) return true
    if (!this.#held) return false
    this.#held.push(packet)
    this.#heldBytes += messageSize + packet.topic.length + packet.payload.length
    if (this.#heldBytes > heldLimit) this.#host.overflow()
    return true
  }

  /** Whether this is one that was decided on before, and is sent now. */
  isDelivering(packet: AedesPublishPacket): boolean {
    return packet === this.#delivering
  }

  /** Sends a message that waits in the session. */
  resend(packet: AedesPublishPacket): void {
    this.read(packet)
    this.#deliver(packet)
  }

  /** The session was read: what was held back follows. */
  end(): void {
    const held = this.#held ?? []
    this.#held = undefined
    this.#heldBytes = 0
    for (const packet of held) if (!this.#wasRead(packet)) this.#deliver(packet)
    this.#settle()
    if (this.#read) this.#timer ??= setTimeout(() => this.#forget(), overlap).unref()
  }

  /** The client is gone. */
  close(): void {
    clearTimeout(this.#timer)
    this.#held = undefined
    this.#read = undefined
    this.#settle()
  }

  #settle(): void {
    this.#over?.resolve()
    this.#over = undefined
  }

  #wasRead(packet: Named): boolean {
    return this.#read?.delete(nameOf(packet)) ?? false
  }

  #deliver(packet: AedesPublishPacket): void {
    this.#delivering = packet
    this.#host.deliver(packet)
    this.#delivering = undefined
  }

  #forget(): void {
    this.#timer = undefined
    this.#read = undefined
  }
}

interface Named {
  readonly brokerId?: string | undefined
  readonly brokerCounter?: number | undefined
}

function nameOf({ brokerId, brokerCounter }: Named): string {
  return `${brokerCounter} ${brokerId}`
}

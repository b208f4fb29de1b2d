/** smtp-server with what it leaves open: our enhanced codes, and a deadline for commands that trickle in. */
import type { Socket } from 'node:net'
import { SMTPServer } from 'smtp-server'
import { SMTPConnection, type SMTPConnectionOptions } from 'smtp-server/lib/smtp-connection.js'
import { answers, type SmtpAnswer } from './answers.ts'

export class EmailServer extends SMTPServer {
  /** Begins a session on a socket that another server has accepted. */
  override connect(socket: Socket, options?: SMTPConnectionOptions | null): EmailConnection {
    const connection = new EmailConnection(this, socket, options ?? {})
    this.connections.add(connection)
    connection.on('error', (error: Error) => this.emit('error', error))
    connection.init()
    return connection
  }
}

export class EmailConnection extends SMTPConnection {
  /** A message comes in or is being handled: it has deadlines of its own. */
  busy = false
  #replies = 0
  #held: Socket | undefined
  #watch: NodeJS.Timeout | undefined

  /** A text that starts with an enhanced code is sent with that one instead of the package's choice for the code. */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    this.#replies++
    const ownCode = typeof data === 'string' && /^[245]\.\d{1,3}\.\d{1,3} /.test(data)
    // The greeting and the leave for TLS go at once: what is written after the latter must be TLS.
    if (code === 220) this.#flush()
    else this.#hold()
    super.send(code, data, ownCode ? false : context)
  }

  /** The replies to a pipelined batch (RFC 2920) go out in one write, at the end of the turn. */
  #hold(): void {
    if (this.#held) return
    this.#held = this._socket
    this.#held.cork()
    process.nextTick(() => this.#flush())
  }

  #flush(): void {
    this.#held?.uncork()
    this.#held = undefined
  }

  answer({ responseCode, message }: SmtpAnswer): void {
    this.send(responseCode, message)
  }

  /**
   * The package's idle time-out starts anew with every byte, so a client that trickles would have no deadline: one that has
   * got no reply between two looks, and is not in a message, has not brought a command to its end.
   */
  watch(commandTimeout: number): void {
    let seen = -1
    this.#watch = setInterval(() => {
      if (seen === this.#replies && !this.busy) this.answer(answers.slowCommand())
      seen = this.#replies
    }, commandTimeout).unref()
  }

  /** Ends the connection without a word. */
  cut(): void {
    this._socket.destroy()
  }

  /** The socket is closed. */
  gone(): void {
    clearInterval(this.#watch)
  }
}

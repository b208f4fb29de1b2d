/** An e-mail listener around one application, and a client that speaks SMTP line by line. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Application } from '../../../src/asgi/protocol.ts'
import type { Listener } from '../../../src/asgi/adapter.ts'
import { Mailbox } from '../../../src/runtime/mailbox.ts'
import { adapter } from '../../../protocols/email/adapter.ts'
import { EmailConsumer } from '../../../protocols/email/consumer.ts'
import { emailOptions } from '../../../protocols/email/options.ts'
import { EmailToRouter } from '../../../protocols/email/router.ts'
import type { EmailMessage, EmailProtocol, EmailScope } from '../../../protocols/email/scope.ts'
import { createServices, type ServicesOptions, type TestServices } from '../../support/services.ts'

export interface Served extends TestServices<EmailProtocol> {
  readonly listener: Listener
  readonly port: number
  /** Connects and reads the greeting. */
  connect(): Promise<Dialogue>
  [Symbol.asyncDispose](): Promise<void>
}

/** `options` are those of the YAML; the address is any free port of this machine. */
export async function serve(
  application: Application<EmailProtocol>,
  options: Readonly<Record<string, unknown>> = {},
  servicesOptions: ServicesOptions = {},
): Promise<Served> {
  const lent = createServices(application, servicesOptions)
  const listener = await adapter.start(emailOptions.parse({ address: '127.0.0.1:0', ...options }), lent.services)
  lent.attach(listener)
  const port = Number(new URL(listener.urls[0] ?? '').port)
  return Object.assign(lent, {
    listener,
    port,
    async connect() {
      const dialogue = await Dialogue.connect(port)
      await dialogue.reply()
      return dialogue
    },
    [Symbol.asyncDispose]: () => lent.close(listener),
  })
}

export interface Received {
  readonly scope: EmailScope
  readonly email: EmailMessage
}

/** An application that keeps what it gets, behind a rule for everybody at `support.org`. */
export function recorder(act: (received: Received, consumer: EmailConsumer) => unknown = () => undefined) {
  const received: Received[] = []
  class Recorder extends EmailConsumer {
    override async message(email: EmailMessage): Promise<void> {
      const one = { scope: this.scope, email }
      received.push(one)
      await act(one, this)
    }
  }
  const app = Recorder.asApplication()
  return { app, received, router: EmailToRouter([{ domain: 'support.org', app }]) }
}

/** The same, whose handler does not end before the test lets it; `started` resolves when it has begun. */
export function held() {
  const handling = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  const recording = recorder(() => {
    started.resolve()
    return handling.promise
  })
  return { ...recording, started: started.promise, go: handling.resolve }
}

/** Speaks SMTP. Every `command` waits for its reply. */
export class Dialogue {
  socket: Socket
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>
  readonly #replies = new Mailbox<string>()
  #rest = ''
  #lines: string[] = []

  static async connect(port: number): Promise<Dialogue> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const dialogue = new Dialogue(socket)
    await once(socket, 'connect')
    return dialogue
  }

  static async connectTls(port: number): Promise<Dialogue> {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    const dialogue = new Dialogue(socket)
    await once(socket, 'secureConnect')
    return dialogue
  }

  private constructor(socket: Socket) {
    this.socket = socket
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
    this.#listen(socket)
  }

  #listen(socket: Socket): void {
    socket.setEncoding('utf8')
    socket.on('error', () => undefined)
    socket.on('data', (text: string) => this.#take(text))
    socket.once('close', () => {
      if (this.socket === socket) this.#replies.close(new Error('the connection is closed'))
    })
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\r\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      this.#lines.push(line)
      if (line[3] === '-') continue
      this.#replies.put(this.#lines.join('\n'))
      this.#lines = []
    }
  }

  /** The next reply, of one or more lines. */
  reply(): Promise<string> {
    return this.#replies.take()
  }

  get pending(): number {
    return this.#replies.length
  }

  /** Writes these bytes; resolves when they have gone to the system. */
  write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes) : bytes, () => resolve())
    })
  }

  async command(line: string): Promise<string> {
    await this.write(`${line}\r\n`)
    return this.reply()
  }

  /** EHLO, MAIL and a RCPT for each; answers the last reply. */
  async envelope(to: readonly string[] = ['bob@support.org'], from = 'ann@example.org'): Promise<string> {
    await this.command('EHLO client.example.org')
    let reply = await this.command(`MAIL FROM:<${from}>`)
    for (const recipient of to) reply = await this.command(`RCPT TO:<${recipient}>`)
    return reply
  }

  /** A whole transaction; answers the reply to its data. */
  async mail(message: string | Uint8Array, to?: readonly string[], from?: string): Promise<string> {
    const accepted = await this.envelope(to, from)
    if (!accepted.startsWith('250')) return accepted
    await this.command('DATA')
    await this.write(message)
    await this.write('\r\n.\r\n')
    return this.reply()
  }

  /** Goes on under TLS on the same connection. */
  async startTls(): Promise<void> {
    const secure = connectTls({ socket: this.socket, rejectUnauthorized: false })
    this.socket.removeAllListeners('data')
    this.socket = secure
    this.#listen(secure)
    await once(secure, 'secureConnect')
  }

  end(): void {
    this.socket.end()
  }

  reset(): void {
    this.socket.resetAndDestroy()
  }
}

/** A mail of a person. */
export function mailText(fields: Readonly<Record<string, string>> = {}, body = 'My printer is on fire.'): string {
  const all: Record<string, string> = {
    From: 'Ann <ann@example.org>',
    To: 'bob@support.org',
    Subject: 'Fire',
    Date: 'Tue, 1 Jul 2025 10:52:37 +0200',
    'Message-ID': `<${crypto.randomUUID()}@example.org>`,
    ...fields,
  }
  const head = Object.entries(all).filter(([, value]) => value !== '')
  return `${head.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n${body}\r\n`
}

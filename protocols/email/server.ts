/** smtp-server with what it leaves open: messages that come whole, our enhanced codes, and a deadline for commands that trickle in. */
import type { Socket } from 'node:net'
import type { SMTPServerDataStream, SMTPServerOptions } from 'smtp-server'
import type { SMTPConnectionOptions } from 'smtp-server/lib/smtp-connection.js'
import type { SMTPStreamOptions } from 'smtp-server/lib/smtp-stream.js'
import { Corker, type Corked } from '../../src/runtime/corker.ts'
import { answers, type SmtpAnswer } from './answers.ts'
import { DataReader, type DataReading } from './receive-data.ts'
import { SMTPConnection, SMTPServer, SMTPStream } from './smtp-server.ts'

export class EmailServer extends SMTPServer {
  readonly reading: DataReading

  constructor(options: SMTPServerOptions, reading: DataReading) {
    super(options)
    this.reading = reading
  }

  /** Begins a session on a socket that another server has accepted. */
  override connect(socket: Socket, options?: SMTPConnectionOptions | null): EmailConnection {
    const connection = new EmailConnection(this, socket, options ?? {})
    this.connections.add(connection)
    connection.on('error', (error: Error) => this.emit('error', error))
    connection.init()
    return connection
  }
}

const noBytes = Buffer.alloc(0)
const cr = 0x0d
const lf = 0x0a
const dot = 0x2e
const lineOfDot = Buffer.from([lf, dot])

/** The package's parser, with a reader of ours for each message instead of a stream of Node's. */
export class EmailParser extends SMTPStream {
  readonly #reading: DataReading

  constructor(options: SMTPStreamOptions, reading: DataReading) {
    super(options)
    this.#reading = reading
  }

  override startDataMode(maxBytes?: number | string | null): SMTPServerDataStream {
    const reader = new DataReader(this.#reading) as unknown as SMTPServerDataStream // as much of one as the package asks for
    this._dataMode = true
    this._maxBytes = Number(maxBytes) || Infinity
    this.dataBytes = 0
    this._atDataStart = true
    this._dataStream = reader
    return reader
  }

  /** As the package does, which forgets a message that came whole behind this one: its session would stand still. */
  override continue(): void {
    const goOn = this._continueCallback
    this._continueCallback = typeof goOn !== 'function'
    if (typeof goOn === 'function') goOn()
  }

  /** A message that is all of a chunk, and has no line that begins with a dot, is found whole. Most are like that. */
  override _feedDataStream(chunk: Buffer, done: (error?: Error | null) => void): void {
    const end = chunk.length - 3
    const isFirst = this._atDataStart && !this._lastBytes && chunk[0] !== dot
    const isWhole = isFirst && chunk[end - 2] === cr && chunk[end + 1] === cr && chunk[end + 2] === lf
    if (!isWhole || chunk.indexOf(lineOfDot) !== end - 1) return super._feedDataStream(chunk, done)
    this._countDataBytes(end)
    this._endDataMode(chunk.subarray(0, end), noBytes, done)
  }
}

/** Of all connections: one callback a turn. */
const corker = new Corker()

const ownCode = /^[245]\.\d{1,3}\.\d{1,3} /
// oxlint-disable-next-line eslint/no-control-regex -- these are what is meant
const controls = /[\0-\x1f\x7f-\x9f]/g

/** Nothing of a client's or an application's begins a line of its own. */
function lineOf(start: string, text: string): string {
  return `${start}${text.replace(controls, ' ')}`.trimEnd() + '\r\n'
}

/** A reply's text, and the line that it makes. */
interface Line {
  readonly code: number
  readonly data: string
  readonly line: string
}

/** The last one that was no refusal, by the package's word for what it answers, or else by its code: most say the same each time. */
const lines = new Map<string | number, Line>()

type Handler = NonNullable<ReturnType<InstanceType<typeof SMTPConnection>['_getHandler']>>

/** What the package finds by a name that it puts together each time. */
const handlers = new Map(
  Object.entries(Object.getOwnPropertyDescriptors(SMTPConnection.prototype))
    .filter(([name]) => name.startsWith('handler_'))
    .map(([name, { value }]) => [name.slice('handler_'.length), value as Handler]),
)

/** The three commands of every transaction, by how they begin. */
const ofEach = new Map(['MAIL ', 'RCPT ', 'DATA'].map((start) => [start, handlers.get(start.trimEnd())]))

type Parsed = ReturnType<InstanceType<typeof SMTPConnection>['_parseAddressCommand']>

export class EmailConnection extends SMTPConnection implements Corked {
  /** A message comes in or is being handled: it has deadlines of its own. */
  busy = false
  #replies = 0
  /** What was said in this turn. */
  #text = ''
  /** The last MAIL, and the last RCPT. */
  readonly #parsed = new Map<string, { readonly line: string; readonly parsed: Parsed }>()
  #watch: NodeJS.Timeout | undefined

  /** As the package makes its own; called before this object is whole. */
  override _createParser(): EmailParser {
    const { options, reading } = this._server as EmailServer // which made this connection
    const parser = new EmailParser({ maxCommandLength: options.maxCommandLength }, reading)
    // Its text is asked for many times.
    parser.oncommand = (command, callback) => this.#onCommand(command.toString(), callback)
    parser.on('error', (error) => this.send(421, `Error: ${error.message}`))
    return parser
  }

  /**
   * As `_onCommand`, of whose questions only these have more than one answer for the commands of a transaction: the others are of
   * LMTP, of who signs in, and of what begins like a request of HTTP.
   */
  #onCommand(command: string, callback: (() => void) | undefined): void {
    const handler = ofEach.get(command.length === 4 ? command : command.slice(0, 5))
    const isOpen = this._ready && !this._upgrading && !this._server._closeTimeout && this.hostNameAppearsAs
    if (!handler || !callback || !isOpen) return super._onCommand(command as unknown as Buffer, callback)
    let isDone = false
    const done = () => {
      isDone = true
      this._handlerPending = false
      this._whenWritable(callback)
    }
    this._handlerPending = true
    try {
      handler.call(this, command as unknown as Buffer, done)
    } catch (error) {
      this.emit('error', error)
      if (isDone) return
      this.answer(answers.failed())
      done()
    }
  }

  /**
   * A text that starts with an enhanced code is sent with that one instead of the package's choice for the code. The replies to
   * a pipelined batch (RFC 2920) go out in one write, when the turn is over.
   */
  override send(code: number, data?: string | string[] | null, context?: string | false): void {
    this.#replies++
    const known = lines.get(context || code)
    if (known?.data === data && known?.code === code && context !== false && !this._upgrading)
      return this.#say(known.line)
    const hasOwnCode = typeof data === 'string' && ownCode.test(data)
    const said = hasOwnCode ? false : context
    // What closes the connection, and what leaves for TLS, is written at once, and in its place.
    if (code !== 220 && code !== 421 && !this._upgrading) return this.#reply(code, data, said)
    this.flush()
    super.send(code, data, said)
  }

  override close(): void {
    this.flush()
    super.close()
  }

  /** Asked of each command, several times: nobody signs in here. */
  override _isSupported(command: string): boolean {
    return command !== 'AUTH' && super._isSupported(command)
  }

  override _getHandler(command: string): Handler | undefined {
    return handlers.get(command)
  }

  /** A sender that stays says the same again and again, and it is read once. */
  override _parseAddressCommand(name: string, command: Buffer | string): Parsed {
    const line = command.toString()
    const known = this.#parsed.get(name)
    const parsed = known?.line === line ? known.parsed : super._parseAddressCommand(name, line)
    if (known?.line !== line) this.#parsed.set(name, { line, parsed })
    // Each transaction has one of its own.
    return parsed && { ...parsed }
  }

  /** As the package writes replies, but for when. */
  #reply(code: number, data: string | string[] | null | undefined, context: string | false | undefined): void {
    const enhanced = this._getEnhancedStatusCode(code, context)
    const between = enhanced === '' ? '' : `${enhanced} `
    const [last = '', ...before] = Array.isArray(data) ? data.toReversed() : []
    let text = lineOf(`${code} ${between}`, Array.isArray(data) ? last : (data ?? ''))
    for (const line of before) text = lineOf(`${code}-${between}`, line) + text
    if (code >= 400) this.session.error = text.trimEnd()
    else if (typeof data === 'string' && context !== false) lines.set(context ?? code, { code, data, line: text })
    this.#say(text)
  }

  #say(text: string): void {
    if (this.#text === '') corker.add(this)
    this.#text += text
  }

  /** The turn is over, or has to be. */
  flush(): void {
    const text = this.#text
    if (text === '') return
    this.#text = ''
    const socket = this._socket
    if (!socket.destroyed && socket.readyState === 'open') socket.write(text)
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

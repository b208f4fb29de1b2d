/** Our hooks as smtp-server calls them: each is answered exactly once, and in time, whatever happens in it. */
import type { SMTPServerOptions } from 'smtp-server'
import type { Log } from '../../src/asgi/context.ts'
import { Deadline, Deadlines } from '../../src/runtime/deadlines.ts'
import { SmtpAnswer, answers } from './answers.ts'
import type { EmailOptions } from './options.ts'
import type { Peer, Peers } from './peers.ts'
import { ClientGone, type DataReader } from './receive-data.ts'

type Callback = (error?: Error | null, text?: string) => void

export interface HookParts {
  readonly options: EmailOptions
  readonly hostname: string
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined
  readonly log: Log
  readonly peers: Peers
  /** Told the code of each refusal. */
  readonly refused: (code: number) => void
}

/** Milliseconds. Parsing has its own bound, below this. */
const parseTimeout = 30_000
/** The package closes what is left after this; who waits how long is decided elsewhere. */
const never = 2 ** 31 - 1

export function smtpOptions({ options, hostname, tls, log, peers, refused }: HookParts): SMTPServerOptions {
  const peerOf = ({ id }: { readonly id: string }): Peer => {
    const peer = peers.find(id)
    if (!peer) throw new ClientGone('the client has left')
    return peer
  }
  const hook = (work: () => void, callback: Callback) => {
    let error: Error | undefined
    try {
      work()
    } catch (thrown) {
      error = answerFor(thrown, log)
      if (error instanceof SmtpAnswer) refused(error.responseCode)
    }
    callback(error)
  }
  // The package itself would wait for ever for a hook that does not answer.
  const timeout = options.dataTimeout + options.handlerTimeout + parseTimeout
  const waiting = new Deadlines(timeout)
  return {
    name: hostname,
    secure: options.secure,
    ...tls,
    minVersion: 'TLSv1.2',
    size: options.maxSize,
    maxRecipients: options.maxRecipients,
    maxCommandLength: 4096, // RFC 5321 4.5.3.1.4 asks for 512, and extensions add to it
    socketTimeout: options.commandTimeout,
    closeTimeout: never,
    // Nobody signs in here, nobody speaks for another client, and the last three are no commands of SMTP.
    disabledCommands: ['AUTH', 'XCLIENT', 'XFORWARD', 'WIZ', 'SHELL', 'KILL', ...(tls ? [] : ['STARTTLS'])],
    disableReverseLookup: true,
    hideENHANCEDSTATUSCODES: false,
    heloResponse: '%s at your service',
    onMailFrom: (address, session, callback) =>
      hook(() => peerOf(session).session.mailFrom(address, session), callback),
    onRcptTo: (address, session, callback) => hook(() => peerOf(session).session.rcptTo(address, session), callback),
    onData(stream, session, callback) {
      const peer = peers.find(session.id)
      if (!peer?.connection) return callback(new ClientGone('the client has left'))
      const { connection } = peer
      connection.busy = true
      let isAnswered = false
      const answer = (thrown?: unknown) => {
        if (isAnswered) return
        isAnswered = true
        waiting.end(deadline)
        connection.busy = false
        const error = thrown === undefined ? undefined : answerFor(thrown, log)
        if (error instanceof SmtpAnswer) refused(error.responseCode)
        callback(error, 'Accepted')
        if (peers.isClosing) connection.answer(answers.closing())
      }
      const deadline = new Deadline(() => answer(answers.failed()))
      waiting.begin(deadline)
      peer.session.data(stream as unknown as DataReader, answer) // what EmailParser has made
    },
    onClose({ id }) {
      const peer = peers.find(id)
      if (peer) peers.left(peer)
    },
  }
}

function answerFor(error: unknown, log: Log): Error {
  if (error instanceof SmtpAnswer || error instanceof ClientGone) return error
  log.error({ err: error }, 'an SMTP command failed')
  return answers.failed()
}

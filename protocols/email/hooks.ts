/** Our hooks as smtp-server calls them: each is answered exactly once, and in time, whatever happens in it. */
import type { SMTPServerOptions } from 'smtp-server'
import type { Log } from '../../src/asgi/context.ts'
import { SmtpAnswer, answers } from './answers.ts'
import type { EmailOptions } from './options.ts'
import type { Peer, Peers } from './peers.ts'
import { ClientGone } from './receive-data.ts'

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
      const connection = peers.find(session.id)?.connection
      if (connection) connection.busy = true
      const answer: Callback = (error) => {
        if (connection) connection.busy = false
        if (error instanceof SmtpAnswer) refused(error.responseCode)
        callback(error, 'Accepted')
        if (peers.isClosing) connection?.answer(answers.closing())
      }
      const timeout = options.dataTimeout + options.handlerTimeout + parseTimeout
      answerInTime(async () => peerOf(session).session.data(stream, session), { timeout, log }, answer)
    },
    onClose({ id }) {
      const peer = peers.find(id)
      if (peer) peers.left(peer)
    },
  }
}

/** The package itself would wait for ever for a hook that does not answer. */
function answerInTime(
  work: () => Promise<void>,
  { timeout, log }: { readonly timeout: number; readonly log: Log },
  callback: Callback,
): void {
  let answered = false
  const answer = (error?: Error) => {
    if (answered) return
    answered = true
    clearTimeout(timer)
    callback(error)
  }
  const timer = setTimeout(() => answer(answers.failed()), timeout)
  work().then(
    () => answer(),
    (error: unknown) => answer(answerFor(error, log)),
  )
}

function answerFor(error: unknown, log: Log): Error {
  if (error instanceof SmtpAnswer || error instanceof ClientGone) return error
  log.error({ err: error }, 'an SMTP command failed')
  return answers.failed()
}

/** `signalbox send email`: plays a mail server to a running gateway, and tells what it answered. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createTransport } from 'nodemailer'
import type { Client, ClientTarget } from '../../src/asgi/definition.ts'
import { SignalboxError, reason } from '../../src/runtime/errors.ts'
import { foldAddress } from './address.ts'
import type { EmailOptions } from './options.ts'

const defaultSender = 'ann@example.org'
/** One listens on all addresses, but calls one. */
const reachable: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

export const client: Client = {
  async send([to, text], options, target) {
    if (!to || !foldAddress(to)) {
      throw new SignalboxError(
        'bad_address',
        `expected a recipient${foundIn(to)}: npx signalbox send email help@support.org "My printer is on fire"`,
      )
    }
    const from = options['from'] ?? defaultSender
    // Empty: a bounce.
    if (from !== '' && !foldAddress(from)) {
      throw new SignalboxError(
        'bad_address',
        `--from: expected an address such as ${defaultSender}, found ${JSON.stringify(from)}`,
      )
    }
    const mail = await contentOf(
      { from, to, text: options['text'] ?? text ?? '', subject: options['subject'] },
      options['file'],
    )
    const transport = createTransport(connectionOf(target))
    const abort = () => transport.close()
    target.signal.addEventListener('abort', abort, { once: true })
    try {
      const { response } = await transport.sendMail({ ...mail, envelope: { from, to: [to] } })
      return { positive: response.startsWith('250'), text: response }
    } catch (error) {
      // The package gives the system's error a code of its own.
      const refused = Error.isError(error) && error.message.includes('ECONNREFUSED')
      if (refused) throw Object.assign(error, { code: 'ECONNREFUSED' })
      return { positive: false, text: answerIn(error) }
    } finally {
      target.signal.removeEventListener('abort', abort)
      transport.close()
    }
  },
}

/** Of what was given instead. */
function foundIn(given: string | undefined): string {
  return given === undefined ? '' : `, found ${JSON.stringify(given)}`
}

interface Content {
  readonly from: string
  readonly to: string
  readonly text: string
  readonly subject: string | undefined
}

async function contentOf({ from, to, text, subject }: Content, file: string | undefined): Promise<object> {
  if (file === undefined) {
    const words = text.split(/\s+/).slice(0, 8).join(' ')
    return {
      from: from || 'mailer-daemon@example.org',
      to,
      subject: subject ?? words,
      text,
      messageId: `<${randomUUID()}@example.org>`,
    }
  }
  try {
    return { raw: await readFile(file) }
  } catch (error) {
    throw new SignalboxError('bad_address', `--file: ${reason(error)}`, { cause: error })
  }
}

function connectionOf({ options }: ClientTarget) {
  const { address, secure } = options as EmailOptions // parsed by this protocol's own schema
  return {
    host: reachable[address.host] ?? address.host,
    port: address.port,
    secure,
    // The certificate names the public host, and this goes to the operator's own address: there is nobody else to ask for.
    tls: { rejectUnauthorized: false },
    connectionTimeout: 10_000,
    greetingTimeout: 10_000,
  }
}

/** What the server said, or why it said nothing. */
function answerIn(error: unknown): string {
  const response = Error.isError(error) && 'response' in error ? error.response : undefined
  return typeof response === 'string' && response !== '' ? response : reason(error)
}

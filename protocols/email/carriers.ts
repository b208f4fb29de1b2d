/** Where outgoing mail goes: to the configured relay, or into a folder. */
import { randomBytes } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { OutgoingMail } from './compose.ts'
import type { RelayOptions } from './options.ts'

export interface Carrier {
  /** Resolves when the mail is out of our hands, or on disk. */
  carry(mail: OutgoingMail): Promise<void>
  /** Ends what is going on, too. */
  close(): void
}

/** Milliseconds that the relay has for each step. */
const relayPatience = 15_000

export async function relayCarrier(relay: RelayOptions): Promise<Carrier> {
  const { createTransport } = await import('nodemailer')
  const { host, port, secure, user, password, requireTls, verifyTls } = relay
  const transport = createTransport({
    pool: true,
    maxConnections: 4,
    maxRequeues: 0,
    host,
    port,
    secure,
    requireTLS: requireTls,
    tls: { rejectUnauthorized: verifyTls },
    ...(user !== '' && { auth: { user, pass: password } }),
    connectionTimeout: relayPatience,
    greetingTimeout: relayPatience,
    socketTimeout: relayPatience * 2,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  // A pool emits the errors of its idle connections, too.
  transport.on('error', () => undefined)
  return {
    async carry({ envelope, raw }) {
      await transport.sendMail({ raw, envelope: { from: envelope.from, to: [...envelope.to] } })
    },
    close: () => transport.close(),
  }
}

/** One file a mail, there at once or not at all. */
export function outboxCarrier(folder: string): Carrier {
  return {
    async carry({ envelope, raw }) {
      await mkdir(folder, { recursive: true })
      const name = `${new Date().toISOString().replaceAll(/[:.]/g, '-')}-${randomBytes(4).toString('hex')}`
      const unfinished = join(folder, `.${name}.part`)
      try {
        const file = await open(unfinished, 'wx', 0o600)
        try {
          // RFC 5321 4.4: whoever makes the final delivery writes down the return path.
          await file.writeFile(Buffer.concat([Buffer.from(`Return-Path: <${envelope.from}>\r\n`), raw]))
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(unfinished, join(folder, `${name}.eml`))
      } catch (error) {
        await rm(unfinished, { force: true })
        throw error
      }
    },
    close: () => undefined,
  }
}

/** The support tickets: their messages, who takes part in them, and what was attached. */
import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import { time } from './time.ts'

/** `mail`: somebody wrote; `bounce`: our answer could not be delivered; `notice`: not yet. */
export type Kind = 'mail' | 'bounce' | 'notice'

export interface NewMessage {
  readonly kind: Kind
  /** With angle brackets; empty when there is none. */
  readonly messageId: string
  /** What makes this message the same as another: a digest is stored once. */
  readonly digest: string
  readonly from: string
  readonly to: string
  readonly subject: string
  readonly text: string
  /** Addresses that take part in the ticket from now on, lower-case. */
  readonly participants: readonly string[]
  readonly attachments: readonly NewAttachment[]
}
export interface NewAttachment {
  readonly filename: string
  readonly contentType: string
  readonly content: Uint8Array
}

/** A ticket in the list. `status`: `open`, or `bounced` when our answer came back. */
export interface Ticket {
  readonly id: number
  readonly subject: string
  readonly from: string
  readonly to: string
  readonly status: string
  readonly messageCount: number
  readonly openedAt: string
  readonly updatedAt: string
}
export interface TicketMessage {
  readonly kind: string
  readonly from: string
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly messageId: string
  readonly at: string
  readonly attachments: readonly AttachmentInfo[]
}
export interface AttachmentInfo {
  readonly filename: string
  readonly contentType: string
  readonly size: number
  readonly url: string
}

const schema = `
  CREATE TABLE IF NOT EXISTS tickets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    status TEXT NOT NULL, opened INTEGER NOT NULL, updated INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS tickets_by_update ON tickets (updated);
  CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, ticket INTEGER NOT NULL REFERENCES tickets, kind TEXT NOT NULL,
    message_id TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS messages_by_ticket ON messages (ticket);
  CREATE INDEX IF NOT EXISTS messages_by_message_id ON messages (message_id) WHERE message_id <> '';
  CREATE TABLE IF NOT EXISTS participants (
    ticket INTEGER NOT NULL REFERENCES tickets, address TEXT NOT NULL, PRIMARY KEY (ticket, address)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS attachments (
    id INTEGER PRIMARY KEY, message INTEGER NOT NULL REFERENCES messages,
    filename TEXT NOT NULL, content_type TEXT NOT NULL, content BLOB NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS attachments_by_message ON attachments (message)`

const ticketRow = `
  SELECT t.*, (SELECT count(*) FROM messages m WHERE m.ticket = t.id) AS messages FROM tickets t`

export class Tickets {
  readonly #database: DatabaseSync
  readonly #statements: ReturnType<typeof prepare>

  constructor(database: DatabaseSync) {
    database.exec(schema)
    this.#database = database
    this.#statements = prepare(database)
  }

  /** Whether a message with this digest is stored already. */
  has(digest: string): boolean {
    return this.#statements.has.get(digest) !== undefined
  }

  /** Opens a ticket with its first message and gives its number. */
  open(message: NewMessage): number {
    return this.#transaction(() => {
      const { subject, from, to } = message
      const now = Date.now()
      const ticket = Number(this.#statements.open.run({ subject, from, to, now }).lastInsertRowid)
      this.#insert(ticket, message, now)
      return ticket
    })
  }

  /** Adds a message to a ticket: a mail opens it again, a bounce marks it. */
  append(ticket: number, message: NewMessage): void {
    this.#transaction(() => {
      const now = Date.now()
      this.#insert(ticket, message, now)
      this.#statements.touch.run({ ticket, now, status: statusAfter[message.kind] })
    })
  }

  /** The ticket of the newest message with one of these Message-IDs. */
  byMessageId(messageIds: readonly string[]): number | undefined {
    for (const messageId of messageIds) {
      const row = this.#statements.byMessageId.get(messageId)
      if (row) return Number(row['ticket'])
    }
    return undefined
  }

  hasParticipant(ticket: number, address: string): boolean {
    return this.#statements.hasParticipant.get(ticket, address) !== undefined
  }

  /** Newest first: by the last thing that happened to them. */
  list(limit: number): Ticket[] {
    return this.#statements.list.all(limit).map(toTicket)
  }

  find(ticket: number): Ticket | undefined {
    const row = this.#statements.find.get(ticket)
    return row && toTicket(row)
  }

  /** Newest first. */
  messages(ticket: number, limit: number): TicketMessage[] {
    return this.#statements.messages.all(ticket, limit).map((row) => ({
      kind: String(row['kind']),
      from: String(row['sender']),
      to: String(row['recipient']),
      subject: String(row['subject']),
      text: String(row['body']),
      messageId: String(row['message_id']),
      at: time(row['at']),
      attachments: this.#statements.attachments.all(Number(row['id'])).map((attachment) => ({
        filename: String(attachment['filename']),
        contentType: String(attachment['content_type']),
        size: Number(attachment['size']),
        url: `/tickets/${ticket}/attachments/${Number(attachment['id'])}`,
      })),
    }))
  }

  attachment(ticket: number, id: number): NewAttachment | undefined {
    const row = this.#statements.attachment.get(ticket, id)
    if (!row || !(row['content'] instanceof Uint8Array)) return undefined
    return { filename: String(row['filename']), contentType: String(row['content_type']), content: row['content'] }
  }

  #insert(ticket: number, message: NewMessage, now: number): void {
    const { kind, messageId, digest, from, to, subject, text } = message
    const inserted = this.#statements.insert.run({ ticket, kind, messageId, digest, from, to, subject, text, now })
    for (const address of message.participants) this.#statements.join.run(ticket, address)
    for (const { filename, contentType, content } of message.attachments) {
      this.#statements.attach.run(inserted.lastInsertRowid, filename, contentType, content)
    }
  }

  #transaction<T>(work: () => T): T {
    this.#database.exec('BEGIN IMMEDIATE')
    try {
      const result = work()
      this.#database.exec('COMMIT')
      return result
    } catch (error) {
      this.#database.exec('ROLLBACK')
      throw error
    }
  }
}

/** Null: as it was. */
const statusAfter = { mail: 'open', bounce: 'bounced', notice: null } as const

function prepare(database: DatabaseSync) {
  const sql = (text: string): StatementSync => database.prepare(text)
  return {
    has: sql('SELECT 1 FROM messages WHERE digest = ?'),
    open: sql(`
      INSERT INTO tickets (subject, sender, recipient, status, opened, updated)
      VALUES (:subject, :from, :to, 'open', :now, :now)`),
    touch: sql('UPDATE tickets SET status = coalesce(:status, status), updated = :now WHERE id = :ticket'),
    insert: sql(`
      INSERT INTO messages (ticket, kind, message_id, digest, sender, recipient, subject, body, at)
      VALUES (:ticket, :kind, :messageId, :digest, :from, :to, :subject, :text, :now)`),
    join: sql('INSERT INTO participants (ticket, address) VALUES (?, ?) ON CONFLICT DO NOTHING'),
    attach: sql('INSERT INTO attachments (message, filename, content_type, content) VALUES (?, ?, ?, ?)'),
    byMessageId: sql(`SELECT ticket FROM messages WHERE message_id = ? AND message_id <> '' ORDER BY id DESC LIMIT 1`),
    hasParticipant: sql('SELECT 1 FROM participants WHERE ticket = ? AND address = ?'),
    list: sql(`${ticketRow} ORDER BY t.updated DESC, t.id DESC LIMIT ?`),
    find: sql(`${ticketRow} WHERE t.id = ?`),
    messages: sql('SELECT * FROM messages WHERE ticket = ? ORDER BY id DESC LIMIT ?'),
    attachments: sql(
      'SELECT id, filename, content_type, length(content) AS size FROM attachments WHERE message = ? ORDER BY id',
    ),
    attachment: sql(`
      SELECT a.filename, a.content_type, a.content FROM attachments a JOIN messages m ON m.id = a.message
      WHERE m.ticket = ? AND a.id = ?`),
  }
}

function toTicket(row: Readonly<Record<string, SQLOutputValue>>): Ticket {
  return {
    id: Number(row['id']),
    subject: String(row['subject']),
    from: String(row['sender']),
    to: String(row['recipient']),
    status: String(row['status']),
    messageCount: Number(row['messages']),
    openedAt: time(row['opened']),
    updatedAt: time(row['updated']),
  }
}

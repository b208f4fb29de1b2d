/** Which ticket a mail belongs to, and who can make it so. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { TicketSigner, signerOf, threadOf, type Threaded } from '../../config/handlers/ticket-thread.ts'
import type { Ticket } from '../../config/handlers/store/tickets.ts'

const signer = new TicketSigner(Buffer.alloc(32, 1))
const stranger = new TicketSigner(Buffer.alloc(32, 2))

describe('a signed Message-ID', () => {
  test('names its ticket, also with other case, other domain and text around it', () => {
    const id = signer.messageId(12, 'support.org')
    expect(id).toMatch(/^<ticket-12-[0-9a-f]{16}-[0-9a-f]{32}@support\.org>$/)
    expect(signer.ticketIn(id)).toBe(12)
    expect(signer.ticketIn(`In-Reply-To: ${id.toUpperCase().replace('SUPPORT.ORG', 'mail.example')}`)).toBe(12)
  })

  test('of somebody else names none, and does not hide ours behind it', () => {
    const forged = stranger.messageId(12, 'support.org')
    expect(signer.ticketIn(forged)).toBeUndefined()
    expect(signer.ticketIn(`${forged} ${signer.messageId(7, 'support.org')}`)).toBe(7)
  })

  test('is worth nothing with any other number, nonce or signature', () => {
    const id = signer.messageId(12, 'support.org')
    expect(signer.ticketIn(id.replace('ticket-12-', 'ticket-13-'))).toBeUndefined()
    fc.assert(
      fc.property(fc.integer({ min: 11, max: 58 }), (place) => {
        const digit = id[place] === '0' ? '1' : '0'
        fc.pre(id[place] !== '-')
        const changed = `${id.slice(0, place)}${digit}${id.slice(place + 1)}`
        expect(signer.ticketIn(changed)).toBeUndefined()
      }),
    )
  })
})

describe('the secret', () => {
  const folder = () => mkdtempSync(path.join(tmpdir(), 'signalbox-'))

  test('is made once, for its owner only, and holds after a restart', () => {
    const data = folder()
    const id = signerOf(data).messageId(3, 'support.org')
    expect(signerOf(data).ticketIn(id)).toBe(3)
    expect(statSync(path.join(data, 'ticket-secret')).mode & 0o777).toBe(0o600)
    expect(readFileSync(path.join(data, 'ticket-secret'), 'utf8')).toMatch(/^[0-9a-f]{64}$/)
    rmSync(data, { recursive: true })
  })

  test('that was damaged is refused in words', () => {
    const data = folder()
    writeFileSync(path.join(data, 'ticket-secret'), 'oops')
    expect(() => signerOf(data)).toThrow('ticket-secret: expected 64 hexadecimal digits')
    rmSync(data, { recursive: true })
  })
})

describe('a mail finds its ticket', () => {
  const stored = new Map([
    ['<first@example.org>', 1],
    ['<second@example.org>', 2],
  ])
  const desk = {
    signer,
    tickets: {
      find: (number: number) => (number <= 3 ? ({ id: number } as Ticket) : undefined),
      byMessageId: (ids: readonly string[]) => ids.map((id) => stored.get(id)).find((number) => number !== undefined),
      hasParticipant: (number: number, address: string) => number === 3 && address === 'ann@example.org',
    },
  }
  const thread = (mail: Partial<Threaded>, sender = 'ann@example.org') =>
    threadOf({ inReplyTo: '', references: [], subject: '', ...mail }, sender, desk)

  test('by a Message-ID that we signed, before one that is stored', () => {
    expect(thread({ inReplyTo: '<first@example.org>', references: [signer.messageId(3, 'support.org')] })).toBe(3)
  })

  test('not by a signed one of a ticket that is gone', () => {
    expect(thread({ inReplyTo: signer.messageId(9, 'support.org') })).toBeUndefined()
  })

  test('by any of References, the nearest first, and In-Reply-To before them', () => {
    expect(thread({ references: ['<first@example.org>', '<unknown@example.org>'] })).toBe(1)
    expect(thread({ references: ['<first@example.org>', '<second@example.org>', '<x@example.org>'] })).toBe(2)
    expect(thread({ inReplyTo: '<first@example.org>', references: ['<second@example.org>'] })).toBe(1)
    expect(thread({ inReplyTo: 'Your mail of today <x@y> <second@example.org>' })).toBe(2)
  })

  test('by the number in the subject only when the sender takes part', () => {
    expect(thread({ subject: 'Re: help [#3]' })).toBe(3)
    expect(thread({ subject: 'Re: help [#3]' }, 'mallory@example.org')).toBeUndefined()
    expect(thread({ subject: 'Re: help [#3]' }, '')).toBeUndefined()
    expect(thread({ subject: 'Re: help #3' })).toBeUndefined()
    expect(thread({ subject: 'Re: help [#2]' })).toBeUndefined()
  })

  test('or none, whatever the headers hold', () => {
    fc.assert(
      fc.property(fc.string(), fc.array(fc.string()), fc.string(), (inReplyTo, references, subject) => {
        const found = thread({ inReplyTo, references, subject })
        expect(found === undefined || found === 3).toBe(true)
      }),
    )
  })
})

/** Text messages from the United States and their neighbours: read the rooms and the tickets by phone. */
import { SmsConsumer, type SmsMessage } from 'signalbox'
import { oneLine } from './clean.ts'
import { parseCommand, type Command } from './command.ts'
import { storeOf, type Store } from './store.ts'
import type { Reading } from './store/readings.ts'
import type { Ticket } from './store/tickets.ts'

const help = 'Commands: TEMP kitchen, TICKETS, TICKET 1'
/** Two messages' worth on the air (153 characters each). */
const longestAnswer = 306
const longestList = 5

/** The sender of a text can be forged, so these commands only read; one that acts would need a PIN or a list of numbers. */
export class USTextHandler extends SmsConsumer {
  override async message({ body, consent }: SmsMessage): Promise<void> {
    const { from, messageSid } = this.scope
    const store = storeOf(this.scope)
    // STOP, START and their like: the gateway has remembered it, and the provider answers.
    const answer = consent === '' ? oneLine(answerTo(parseCommand(body), store), longestAnswer) : ''

    const text = store.texts.add({ sid: messageSid, from, body: oneLine(body, 1600), answer })
    if (text) await this.groupSend('live', { type: 'live.update', update: { kind: 'text', ...text } })
    if (answer !== '') await this.reply(answer)
  }
}

/** In plain letters: a single `°` or `…` would make each part of the message 70 characters long instead of 160. */
function answerTo(command: Command, { readings, tickets }: Store): string {
  if (command.type === 'temperature') {
    const rooms = readings.rooms(longestList)
    if (command.room === '') return rooms.length === 0 ? 'No readings yet.' : rooms.map(inWords).join('; ')
    const room = readings.spelling(command.room)
    const reading = room === undefined ? undefined : readings.latest(room)
    if (reading) return inWords(reading)
    const known = rooms.length === 0 ? '' : ` Rooms: ${rooms.map(({ room }) => room).join(', ')}`
    return `No reading of ${oneLine(command.room, 40)}.${known}`
  }
  if (command.type === 'tickets') {
    return tickets.list(longestList).map(titleOf).join('; ') || 'No tickets.'
  }
  if (command.type === 'ticket') {
    const ticket = tickets.find(command.number)
    if (!ticket) return `No ticket ${command.number}.`
    return `${titleOf(ticket)}, messages: ${ticket.messageCount}, last: ${minute(ticket.updatedAt)}`
  }
  return help
}

function inWords({ room, celsius, at }: Reading): string {
  return `${room}: ${celsius} C, ${minute(at)}`
}

function titleOf({ id, subject, status }: Ticket): string {
  return `#${id} ${oneLine(subject, 40)} (${status})`
}

function minute(time: string): string {
  return `${time.slice(0, 16).replace('T', ' ')} UTC`
}

/** Text messages that read the rooms and the tickets, without a provider. */
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { SmsCommunicator } from '../../protocols/sms/communicator.ts'
import { USTextHandler } from '../../config/handlers/commands.ts'
import { mailOf, sample, type Sample } from './sample.ts'

let place: Sample
let phone: SmsCommunicator
beforeEach(async () => {
  place = await sample()
  const { layer, state } = place
  phone = new SmsCommunicator(USTextHandler.asApplication(), { from: '+14155550100', layer, state })
})
afterEach(() => place[Symbol.dispose]())

const answer = async (body: string) => (await phone.send(body)).map(({ body }) => body)
const at = Date.parse('2026-01-01T12:00:00Z')
const measure = (room: string, celsius: number) =>
  place.store.readings.add({ room, celsius, at: at + Math.round(celsius), stamped: false, received: at })
const mail = (subject: string) => place.store.tickets.open(mailOf({ subject }))

test('TEMP answers with the latest of a room, however it is spelt', async () => {
  measure('kitchen', 20)
  measure('kitchen', 21.5)
  expect(await answer('TEMP kitchen')).toEqual(['kitchen: 21.5 C, 2026-01-01 12:00 UTC'])
  expect(await answer(' temp Kitchen ')).toEqual(['kitchen: 21.5 C, 2026-01-01 12:00 UTC'])
})

test('TEMP says which rooms there are', async () => {
  expect(await answer('TEMP')).toEqual(['No readings yet.'])
  expect(await answer('TEMP attic')).toEqual(['No reading of attic.'])
  measure('kitchen', 21.5)
  measure('hall', 18)
  expect(await answer('TEMP attic')).toEqual(['No reading of attic. Rooms: kitchen, hall'])
  expect(await answer('TEMP')).toEqual(['kitchen: 21.5 C, 2026-01-01 12:00 UTC; hall: 18 C, 2026-01-01 12:00 UTC'])
})

test('TICKETS lists them, TICKET tells of one', async () => {
  expect(await answer('TICKETS')).toEqual(['No tickets.'])
  mail('Printer')
  mail('Mouse')
  expect(await answer('Tickets')).toEqual(['#2 Mouse (open); #1 Printer (open)'])
  expect(await answer('TICKET 1')).toEqual([
    expect.stringMatching(/^#1 Printer \(open\), messages: 1, last: \d{4}-.+ UTC$/),
  ])
  expect(await answer('ticket #9')).toEqual(['No ticket 9.'])
})

test('anything else lists the commands', async () => {
  for (const body of ['hello', '', 'TICKET', '🙂']) {
    expect(await answer(body)).toEqual(['Commands: TEMP kitchen, TICKETS, TICKET 1'])
  }
})

test('STOP and START are kept and not answered', async () => {
  expect(await answer('STOP')).toEqual([])
  expect(await answer('START')).toEqual([])
  expect(place.store.texts.list(2)).toMatchObject([
    { body: 'START', answer: '' },
    { body: 'STOP', answer: '' },
  ])
})

test('every text is stored and shown with its answer, its number masked', async () => {
  await answer('line one\nline two')
  const text = { from: '+1 *** 0100', body: 'line one line two', answer: 'Commands: TEMP kitchen, TICKETS, TICKET 1' }
  expect(place.store.texts.list(100)).toMatchObject([text])
  expect(place.news).toMatchObject([{ kind: 'text', ...text }])
})

test('an answer fits into two messages, whatever the subjects are', async () => {
  for (let i = 0; i < 7; i++) mail('x'.repeat(300))
  const [text = ''] = await answer('TICKETS')
  expect(text.length).toBeLessThanOrEqual(306)
  expect(text).toMatch(/^#7 x+ \(open\); #6/)
})

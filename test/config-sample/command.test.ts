/** What a text message asks for. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { parseCommand } from '../../config/handlers/command.ts'

test.each([
  ['TEMP kitchen', { type: 'temperature', room: 'kitchen' }],
  ['  temp   Kitchen \n', { type: 'temperature', room: 'Kitchen' }],
  ['temp', { type: 'temperature', room: '' }],
  ['TEMP living room', { type: 'temperature', room: 'living room' }],
  ['ＴＥＭＰ kitchen', { type: 'temperature', room: 'kitchen' }],
  ['Tickets', { type: 'tickets' }],
  ['TICKET 1', { type: 'ticket', number: 1 }],
  ['ticket #12', { type: 'ticket', number: 12 }],
  ['TICKET', { type: 'help' }],
  ['TICKET one', { type: 'help' }],
  ['TICKET 1 2', { type: 'help' }],
  ['TICKET 99999999999999999999', { type: 'help' }],
  ['TICKET -1', { type: 'help' }],
  ['hello', { type: 'help' }],
  ['', { type: 'help' }],
  ['TEMPkitchen', { type: 'help' }],
])('%j', (body, command) => {
  expect(parseCommand(body)).toEqual(command)
})

test('never fails, and upper and lower case are one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (body) => {
      expect(parseCommand(body).type).toMatch(/^(temperature|tickets|ticket|help)$/)
    }),
  )
  const word = fc.constantFrom('TEMP', 'TICKETS', 'TICKET', 'NONSENSE')
  fc.assert(
    fc.property(word, fc.integer({ min: 0, max: 999 }), (word, number) => {
      expect(parseCommand(`${word} ${number}`)).toEqual(parseCommand(`${word.toLowerCase()} ${number}`))
    }),
  )
})

/** What a text message asks for. */

export type Command =
  | { readonly type: 'tickets' | 'help' }
  | { readonly type: 'temperature'; readonly room: string }
  | { readonly type: 'ticket'; readonly number: number }

/**
 * Never fails: what it does not know is a cry for help.
 * None of its words may be one that the carriers take for an opt-out, such as END or QUIT.
 */
export function parseCommand(body: string): Command {
  const [word = '', ...rest] = body.normalize('NFKC').trim().split(/\s+/)
  const command = word.toUpperCase()
  const argument = rest.join(' ')
  if (command === 'TICKETS') return { type: 'tickets' }
  if (command === 'TEMP') return { type: 'temperature', room: argument }
  const [, number] = command === 'TICKET' ? (/^#?(\d{1,9})$/.exec(argument) ?? []) : []
  if (number !== undefined) return { type: 'ticket', number: Number(number) }
  return { type: 'help' }
}

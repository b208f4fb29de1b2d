/** A message as a person or another program writes it: JSON, in the wire format of the Redis layer. */
import type { Event } from '../asgi/protocol.ts'
import { fromJson } from '../layers/wire.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'

const example = '{"type":"chat.message","text":"hi"}'

/** @throws SignalboxError `bad_message` that says what a message is. */
export function parseMessage(text: string): Event {
  let incoming: ReturnType<typeof fromJson>
  try {
    incoming = fromJson(text)
  } catch (error) {
    throw new SignalboxError('bad_message', `expected a message such as ${example}: ${reason(error)}`, { cause: error })
  }
  const { message, ...address } = incoming
  const [key] = Object.keys(address)
  if (message && key === undefined) return message
  throw new SignalboxError('bad_message', `expected a message such as ${example}: a $${key} is for Redis alone`)
}

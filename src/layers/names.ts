/** What channels and groups may be called, and what a message may be. */
import type { Event } from '../asgi/protocol.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'

/** @throws SignalboxError `bad_name`. */
export function checkName(kind: 'channel' | 'group', name: string): void {
  const pattern = kind === 'channel' ? /^(?=.{1,100}$)[\w.-]+(?:![\w.-]+)?$/ : /^[\w.-]{1,100}$/
  if (typeof name === 'string' && pattern.test(name)) return
  const found = JSON.stringify(String(name).slice(0, 120))
  throw new SignalboxError('bad_name', `a ${kind} name has 1 to 100 characters of A-Z a-z 0-9 - _ ., found ${found}`)
}

/**
 * A frozen deep copy: what is sent can't be changed by its sender or by one of its receivers.
 * @throws SignalboxError `bad_message` when it has no dotted type or is no plain data.
 */
export function checkMessage<Message extends Event>(message: Message): Message {
  if (typeof message?.type !== 'string' || !message.type.includes('.')) {
    throw new SignalboxError('bad_message', 'a message has a type with a dot in it, such as chat.message')
  }
  try {
    return freeze(structuredClone(message))
  } catch (error) {
    throw new SignalboxError('bad_message', `a ${message.type} message is no plain data: ${reason(error)}`, { cause: error })
  }
}

function freeze<T>(value: T): T {
  // The bytes of a view can't be frozen.
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const part of Object.values(value)) freeze(part)
  return Object.freeze(value)
}

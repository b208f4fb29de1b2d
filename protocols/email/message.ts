/** `email.message` as an object whose parts are read when somebody first asks for one: who hands a mail on pays for no parser. */
import { inspect } from 'node:util'
import type { EmailMessage } from './scope.ts'

/** What is read out of the bytes. */
export type Parts = Omit<EmailMessage, 'type' | 'raw'>

const names = Object.keys({
  headers: true,
  messageId: true,
  inReplyTo: true,
  references: true,
  subject: true,
  from: true,
  replyTo: true,
  to: true,
  cc: true,
  date: true,
  text: true,
  html: true,
  attachments: true,
  automatic: true,
  defects: true,
} satisfies Record<keyof Parts, true>) as (keyof Parts)[]

/** Reads a message once, for all that stand for it. */
export class Reading {
  readonly raw: Uint8Array
  readonly #read: () => Parts
  #parts: Parts | undefined

  constructor(raw: Uint8Array, read: () => Parts) {
    this.raw = raw
    this.#read = read
  }

  get parts(): Parts {
    this.#parts ??= this.#read()
    return this.#parts
  }
}

/** Gives back what it is given: a class above it puts its private fields there. */
const Same = function (object: object) {
  return object
} as unknown as new (object: object) => object

/** Where a message has its parts from: in it, and seen by nobody who copies, clones or compares it. */
class Behind extends Same {
  readonly #reading: Reading

  constructor(message: object, reading: Reading) {
    super(message)
    this.#reading = reading
  }

  static of(message: object): Reading {
    return (message as Behind).#reading
  }
}

/** One for all messages, so that the engine sees one shape. */
const properties = names.map((name) => {
  const get = function (this: object) {
    return Behind.of(this).parts[name]
  }
  return [name, { get, enumerable: true, configurable: true }] as const
})
/** Whoever prints a message wants to see it. */
const shown = {
  value(this: EmailMessage) {
    return { ...this }
  },
}

/** Plain data for whoever looks: its own keys, enumerable; it can be spread, written as JSON and cloned to another thread. */
export function messageOf(reading: Reading): EmailMessage {
  const message = { type: 'email.message', raw: reading.raw }
  void new Behind(message, reading)
  for (const [name, property] of properties) Reflect.defineProperty(message, name, property)
  Reflect.defineProperty(message, inspect.custom, shown)
  return message as EmailMessage // it has all the rest now
}

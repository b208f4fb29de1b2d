/** The one error class, and the one table of its codes. `errors.md` beside this file lists them for people. */
import { inspect } from 'node:util'

/** Every code, and what it means. A test keeps `errors.md` equal to this table. */
export const errorCodes = {
  abandoned: 'The application was still running when its scope had been over for `closeTimeout`.',
  bad_address: 'An address that cannot be read: of a listener, or of a peer to explain or to send to.',
  bad_config: 'The YAML has mistakes; each is listed with its place.',
  bad_message:
    'A channel layer message that is no plain data, has no dotted type, is too large, or is work that its consumer has no method for.',
  bad_name: 'A channel or group name that is empty, too long, or has characters outside `A-Z a-z 0-9 - _ .`.',
  bad_reference:
    'A `file.ts#Export` that does not exist, fails to load, is no application or one of another protocol, or lacks the method that its events need.',
  bad_rule: 'A routing rule that cannot be compiled: an expression, a path, a filter, a phone prefix.',
  bridge_failed:
    'Something could not go to a worker thread or come back from it, or was no blocking code; or blocking code was asked for where it cannot run.',
  channel_full: 'The channel already holds as many messages as it may.',
  closing: 'The gateway is closing and takes nothing new.',
  deadlock:
    'Blocking code waited in `asyncToSync` until its time was up, with every thread waiting like that and work that needs one.',
  disconnected: "The peer is gone: the reason of the scope's aborted signal.",
  journal_failed:
    'The journal cannot be opened, read or written: nothing of the call was stored, and it is to be made again later.',
  journal_full: 'The journal keeps as much as it may; the sender is to come again later.',
  journal_locked: 'Another process has the journal of this data folder.',
  lifespan_failed: 'The lifespan application refused to start.',
  listen_failed: 'An address could not be listened on.',
  no_route: 'No routing rule takes this address.',
  permanent: 'What `permanent(error)` makes: the event is not tried again, and is a dead letter at once.',
  queue_full: 'As many calls and scopes as may already wait for a worker thread.',
  scope_ended: '`receive()` was called after the last event of the scope.',
  send_failed: 'A message could not be handed to the provider or relay that carries it.',
  timed_out: 'A deadline passed: of a handler, a client or a command.',
  too_large: 'A body, message or packet is over its limit.',
  unexpected_event: 'An application sent an event that its scope does not allow now.',
  worker_died:
    'A worker thread ended with work or scopes on it: it crashed, ran out of memory, called `process.exit`, or did not stop when it was told to.',
} as const

export type ErrorCode = keyof typeof errorCodes

/** Every error that signalbox raises itself. The message says what was expected, what came, and where. */
export class SignalboxError extends Error {
  override readonly name = 'SignalboxError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Whether `error` is a signalbox error of this code; works across worker and test realms, where `instanceof` does not. */
export function hasCode(error: unknown, code: string): boolean {
  return Error.isError(error) && toldBy(error, 'code') === code
}

/** What an error says of itself under this name; nothing where looking at it throws. */
export function toldBy(error: Error, name: string): unknown {
  try {
    return Reflect.get(error, name)
  } catch {
    return undefined
  }
}

/**
 * `throw permanent(error)` in a handler: another attempt at this event would fail in the same way, so it is a dead letter at once.
 * @example throw permanent(new Error('this device is not ours'))
 */
export function permanent(error: unknown): SignalboxError {
  return new SignalboxError('permanent', reason(error), { cause: error })
}

/** The sentence of anything that was thrown. Never throws, whatever that is: who catches it has others to look after. */
export function reason(error: unknown): string {
  try {
    return Error.isError(error) ? String(error.message) : String(error)
  } catch {
    return inspected(error)
  }
}

/** Of what has no text: an object without a prototype, such as the groups of a match, or one whose getters throw. */
function inspected(error: unknown): string {
  try {
    return inspect(error, { depth: 0, breakLength: Infinity, maxStringLength: 100, customInspect: false })
  } catch {
    return 'an error that says nothing of itself'
  }
}

/** Whether the same may go well a little later: the gateway has too much to do, cannot store it now, was too slow, or closes. */
export function isTemporary(error: unknown): boolean {
  return ['queue_full', 'timed_out', 'closing', 'journal_full', 'journal_failed'].some((code) => hasCode(error, code))
}

/** Whether this was raised because of what aborted the scope's signal, and not because its own time was up. */
export function isInterruption(error: unknown, abortReason: Error): boolean {
  if (hasCode(abortReason, 'timed_out')) return false
  if (error === abortReason) return true
  return Error.isError(error) && (toldBy(error, 'name') === 'AbortError' || toldBy(error, 'cause') === abortReason)
}

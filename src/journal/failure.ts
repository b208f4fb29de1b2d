/** How an error of the journal's thread comes to the main thread. */
import { type ErrorCode, SignalboxError, reason } from '../runtime/errors.ts'
import type { Failure } from './messages.ts'

/** What the main thread is told of an error. */
export function failureOf(error: unknown): Failure {
  if (Error.isError(error) && error.name === 'SignalboxError' && 'code' in error) {
    return { code: error.code as ErrorCode, message: error.message } // the class has no other codes
  }
  return { code: 'journal_failed', message: `the journal cannot be used: ${reason(error)}` }
}

/** What the main thread makes of it. */
export function errorOf({ code, message }: Failure): SignalboxError {
  return new SignalboxError(code, message)
}

/** What everything that opens a file of SQLite has in common: how long it waits, and what went wrong. */

/** Milliseconds that the worker waits for a lock that somebody else has on the file. */
export const busyTimeout = 500

/** SQLite's primary result code. */
export function resultCode(error: unknown): number | undefined {
  if (!Error.isError(error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined
  return error.errcode & 0xff
}

/** What to do about a handler's file that does not load, where Node's own words leave that open. */
import { reason } from '../runtime/errors.ts'

/** Behind the sentence that says what went wrong; empty: that says enough. */
export function loadHint(error: unknown): string {
  const text = reason(error)
  // Node takes the types out of a file by itself, and leaves an import that does not say that it is one of a type.
  const [, name] = /does not provide an export named '([^']+)'/.exec(text) ?? []
  if (name !== undefined) return `; if ${name} is a type: import type { ${name} }, or import { type ${name} }`
  const [, missing] = /^Cannot find package '([^']+)'/.exec(text) ?? []
  if (missing === undefined) return ''
  const where = 'in the folder of the file or one above it'
  return missing === 'signalbox'
    ? `; signalbox has to be installed ${where}, so that its node_modules has it: the README says how, under "Commands"`
    : `; install it ${where}: npm install ${missing}`
}

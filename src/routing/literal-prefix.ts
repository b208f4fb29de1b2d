/** What a regular expression says in plain letters at its start: what an index can file it under. */

export interface LiteralPrefix {
  /** The text that every match starts with; empty when there is none that can be told. */
  readonly text: string
  /** The expression is this text and nothing else: `^chat/$`. */
  readonly complete: boolean
  /** The expression takes everything that starts with this text: `^chat/`, `^`. */
  readonly everything: boolean
}

const none: LiteralPrefix = { text: '', complete: false, everything: false }

/** Careful rather than clever: what it does not understand has no prefix. */
export function literalPrefix(source: string): LiteralPrefix {
  if (!source.startsWith('^') || source.includes('|')) return none
  let text = ''
  let position = 1
  while (position < source.length) {
    const [, escaped, plain] = /^(?:\\([^A-Za-z0-9])|([^\\^$.*+?()[\]{}|]))/.exec(source.slice(position)) ?? []
    const letter = escaped ?? plain
    if (letter === undefined) break
    const next = position + (escaped === undefined ? 1 : 2)
    // A quantifier speaks of this letter: it may be missing.
    if (/^[*+?{]/.test(source.slice(next))) return { text, complete: false, everything: false }
    text += letter
    position = next
  }
  const left = source.slice(position)
  return { text, complete: left === '$', everything: left === '' }
}

/** What the YAML package says of a broken text -> the place where a person looks for it, and words that say what to write. */
import { visit, type Document, type YAMLError } from 'yaml'
import type { Report } from './diagnostics.ts'
import { pathAt } from './path-at.ts'

/** The levels that lists and maps may be inside of each other. */
export const deepest = 64

/** Mistakes that leave the rest of the tree as it was meant: the rest is checked too. */
const harmless: ReadonlySet<string> = new Set([
  'BAD_DQ_ESCAPE',
  'TAG_RESOLVE_FAILED',
  'NON_STRING_KEY',
  'MULTIPLE_DOCS',
])

export const isHarmless = ({ code }: YAMLError): boolean => harmless.has(code)

/**
 * Reports what the package found. It goes on where the text is broken, and finds what is none of the writer's: of each line the first
 * mistake counts, and none of those behind the place where it took the document for ended.
 */
export function reportSyntax(report: Report, document: Document.Parsed, errors: readonly YAMLError[]): void {
  const { source } = report
  const broken = new Set<number>()
  for (const error of errors) {
    if (report.full) return
    const { offset, message } = seen(error, document, source.text)
    if (!isHarmless(error)) {
      const { line } = source.place(offset)
      if (broken.has(line) || (broken.size > 0 && error.message.includes('in YAML stream'))) continue
      broken.add(line)
    }
    // Of a tab, that of what stands behind it.
    const blanks = /^[ \t]*/.exec(source.text.slice(offset))?.[0].length ?? 0
    const path = error.code === 'MULTIPLE_DOCS' ? [] : pathAt(document.contents, offset + blanks)
    report.error(offset, path, message)
  }
}

/** A mistake where it is to be seen. */
interface Seen {
  readonly offset: number
  readonly message: string
}

function seen(error: YAMLError, document: Document.Parsed, text: string): Seen {
  const { code, message } = error
  const [offset] = error.pos
  const [, bracket] = /end with a ([}\]])$/.exec(message) ?? []
  if (bracket !== undefined) {
    const start = openedBefore(document, offset)
    // In `{ topic: # }` too.
    const comment = /^[^\n]*[ \t]#/.test(text.slice(start))
      ? '; what stands behind a # is a comment, where no quotes are around it'
      : ''
    return { offset: start, message: `found ${text[start]} that is not closed, expected ${bracket}${comment}` }
  }
  const [, quote] = /^Missing closing (["'])/.exec(message) ?? []
  if (quote !== undefined) {
    return {
      offset: quotedBefore(document, offset),
      message: `found ${quote} that is not closed, expected another ${quote}`,
    }
  }
  if (/start at the same column$|without - indicator$/.test(message)) {
    const before = /^(?:\s|#.*\n)*/.exec(text.slice(offset))?.[0].length ?? 0
    const words = 'found an indentation that no line above has, expected what belongs together to begin in one column'
    return { offset: offset + before, message: words }
  }
  return { offset, message: sentences[code]?.(error, text) ?? `found YAML that cannot be read: ${message}` }
}

const sentences: Readonly<Record<string, (error: YAMLError, text: string) => string | undefined>> = {
  TAB_AS_INDENT: () => 'found a tab as indentation, expected spaces',
  MULTIPLE_DOCS: () => 'found a second document, expected one document in the file',
  TAG_RESOLVE_FAILED: ({ message }) =>
    `found ${message.replace('Unresolved tag:', 'the unknown tag')}, expected a plain value; text that begins with ! stands in quotes`,
  NON_STRING_KEY: () => 'found a key that is no text, expected a word',
  BAD_DQ_ESCAPE: ({ message }) =>
    `found an ${message.replace(/^I/, 'i')} in double quotes, expected one that YAML knows; in single quotes a backslash is a backslash`,
  RESOURCE_EXHAUSTION: () => `found lists or maps inside of each other, expected at most ${deepest} levels`,
  BAD_SCALAR_START: ({ pos: [at] }, text) =>
    `found a value that begins with ${text[at]}, expected quotes around it: '${text[at]}…'`,
  MULTILINE_IMPLICIT_KEY: () => 'found a line without a colon, expected key: value',
  BLOCK_IN_FLOW: () =>
    'found a second colon in a value, expected a comma between two settings, or quotes around the value',
  BLOCK_AS_IMPLICIT_KEY: ({ pos: [at] }, text) =>
    /^\s*-\S/.test(text.slice(text.lastIndexOf('\n', at) + 1))
      ? 'found - without a space behind it, expected "- " in front of an item of a list'
      : 'found a key inside of a value, expected each key in a line of its own, or quotes around the value',
  MISSING_CHAR({ message }) {
    if (message.startsWith('Implicit map keys')) return 'found a line without a colon, expected key: value'
    if (message.startsWith('Comments'))
      return 'found # directly behind a value, expected a space in front of a comment, or quotes around the whole value'
    return undefined
  },
  UNEXPECTED_TOKEN({ message, pos: [at] }, text) {
    // `{ port: ${PORT} }`: the braces of the variable are taken for another map.
    if (text.slice(at - 1, at + 1) === '${')
      return 'found ${ without quotes inside of braces, expected quotes: "${NAME}"'
    if (message.endsWith('at node end'))
      return 'found more behind a value, expected quotes around the whole value, or # in front of a comment'
    if (/^[}\]]$/.test(text[at] ?? ''))
      return `found ${text[at]} that closes nothing, expected ${text[at] === '}' ? '{' : '['} before it`
    if (message.includes('on same line with key'))
      return 'found - behind a key, expected each item in a line of its own, below the key'
    return undefined
  },
}

/** Where the outermost of the lists and maps in brackets begins that goes on to there. */
function openedBefore(document: Document.Parsed, end: number): number {
  let start = end
  visit(document, {
    Collection(_, { flow, range }) {
      if (!flow || range?.[1] !== end) return undefined
      start = range[0]
      return visit.BREAK
    },
  })
  return start
}

/** Where the quoted text begins that ends there. */
function quotedBefore(document: Document.Parsed, end: number): number {
  let start = end
  visit(document, {
    Scalar(_, { type, range }) {
      if (range && range[0] >= end) return visit.BREAK
      if (type?.startsWith('QUOTE') && range) [start] = range
      return undefined
    },
  })
  return start
}

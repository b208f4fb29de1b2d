/** YAML text -> a tree of nodes, with every mistake of syntax in it. */
import { parseDocument, type Document, type YAMLError } from 'yaml'
import { reason } from '../runtime/errors.ts'
import type { Report } from './diagnostics.ts'
import type { Environment } from './environment.ts'
import { pathAt } from './path-at.ts'
import type { ConfigNode } from './nodes.ts'
import { TreeMaker, deepest } from './tree-maker.ts'

/** Mistakes that leave the rest of the tree as it was meant: the rest is checked too. */
const harmless: ReadonlySet<string> = new Set([
  'BAD_DQ_ESCAPE',
  'TAG_RESOLVE_FAILED',
  'NON_STRING_KEY',
  'MULTIPLE_DOCS',
])

const sentences: Readonly<Record<string, (error: YAMLError) => string>> = {
  TAB_AS_INDENT: () => 'found a tab as indentation, expected spaces',
  MULTIPLE_DOCS: () => 'found a second document, expected one document in the file',
  TAG_RESOLVE_FAILED: ({ message }) =>
    `found ${message.replace('Unresolved tag:', 'the unknown tag')}, expected a plain value`,
  NON_STRING_KEY: () => 'found a key that is no text, expected a word',
  BAD_DQ_ESCAPE: ({ message }) =>
    `found an ${message.replace(/^I/, 'i')} in double quotes, expected one that YAML knows; in single quotes a backslash is a backslash`,
  RESOURCE_EXHAUSTION: () => `found lists or maps inside of each other, expected at most ${deepest} levels`,
}

function sentence(error: YAMLError, text: string): string {
  const [offset] = error.pos
  // `{ port: ${PORT} }`: the braces of the variable are taken for another map.
  if (text.slice(offset - 1, offset + 1) === '${')
    return 'found ${ without quotes inside of braces, expected quotes: "${NAME}"'
  return sentences[error.code]?.(error) ?? `found YAML that cannot be read: ${error.message}`
}

/** The root of the document; undefined when it is too broken to look further into. */
export function readDocument(report: Report, environment: Environment): ConfigNode | undefined {
  const { source } = report
  const document = parse(report, source.text)
  if (!document) return undefined
  const tabs = document.errors.some(({ code }) => code === 'TAB_AS_INDENT')
  const readable = (tabs && withSpaces(report)) || document
  for (const error of [...document.errors, ...document.warnings]) {
    const [offset] = error.pos
    report.error(offset, pathAt(readable.contents, offset), sentence(error, source.text))
  }
  if (document.directives.yaml.version !== '1.2') {
    report.error(0, [], `found YAML ${document.directives.yaml.version}, expected 1.2`)
    return undefined
  }
  if (!readable.errors.every(({ code }) => harmless.has(code))) return undefined
  return new TreeMaker(report, environment).make(readable.contents)
}

function parse(report: Report, text: string): Document.Parsed | undefined {
  try {
    return parseDocument(text, {
      version: '1.2',
      strict: true,
      stringKeys: true,
      merge: false,
      resolveKnownTags: false,
      prettyErrors: false,
      // Looked for while the tree is made, where it costs no comparison of every key with every other.
      uniqueKeys: false,
      logLevel: 'error',
    })
  } catch (error) {
    report.error(0, [], `found YAML that cannot be read: ${reason(error)}`)
    return undefined
  }
}

/** What the file may have meant: with every tab in front of a line as one space, so that all else stays in its place. */
function withSpaces(report: Report): Document.Parsed | undefined {
  return parse(
    report,
    report.source.text.replace(/^\s+/gm, (indentation) => indentation.replaceAll('\t', ' ')),
  )
}

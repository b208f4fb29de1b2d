/** YAML text -> a tree of nodes, with every mistake of syntax in it. */
import { Composer, Parser, YAMLParseError, type CST, type Document } from 'yaml'
import { reason } from '../runtime/errors.ts'
import { mostDiagnostics, type Report } from './diagnostics.ts'
import type { Environment } from './environment.ts'
import type { ConfigNode } from './nodes.ts'
import { isHarmless, reportSyntax } from './syntax.ts'
import { TreeMaker } from './tree-maker.ts'

/** The root of the document; undefined when it is too broken to look further into. */
export function readDocument(report: Report, environment: Environment): ConfigNode | undefined {
  const { source } = report
  const document = parse(report, source.text)
  if (!document) return undefined
  const tabs = document.errors.filter(({ code }) => code === 'TAB_AS_INDENT')
  const readable = (tabs.length > 0 && withSpaces(report)) || document
  // What else is broken may be so because of the tabs.
  const errors = tabs.length > 0 ? [...tabs, ...readable.errors.filter(isHarmless)] : document.errors
  reportSyntax(report, readable, [...errors, ...readable.warnings])
  if (document.directives.yaml.version !== '1.2') {
    report.error(0, [], `found YAML ${document.directives.yaml.version}, expected 1.2`)
    return undefined
  }
  if (!readable.errors.every(isHarmless)) return undefined
  return new TreeMaker(report, environment).make(readable.contents)
}

const options = {
  version: '1.2',
  strict: true,
  stringKeys: true,
  merge: false,
  resolveKnownTags: false,
  prettyErrors: false,
  // Looked for while the tree is made, where it costs no comparison of every key with every other.
  uniqueKeys: false,
  logLevel: 'error',
} as const

function parse(report: Report, text: string): Document.Parsed | undefined {
  const { stackTraceLimit } = Error
  // Each mistake is an error of the package's: the stack, which nobody sees, is most of what one costs.
  Error.stackTraceLimit = 0
  try {
    return compose(text)
  } catch (error) {
    report.error(0, [], `found YAML that cannot be read: ${reason(error)}`)
    return undefined
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** As the package's `parseDocument`, which has no end of mistakes. */
function compose(text: string): Document.Parsed | undefined {
  let document: Document.Parsed | undefined
  for (const next of new Composer(options).compose(bounded(new Parser().parse(text)), true, text.length)) {
    if (document) {
      document.errors.push(new YAMLParseError([next.range[0], next.range[1]], 'MULTIPLE_DOCS', ''))
      break
    }
    document = next
  }
  return document
}

/** As far as there is anything to be read: a megabyte of closing braces would be a million mistakes. */
function* bounded(tokens: Iterable<CST.Token>): Generator<CST.Token> {
  let mistakes = 0
  for (const token of tokens) {
    yield token
    if (token.type === 'error' && ++mistakes > mostDiagnostics) return
  }
}

/** What the file may have meant: with every tab in front of a line as one space, so that all else stays in its place. */
function withSpaces(report: Report): Document.Parsed | undefined {
  return parse(
    report,
    report.source.text.replace(/^\s+/gm, (indentation) => indentation.replaceAll('\t', ' ')),
  )
}

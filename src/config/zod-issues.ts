/** What zod says about a value -> mistakes with places, in the words of this house: what was found, what was expected. */
import type { z } from 'zod'
import type { Path, Report } from './diagnostics.ts'
import { found, locate, type ConfigNode } from './nodes.ts'
import { keysAt } from './schema-keys.ts'
import { didYouMean, slip } from './suggest.ts'

type Issue = z.core.$ZodIssue

/** Where the value stands in the document, and the schema it was checked with. */
export interface Checked {
  readonly node: ConfigNode
  readonly path: Path
  readonly schema: z.core.$ZodType
}

/** Reports every issue of a value at its own place. */
export function reportIssues(report: Report, issues: readonly Issue[], checked: Checked): void {
  for (const issue of flatten(issues)) {
    if (issue.code === 'unrecognized_keys') reportUnknownKeys(report, issue, checked)
    else reportValue(report, issue, checked)
  }
}

const stepsOf = (issue: Issue): (string | number)[] =>
  issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))

function reportUnknownKeys(
  report: Report,
  issue: z.core.$ZodIssueUnrecognizedKeys,
  { node, path, schema }: Checked,
): void {
  const steps = stepsOf(issue)
  const known = keysAt(schema, steps)
  for (const key of issue.keys) {
    const { offset } = locate(node, [...steps, key], true)
    const expected = known.length > 0 ? `, expected ${oneOf(known)}` : ''
    report.error(
      offset,
      [...path, ...steps, key],
      `found the unknown key ${JSON.stringify(key)}${expected}${didYouMean(key, known)}`,
    )
  }
}

function reportValue(report: Report, issue: Issue, { node, path }: Checked): void {
  const steps = stepsOf(issue)
  const located = locate(node, steps)
  if (located.broken) return
  report.error(located.offset, [...path, ...steps], sentence(issue, located.node) + hint(issue, located.node))
}

function hint(issue: Issue, node: ConfigNode | undefined): string {
  if (node?.kind !== 'scalar' || typeof node.value !== 'string' || node.hidden) return ''
  return slip(node.value, issue.code === 'invalid_type' && kinds[issue.expected] === 'a map' ? 'a map' : 'a value')
}

function sentence(issue: Issue, node: ConfigNode | undefined): string {
  const subject = node ? found(node) : 'nothing'
  const hidden = node?.kind === 'scalar' && node.hidden
  // A schema's own sentence: of one that says what was found, only what it expected is taken over when that is hidden.
  const own = /^(?:found .*?, )?(expected .*)$/s.exec(issue.message)
  if (own) return hidden || !issue.message.startsWith('found') ? `found ${subject}, ${own[1]}` : issue.message
  const repeats = hidden && issue.message.toLowerCase().includes(String(node.value).toLowerCase())
  if (issue.code === 'custom' && !repeats) return issue.message
  const values = issue.code === 'invalid_value' ? issue.values.map(String) : []
  const hint = node?.kind === 'scalar' && !hidden ? didYouMean(String(node.value), values) : ''
  return `found ${subject}, expected ${expectation(issue)}${hint}`
}

const kinds: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  null: 'nothing',
}
const formats: Readonly<Record<string, string>> = { url: 'a URL', email: 'an e-mail address' }
const measures: Readonly<Record<string, string>> = { string: ' characters', array: ' items' }

/** What would have been right, without a word of what was there. */
function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return kinds[issue.expected] ?? issue.expected
    case 'invalid_value':
      return String(issue.values) === 'true,false' ? 'true or false' : oneOf(issue.values.map(String))
    case 'too_small':
      if (issue.origin === 'string' && Number(issue.minimum) === 1) return 'text that is not empty'
      return `${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${measures[issue.origin] ?? ''}`
    case 'too_big':
      return `${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${measures[issue.origin] ?? ''}`
    case 'invalid_format':
      if (issue.format === 'regex' && issue.pattern !== undefined) return `text that matches ${issue.pattern}`
      return formats[issue.format] ?? `text in the form of ${issue.format}`
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`
    case 'invalid_union':
      return [...new Set(issue.errors.flat().map(expectation))].join(' or ') || 'another value'
    case 'invalid_key':
    case 'invalid_element':
      return [...new Set(issue.issues.map(expectation))].join(' and ')
    case 'unrecognized_keys':
    case 'custom':
      return 'another value'
    default:
      return issue satisfies never
  }
}

/** `a`, or `one of a, b, c`. */
export const oneOf = (words: readonly string[]): string =>
  words.length === 1 ? String(words[0]) : `one of ${words.join(', ')}`

/** An union's issue -> those of the branch that got furthest; one about the value itself stays as it is. */
function flatten(issues: readonly Issue[], before: readonly PropertyKey[] = []): readonly Issue[] {
  return issues.flatMap((issue) => {
    const here = { ...issue, path: [...before, ...issue.path] }
    if (here.code !== 'invalid_union') return here
    const branches = here.errors.map((branch) => ({ branch, reach: Math.max(0, ...branch.map(reach)) }))
    const best = branches.toSorted((a, b) => b.reach - a.reach)[0]
    return best && best.reach > 0 ? flatten(best.branch, here.path) : here
  })
}

const reach = (issue: Issue): number => issue.path.length + (issue.code === 'unrecognized_keys' ? 1 : 0)

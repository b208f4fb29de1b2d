/** A mistake in the YAML with its place: how mistakes are gathered, and how one is printed. */
import { withoutUserinfo, type Source } from './source.ts'

export type Severity = 'error' | 'warning'

export interface Diagnostic {
  readonly severity: Severity
  readonly file: string
  readonly line: number
  readonly column: number
  /** Where in the document, e.g. `listen.http.address`; empty for the document itself. */
  readonly path: string
  /** What was found and what was expected. */
  readonly message: string
  /** The line it stands on, without its secrets. */
  readonly source: string
}

export type Path = readonly (string | number)[]

/** Longer than anything that a person would want to read whole. */
const longestMessage = 1000
const longestKey = 80
const shortened = (text: string, longest: number): string =>
  text.length > longest ? `${text.slice(0, longest - 1)}…` : text

/** `['rules', 0, 'url']` -> `rules[0].url`. */
export function pathText(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    const key = shortened(step, longestKey)
    return text === '' ? key : `${text}.${key}`
  }, '')
}

/** More than anybody would read: a file with so many is no YAML of ours. */
export const mostDiagnostics = 1000
const tooMany = `found more than ${mostDiagnostics} mistakes: the others are left out`

/** Gathers the mistakes of one file. What came from the environment is taken out of every message. */
export class Report {
  readonly source: Source
  readonly #found = new Map<string, Omit<Diagnostic, 'source'>>()
  readonly #fromEnvironment = new Map<string, string>()

  constructor(source: Source) {
    this.source = source
  }

  /** From now on the value of this variable is shown as `${NAME}`. */
  keepSecret(name: string, value: string): void {
    // Shorter values would be found inside ordinary words, and are no secrets.
    if (value.length >= 4 && !/^(?:true|false|\d{1,5})$/.test(value)) this.#fromEnvironment.set(value, `\${${name}}`)
  }

  error(offset: number, path: Path, message: string): void {
    this.#add('error', offset, path, message)
  }

  warning(offset: number, path: Path, message: string): void {
    this.#add('warning', offset, path, message)
  }

  get failed(): boolean {
    return [...this.#found.values()].some(({ severity }) => severity === 'error')
  }

  /** There is no room for more: they are left out. */
  get full(): boolean {
    return this.#found.size > mostDiagnostics
  }

  /** In the order of the file; the same mistake at the same place once. */
  get diagnostics(): readonly Diagnostic[] {
    return [...this.#found.values()]
      .map((found) => ({ ...found, source: this.source.line(found.line) }))
      .toSorted((a, b) => a.line - b.line || a.column - b.column)
  }

  #add(severity: Severity, offset: number, path: Path, message: string): void {
    if (this.full) return
    const last = this.#found.size === mostDiagnostics
    const { line, column } = this.source.place(offset)
    const shown = last ? tooMany : shortened(this.#withoutSecrets(message), longestMessage)
    const key = `${line}:${column} ${shown}`
    if (this.#found.has(key)) return
    this.#found.set(key, {
      severity: last ? 'error' : severity,
      file: this.source.file,
      line,
      column,
      path: pathText(path),
      message: shown,
    })
  }

  #withoutSecrets(message: string): string {
    let shown = withoutUserinfo(message)
    for (const [value, name] of this.#fromEnvironment) shown = shown.replaceAll(value, () => name)
    return shown
  }
}

const longestSourceLine = 160

/** `file:line:column  where.in.the.document  found, expected`, then the line and a caret below the place. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { severity, file, line, column, path, message } = diagnostic
  const parts = [`${file}:${line}:${column}`, path, severity === 'warning' ? `warning: ${message}` : message]
  const head = parts.filter((part) => part !== '').join('  ')
  // A file that is empty, or not there, has no line to show; nor has one that no person wrote.
  if (diagnostic.source === '' && (line === 1 || column > 1)) return head
  const from = column > longestSourceLine - 20 ? column - longestSourceLine / 2 : 0
  const source = diagnostic.source.slice(from, from + longestSourceLine)
  const caret = source
    .slice(0, column - 1 - from)
    .replace(/[^\t]/g, ' ')
    .padEnd(column - 1 - from)
  const margin = String(line).length
  return [head, `  ${line} | ${source}`.trimEnd(), `  ${' '.repeat(margin)} | ${caret}^`].join('\n')
}

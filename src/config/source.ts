/** The YAML as text: where an offset is, and what may be shown of a line. */
import path from 'node:path'
import { LineCounter } from 'yaml'

export interface Place {
  readonly line: number
  readonly column: number
}

/** A key whose value is never shown, wherever it comes from. */
const secretKey = /token|password|passphrase|secret|api_?key|private_?key/i
const secretInLine = new RegExp(
  `((?:${secretKey.source})\\w*["']?\\s*:\\s*)("[^"]*"?|'[^']*'?|[^\\s,}\\]#][^,}\\]#]*)`,
  'gi',
)

/** What is longer was not written by a person, and is not shown. */
const longestLine = 10_000

export const isSecretKey = (key: string): boolean => secretKey.test(key)

/** One character for one; names of variables stay. */
const blank = (text: string): string =>
  text.includes('${')
    ? text.replace(/\$\{\w+|[^\s"'}:-]/g, (part) => (part.startsWith('${') ? part : '*'))
    : text.replace(/[^\s"']/g, '*')

/** The password in `smtp://user:password@host`, one character for one. */
export const withoutUserinfo = (text: string): string =>
  text.replace(
    /(\b[a-z][a-z\d+.-]*:\/\/[^\s/:@"'${}]*:)([^\s/@"'${}]+)(?=@)/gi,
    (_, before: string, password: string) => {
      return before + '*'.repeat(password.length)
    },
  )

export class Source {
  /** As the user named it. */
  readonly file: string
  readonly text: string
  readonly lineCounter = new LineCounter()
  /** Lines as they were shown last: many mistakes may stand in one. */
  readonly #shown = new Map<number, string>()
  readonly #secrets: { readonly from: number; readonly to: number }[] = []

  constructor(file: string, text: string) {
    this.file = file
    this.text = text
    this.lineCounter.addNewLine(0)
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.lineCounter.addNewLine(at + 1)
  }

  /** What stands between these offsets is blanked out of every line from now on. */
  hide(from: number, to: number): void {
    this.#secrets.push({ from, to })
    this.#shown.clear()
  }

  place(offset: number): Place {
    const { line, col } = this.lineCounter.linePos(Math.min(Math.max(offset, 0), this.text.length))
    return { line, column: col }
  }

  /** `gateway.yaml:14`: how scopes and logs name a rule. */
  route(offset: number): string {
    return `${path.basename(this.file)}:${this.place(offset).line}`
  }

  /** A line as it may be shown: secrets and control characters blanked out, one character for one. Empty when it is no line to read. */
  line(number: number): string {
    const known = this.#shown.get(number)
    if (known !== undefined) return known
    const line = this.#show(number)
    this.#shown.set(number, line)
    return line
  }

  #show(number: number): string {
    const start = this.lineCounter.lineStarts[number - 1] ?? 0
    const end = this.lineCounter.lineStarts[number] ?? this.text.length
    if (end - start > longestLine) return ''
    let line = this.text.slice(start, end).replace(/\r?\n$/, '')
    for (const { from, to } of this.#secrets) {
      if (to <= start || from >= end) continue
      const [head, tail] = [Math.max(from - start, 0), Math.min(to - start, line.length)]
      line = line.slice(0, head) + blank(line.slice(head, tail)) + line.slice(tail)
    }
    // Where the YAML is too broken to know its keys.
    line = line.replace(secretInLine, (_, key: string, value: string) => key + blank(value))
    line = withoutUserinfo(line)
    // oxlint-disable-next-line eslint/no-control-regex -- a terminal must not obey what a file says
    return line.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]/g, '\u00b7')
  }
}

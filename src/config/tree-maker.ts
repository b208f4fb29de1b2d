/** The parser's tree -> our own: aliases resolved within bounds, keys once, variables filled in. */
import { isAlias, isMap, isScalar, isSeq, type Alias, type Node, type Pair, type Scalar } from 'yaml'
import type { Path, Report } from './diagnostics.ts'
import { substitute, type Environment } from './environment.ts'
import type { BrokenNode, ConfigNode, Entry } from './nodes.ts'
import { isSecretKey } from './source.ts'
import { deepest } from './syntax.ts'

const longestKey = 100
/** How many nodes aliases may stand for, all together. */
const mostAliased = 10_000

/** Where a node is seen from: its path, how deep it is, and the aliases on the way. */
interface Way {
  readonly path: Path
  readonly at: number
  readonly inside: readonly Node[]
  /** The outermost alias on the way; undefined: none. */
  readonly alias: { readonly offset: number; readonly path: Path } | undefined
}

export class TreeMaker {
  readonly #report: Report
  readonly #environment: Environment
  readonly #anchors = new Map<string, Node>()
  readonly #targets = new Map<Alias, Node | undefined>()
  #aliasedNodes = 0

  constructor(report: Report, environment: Environment) {
    this.#report = report
    this.#environment = environment
  }

  make(contents: Node | null): ConfigNode | undefined {
    if (contents === null || (isScalar(contents) && contents.value === null && !contents.source)) {
      this.#report.error(0, [], 'found an empty file, expected a map with listen and application')
      return undefined
    }
    return this.#node(contents, { path: [], at: 0, inside: [], alias: undefined })
  }

  #node(node: Node | null, way: Way): ConfigNode {
    const offset = node?.range?.[0] ?? way.at
    if (way.path.length > deepest) {
      return this.#broken(
        offset,
        way.path.slice(0, 3),
        `found lists or maps inside of each other, expected at most ${deepest} levels`,
      )
    }
    if (way.alias && ++this.#aliasedNodes > mostAliased) {
      // Said once: what is left of them would say the same.
      if (this.#aliasedNodes > mostAliased + 1) return { kind: 'broken', offset }
      const message = `found aliases that stand for more than ${mostAliased} values, expected fewer`
      return this.#broken(way.alias.offset, way.alias.path, message)
    }
    if (isAlias(node)) return this.#alias(node, way)
    if (node?.anchor !== undefined && !way.alias) this.#anchors.set(node.anchor, node)
    // Tags that are known are done; the others are reported, and what they stand before is not understood. `!` alone is text.
    const { tag = '!' } = node ?? {}
    if (tag !== '!' && !tag.startsWith('tag:yaml.org,2002:')) return { kind: 'broken', offset }
    if (isMap<unknown, Node | null>(node)) return this.#map(node.items, offset, way)
    if (isSeq<Node | null>(node)) {
      const items = node.items.map((item, index) =>
        this.#node(item, { ...way, path: [...way.path, index], at: offset }),
      )
      return { kind: 'list', offset, items }
    }
    return this.#scalar(isScalar(node) ? node : undefined, offset, way)
  }

  #alias(alias: Alias, way: Way): ConfigNode {
    const offset = alias.range?.[0] ?? way.at
    if (!this.#targets.has(alias)) this.#targets.set(alias, this.#anchors.get(alias.source))
    const target = this.#targets.get(alias)
    if (!target) {
      return this.#broken(
        offset,
        way.path,
        `found the alias *${alias.source}, expected an anchor &${alias.source} above it; text that begins with * stands in quotes`,
      )
    }
    if (way.inside.includes(target) || this.#contains(target, offset)) {
      return this.#broken(offset, way.path, `found the alias *${alias.source} inside of what it stands for`)
    }
    return this.#node(target, {
      ...way,
      at: offset,
      inside: [...way.inside, target],
      alias: way.alias ?? { offset, path: way.path },
    })
  }

  #contains(node: Node, offset: number): boolean {
    const [start, , end] = node.range ?? [0, 0, 0]
    return start <= offset && offset < end && !isScalar(node)
  }

  #map(pairs: readonly Pair<unknown, Node | null>[], offset: number, way: Way): ConfigNode {
    const entries = new Map<string, Entry>()
    for (const pair of pairs) {
      const key = isScalar(pair.key) ? String(pair.key.value) : undefined
      if (key === undefined) continue // reported as NON_STRING_KEY
      const keyOffset = isScalar(pair.key) ? (pair.key.range?.[0] ?? offset) : offset
      const path = [...way.path, key]
      // No more of it is shown: what is behind may be a secret.
      const [, word] = (pair.value === null && /^([\w.-]+)(?::|\s*=)/.exec(key)) || []
      if (word !== undefined) {
        this.#report.error(keyOffset, way.path, `found ${word} without ": " behind it, expected "${word}: …"`)
        continue
      }
      const first = entries.get(key)
      if (first) {
        const { line } = this.#report.source.place(first.keyOffset)
        this.#report.error(
          keyOffset,
          path,
          `found ${JSON.stringify(key)} a second time, expected it once; the first is in line ${line}`,
        )
        continue
      }
      entries.set(key, { keyOffset, value: this.#node(pair.value, { ...way, path, at: keyOffset }) })
    }
    return { kind: 'map', offset, entries }
  }

  #scalar(scalar: Scalar | undefined, start: number, way: Way): ConfigNode {
    const { path } = way
    const value = scalar?.value ?? null
    const [, end = start] = scalar?.range ?? []
    const written = this.#report.source.text.slice(start, end)
    // What is left out stands where its key does.
    if (value === null) {
      const offset = written === '' ? way.at : start
      const commented = /^[^\s:]+:[\t ]+#/.test(this.#report.source.text.slice(offset, offset + longestKey))
      return {
        kind: 'scalar',
        offset,
        value,
        shown: commented ? 'nothing in front of a comment' : 'nothing',
        hidden: false,
      }
    }
    // Also of a key that lacks the space behind its colon.
    const [, word] = /^["']?(\w+):\S/.exec(written) ?? []
    const secret =
      isSecretKey(word ?? '') || isSecretKey(String(path.findLast((step) => typeof step === 'string') ?? ''))
    if (secret) this.#report.source.hide(start, end)
    if (typeof value !== 'string') {
      const known = typeof value === 'number' || typeof value === 'boolean' ? value : written
      return { kind: 'scalar', offset: start, value: known, shown: secret ? notShown : written, hidden: secret }
    }
    const filled = substitute(value, this.#environment)
    const placeOf = (text: string) => start + Math.max(written.indexOf(text), 0)
    for (const name of filled.missing) {
      const message = `found \${${name}}, which is not set, expected a value in the environment, or \${${name}:-default}`
      this.#report.error(placeOf(`\${${name}`), path, message)
    }
    for (const text of filled.malformed) {
      const message = `found ${JSON.stringify(text)}, expected \${NAME} or \${NAME:-default}; a plain \${ is written $\${`
      this.#report.error(placeOf(text), path, message)
    }
    if (filled.missing.length + filled.malformed.length > 0) return { kind: 'broken', offset: start }
    for (const name of filled.used) this.#report.keepSecret(name, this.#environment[name] ?? '')
    return {
      kind: 'scalar',
      offset: start,
      value: filled.value,
      shown: shown(value, { secret, used: filled.used, text: filled.value }),
      hidden: secret || filled.used.length > 0,
    }
  }

  #broken(offset: number, path: Path, message: string): BrokenNode {
    this.#report.error(offset, path, message)
    return { kind: 'broken', offset }
  }
}

const notShown = 'a value that is not shown'

function shown(
  written: string,
  { secret, used, text }: { secret: boolean; used: readonly string[]; text: string },
): string {
  if (secret) return used.length > 0 ? used.map((name) => `\${${name}}`).join(' ') : notShown
  return used.length > 0 ? written : JSON.stringify(text)
}

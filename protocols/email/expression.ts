/** Regular expressions on addresses, taken apart far enough to warn about an open end and to refuse a runaway one. */

/** One thing that matches, and how often. `max` is Infinity for `*`, `+` and `{n,}`. */
interface Item {
  readonly atom: Atom
  readonly min: number
  readonly max: number
}
type Atom =
  | { readonly kind: 'char'; readonly source: string; readonly char: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'class'; readonly source: string }
  | { readonly kind: 'group'; readonly alternatives: readonly Sequence[] }
  | { readonly kind: 'start' | 'end' | 'assertion' }
type Sequence = readonly Item[]

/** What an expression says about the addresses it takes. */
export interface Expression {
  /** The domain of every address that matches; undefined when it cannot be told. */
  readonly domain: string | undefined
  /** It takes every address of `domain`. */
  readonly wholeDomain: boolean
  /** An address that it matches and that its author may not have meant. */
  readonly surprise: string | undefined
}

/**
 * Looks at an expression that `RegExp` has accepted with the flags `iu`.
 * @throws Error in words when a short address could keep it busy for hours.
 */
export function examine(source: string, matches: (address: string) => boolean): Expression {
  const alternatives = new Reader(source).alternatives()
  refuseRunaway(alternatives)
  const only = alternatives.length === 1 ? alternatives[0] : undefined
  const tail = only && literalTail(only)
  return {
    domain: tail?.domain,
    wholeDomain: tail?.whole ?? false,
    surprise: alternatives.map((sequence) => surprise(sequence, matches)).find((address) => address !== undefined),
  }
}

/** Reads the grammar of an expression; the engine has already said that it is well formed. */
class Reader {
  readonly #source: string
  #position = 0

  constructor(source: string) {
    this.#source = source
  }

  alternatives(): Sequence[] {
    const alternatives: Item[][] = [[]]
    while (this.#position < this.#source.length && this.#peek() !== ')') {
      if (this.#take('|')) alternatives.push([])
      else alternatives.at(-1)?.push(this.#item())
    }
    return alternatives
  }

  #item(): Item {
    const atom = this.#atom()
    const quantifier = this.#match(/(?:([*+?])|\{(\d+)(,(\d*))?\})\??/y)
    if (!quantifier) return { atom, min: 1, max: 1 }
    const [, sign, from, comma, to] = quantifier
    if (sign !== undefined) return { atom, min: sign === '+' ? 1 : 0, max: sign === '?' ? 1 : Infinity }
    const min = Number(from)
    return { atom, min, max: comma === undefined ? min : to === '' ? Infinity : Number(to) }
  }

  #atom(): Atom {
    if (this.#take('^')) return { kind: 'start' }
    if (this.#take('$')) return { kind: 'end' }
    if (this.#take('.')) return { kind: 'any' }
    if (this.#take('(')) return this.#group()
    const backward = this.#match(/\\(?:[bB\d]|k<[^>]*>)/y)
    if (backward) return { kind: 'assertion' }
    const set = this.#match(/\[(?:\\[^]|[^\]\\])*\]|\\[pP]\{[^}]*\}|\\[dDwWsS]/uy)
    if (set) return { kind: 'class', source: set[0] }
    const source = this.#match(/\\(?:u\{[\da-fA-F]+\}|u[\da-fA-F]{4}|x[\da-fA-F]{2}|c[A-Za-z]|[^])|[^]/uy)?.[0] ?? ''
    const escape = /^\\[^A-Za-z0-9]$/u.test(source)
    return source.startsWith('\\') && !escape
      ? { kind: 'class', source }
      : { kind: 'char', source, char: source.slice(escape ? 1 : 0) }
  }

  #group(): Atom {
    const look = this.#match(/\?<?[=!]/y)
    if (!look) this.#match(/\?(?:<[^>]*>|[a-z-]*:)/y)
    const alternatives = this.alternatives()
    this.#take(')')
    return look ? { kind: 'assertion' } : { kind: 'group', alternatives }
  }

  #peek(): string {
    return this.#source.charAt(this.#position)
  }

  #take(text: string): boolean {
    const found = this.#source.startsWith(text, this.#position)
    if (found) this.#position += text.length
    return found
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#position
    const found = pattern.exec(this.#source) ?? undefined
    if (found) this.#position += found[0].length
    return found
  }
}

/** `…@example\.org$`: the letters between the last `@` and the end, when they are nothing but letters. */
function literalTail(sequence: Sequence): { domain: string; whole: boolean } | undefined {
  if (sequence.at(-1)?.atom.kind !== 'end') return undefined
  const text = sequence
    .slice(0, -1)
    .map(({ atom, min, max }) => (atom.kind === 'char' && min === 1 && max === 1 ? atom.char : ''))
  const at = text.lastIndexOf('@')
  const domain = text.slice(at + 1)
  if (at < 0 || domain.length === 0 || domain.includes('')) return undefined
  const before = sequence.slice(0, at)
  const whole = before.every(({ atom, max }) => atom.kind === 'start' || (atom.kind === 'any' && max === Infinity))
  return { domain: domain.join(''), whole }
}

/** The shortest text that the sequence matches, as far as that can be told from its grammar; a lone `.` stands for itself. */
function sample(sequence: Sequence): string {
  return sequence
    .map(({ atom, min, max }) => (atom.kind === 'any' && max > 1 ? 'a' : sampleOf(atom)).repeat(Math.min(min, 64)))
    .join('')
}

function sampleOf(atom: Atom): string {
  if (atom.kind === 'char') return atom.char
  if (atom.kind === 'any') return '.'
  if (atom.kind === 'group') return sample(atom.alternatives[0] ?? [])
  return atom.kind === 'class' ? ([...letters].find((letter) => lettersOf(atom.source).has(letter)) ?? '') : ''
}

function surprise(sequence: Sequence, matches: (address: string) => boolean): string | undefined {
  const text = sample(sequence).toLowerCase()
  const base = [text, `bob${text}`, `bob@${text}`].find((address) => /^[^@]+@[^@]+$/.test(address) && matches(address))
  if (base === undefined) return undefined
  const at = base.indexOf('@')
  const [local, domain] = [base.slice(0, at), base.slice(at + 1)]
  const candidates: string[] = []
  const last = sequence.at(-1)
  // An expression that ends in a wildcard says that it is open; one that just stops may not know it.
  if (last?.atom.kind !== 'end' && last?.max !== Infinity) candidates.push(`${base}.evil.com`)
  if (writtenOut(sequence) === domain) {
    candidates.push(`${local}@evil${domain}`)
    for (const [index, letter] of [...domain].entries()) {
      if (letter === '.') candidates.push(`${local}@${domain.slice(0, index)}x${domain.slice(index + 1)}`)
    }
  }
  return candidates.find((address) => matches(address))
}

/** The plain text at the end, with unescaped dots: a domain that is written out is hardly meant to be a part of another. */
function writtenOut(sequence: Sequence): string {
  let written = ''
  for (const { atom, min, max } of sequence.toReversed()) {
    if (atom.kind === 'end' || atom.kind === 'assertion') continue
    const plain = (atom.kind === 'char' && atom.char !== '@') || atom.kind === 'any'
    if (!plain || min !== 1 || max !== 1) break
    written = sampleOf(atom) + written
  }
  return written.toLowerCase()
}

const letters = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index)).join('') + 'éя漢'
const known = new Map<string, ReadonlySet<string>>()

function lettersOf(source: string): ReadonlySet<string> {
  const found = known.get(source)
  if (found) return found
  const expression = new RegExp(`^(?:${source})$`, 'iu')
  const set = new Set([...letters].filter((letter) => expression.test(letter)))
  known.set(source, set)
  return set
}

/** Every letter that can stand anywhere in what the atom matches. */
function range(atom: Atom): ReadonlySet<string> {
  if (atom.kind === 'char' || atom.kind === 'class') return lettersOf(atom.source)
  if (atom.kind === 'any') return new Set(letters)
  if (atom.kind !== 'group') return new Set()
  return new Set(atom.alternatives.flat().flatMap((item) => [...range(item.atom)]))
}

const overlap = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean => [...a].some((letter) => b.has(letter))

/** More rounds than this multiply into hours. */
const many = 3

/** Two ways to take the same text, repeated, double with each letter: 40 letters take hours. */
function refuseRunaway(alternatives: readonly Sequence[]): void {
  for (const sequence of alternatives) {
    if (longestRun(sequence) > many) {
      throw new Error(
        'more than three repetitions of the same letters in a row: an address could keep it busy for hours',
      )
    }
    for (const { atom, max } of sequence) {
      if (atom.kind !== 'group') continue
      refuseRunaway(atom.alternatives)
      if (max > many && (atom.alternatives.some(ambiguous) || forked(atom.alternatives))) {
        throw new Error(
          'a repetition inside a repetition of the same letters, as in (a+)+: an address could keep it busy for hours',
        )
      }
    }
  }
}

/** A letter that must stand there and that the repetitions around it cannot take keeps them apart. */
function separates({ atom, min, max }: Item, repeated: ReadonlySet<string>): boolean {
  const own = range(atom)
  return min > 0 && min === max && own.size > 0 && !overlap(own, repeated)
}

/** How many repetitions of the same letters follow each other with nothing certain in between. */
function longestRun(sequence: Sequence): number {
  let longest = 0
  let run: ReadonlySet<string>[] = []
  for (const item of sequence) {
    const before = new Set(run.flatMap((set) => [...set]))
    if (separates(item, before)) run = []
    else if (item.max > many && item.max > item.min) run.push(range(item.atom))
    longest = Math.max(longest, ...run.map((set) => run.filter((other) => overlap(set, other)).length))
  }
  return longest
}

/** Repeated, this sequence can cut a text in several ways: its length varies, and nothing certain separates the rounds. */
function ambiguous(sequence: Sequence): boolean {
  const varying = sequence.filter(
    ({ atom, min, max }) => max > min || (atom.kind === 'group' && atom.alternatives.some(ambiguous)),
  )
  if (varying.length === 0) return false
  const inside = new Set(varying.flatMap(({ atom }) => [...range(atom)]))
  return !sequence.some((item) => separates(item, inside))
}

/** `(a|a)*`, `(\w|\d)+`: single letters that two alternatives both take. */
function forked(alternatives: readonly Sequence[]): boolean {
  const single = alternatives
    .filter((sequence) => sequence.length === 1)
    .map((sequence) => range((sequence[0] as Item).atom)) // its length is 1
  return single.some((set, index) => single.slice(index + 1).some((other) => overlap(set, other)))
}

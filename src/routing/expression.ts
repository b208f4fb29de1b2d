/** The grammar of a regular expression, for those who want to know what it can take. */

/** One thing that matches, and how often. `max` is Infinity for `*`, `+` and `{n,}`. */
export interface Item {
  readonly atom: Atom
  readonly min: number
  readonly max: number
}

export type Atom =
  | { readonly kind: 'char'; readonly source: string; readonly char: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'class'; readonly source: string }
  | { readonly kind: 'group'; readonly alternatives: readonly Sequence[] }
  | { readonly kind: 'look'; readonly alternatives: readonly Sequence[] }
  | { readonly kind: 'start' | 'end' | 'assertion' | 'reference' }

export type Sequence = readonly Item[]

/** Reads an expression that `RegExp` has accepted with the flag `u`. */
export function readExpression(source: string): Sequence[] {
  return new Reader(source).alternatives()
}

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
    if (this.#match(/\\[bB]/y)) return { kind: 'assertion' }
    if (this.#match(/\\(?:[1-9]\d*|k<[^>]*>)/y)) return { kind: 'reference' }
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
    return { kind: look ? 'look' : 'group', alternatives }
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

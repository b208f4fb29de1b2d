/** A regular expression as places and steps between them, for those who count the ways through it. */
import type { Atom, Item, Sequence } from './expression.ts'

/** Glushkov's automaton: each letter of the expression is a place. Place 0 is the start. */
export interface Automaton {
  /** For each place, the places that can follow, and in how many ways. */
  readonly steps: readonly Ways[]
  /** Whether one letter fits both places. */
  overlap(a: number, b: number): boolean
  /** The insides of look-aheads and look-behinds, which are tried by themselves. */
  readonly looks: readonly (readonly Sequence[])[]
}

type Ways = Map<number, number>

/** How a part of an expression is entered and left, and in how many ways it is skipped. */
interface Part {
  readonly first: Ways
  readonly last: Ways
  readonly empty: number
}

/** Repetitions of no more letters than this are written out; longer ones are taken for endless ones. */
const mostCopies = 64
const mostPlaces = 1000
const mostSteps = 100_000

const several = 'áßéяλאعกあア漢한९٣Ⅷ½€©ſK\u{1f600}\u00a0\u2028'
const ascii = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code))

/** @throws Error when the expression is too large to be looked at. */
export function automatonOf(alternatives: readonly Sequence[], source: string, flags: string): Automaton {
  return new Builder(source, flags).build(alternatives)
}

class Builder {
  readonly #steps: Ways[] = [new Map()]
  readonly #letters: number[] = [0]
  readonly #sets: ReadonlySet<string>[]
  readonly #known = new Map<string, number>([['', 0]])
  readonly #looks: (readonly Sequence[])[] = []
  readonly #flags: string
  readonly #alphabet: readonly string[]
  #count = 0

  constructor(source: string, flags: string) {
    this.#flags = /\(\?[a-z]*i/.test(source) ? `${flags.replace('i', '')}i` : flags
    // Two ranges that share a letter share the first or the last letter of one of them.
    const escaped = source.matchAll(/\\(?:u\{([\da-f]+)\}|u([\da-f]{4})|x([\da-f]{2}))/gi)
    const decoded = [...escaped].map((found) => String.fromCodePoint(parseInt(found.slice(1).join(''), 16)))
    this.#alphabet = [...new Set([...ascii, ...Array.from(`${several}${source}`), ...decoded])]
    this.#sets = [new Set(this.#alphabet)]
  }

  build(alternatives: readonly Sequence[]): Automaton {
    const start: Part = { first: new Map([[0, 1]]), last: new Map([[0, 1]]), empty: 0 }
    // Without ^ the engine tries again from each letter.
    if (!alternatives.every(isAnchored)) this.#link(start.last, start.first)
    this.#join(start, this.#choice(alternatives))
    const sets = this.#sets
    const table = sets.map((a) => sets.map((b) => a.size === 0 || b.size === 0 || shares(a, b)))
    const letters = this.#letters
    return {
      steps: this.#steps,
      looks: this.#looks,
      overlap: (a, b) => table[letters[a] as number]?.[letters[b] as number] === true, // each place has its letters
    }
  }

  #choice(alternatives: readonly Sequence[]): Part {
    const parts = alternatives.map((sequence) => this.#sequence(sequence))
    return {
      first: sum(parts.map(({ first }) => [first, 1])),
      last: sum(parts.map(({ last }) => [last, 1])),
      empty: parts.reduce((count, { empty }) => count + empty, 0),
    }
  }

  #sequence(items: readonly Item[]): Part {
    return items.reduce<Part>((part, item) => this.#join(part, this.#item(item)), nothing)
  }

  #item({ atom, min, max }: Item): Part {
    if (max === 0) return nothing
    if (max === 1) return min === 1 ? this.#atom(atom) : optional(this.#atom(atom))
    const fits = max * sizeOf(atom) <= mostCopies
    if (!fits) return this.#loop(this.#atom(atom), min, max)
    let part = nothing
    // x{2,4} is xx(x(x)?)?
    for (let left = max - min; left > 0; left--) part = optional(this.#join(this.#atom(atom), part))
    for (let left = min; left > 0; left--) part = this.#join(this.#atom(atom), part)
    return part
  }

  #loop(part: Part, min: number, max: number): Part {
    this.#link(part.last, part.first)
    // A counted round may be an empty one, and which of them are is one more choice.
    const counted = min > 1 || max !== Infinity
    if (counted && part.empty > 0) this.#link(part.last, part.first)
    return min === 0 ? { ...part, empty: 1 } : part
  }

  #atom(atom: Atom): Part {
    if (atom.kind === 'group') return this.#choice(atom.alternatives)
    if (atom.kind === 'char' || atom.kind === 'class') return this.#place(atom.source)
    if (atom.kind === 'any') return this.#place('')
    // It takes what its group has taken, whatever that was.
    if (atom.kind === 'reference') return this.#loop(this.#place(''), 0, Infinity)
    if (atom.kind === 'look') this.#looks.push(atom.alternatives)
    return nothing
  }

  #place(source: string): Part {
    let set = this.#known.get(source)
    if (set === undefined) {
      const expression = new RegExp(`^(?:${source})$`, this.#flags)
      set = this.#sets.push(new Set(this.#alphabet.filter((letter) => expression.test(letter)))) - 1
      this.#known.set(source, set)
    }
    const place = this.#letters.push(set) - 1
    if (place > mostPlaces) throw tooLarge()
    this.#steps.push(new Map())
    return { first: new Map([[place, 1]]), last: new Map([[place, 1]]), empty: 0 }
  }

  #join(before: Part, after: Part): Part {
    this.#link(before.last, after.first)
    return {
      first: sum([
        [before.first, 1],
        [after.first, before.empty],
      ]),
      last: sum([
        [after.last, 1],
        [before.last, after.empty],
      ]),
      empty: before.empty * after.empty,
    }
  }

  #link(from: Ways, to: Ways): void {
    this.#count += from.size * to.size
    if (this.#count > mostSteps) throw tooLarge()
    for (const [place, ways] of from) {
      const steps = this.#steps[place] as Ways // made with the place
      for (const [next, more] of to) steps.set(next, (steps.get(next) ?? 0) + ways * more)
    }
  }
}

const nothing: Part = { first: new Map(), last: new Map(), empty: 1 }

function optional(part: Part): Part {
  return { ...part, empty: part.empty + 1 }
}

function sum(parts: readonly (readonly [Ways, number])[]): Ways {
  const total: Ways = new Map()
  for (const [ways, times] of parts) {
    if (times === 0) continue
    for (const [place, count] of ways) total.set(place, (total.get(place) ?? 0) + count * times)
  }
  return total
}

function shares(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const letter of a) if (b.has(letter)) return true
  return false
}

function sizeOf(atom: Atom): number {
  if (atom.kind !== 'group') return 1
  const items = atom.alternatives.flat()
  return items.reduce((size, item) => size + sizeOf(item.atom) * (item.max === Infinity ? 1 : item.max), 0)
}

function isAnchored([first]: Sequence): boolean {
  if (first?.atom.kind === 'group') return first.min > 0 && first.atom.alternatives.every(isAnchored)
  return first?.atom.kind === 'start'
}

function tooLarge(): Error {
  return new Error('too large an expression to tell how long it could be kept busy')
}

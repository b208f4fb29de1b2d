/** Regular expressions of a file that cannot be kept busy: the engine goes back and tries every way there is. */
import { automatonOf, type Automaton } from './automaton.ts'
import { readExpression, type Sequence } from './expression.ts'

/** Steps of the engine on one text: about half a second. */
const mostWork = 2e8
const mostPairs = 300_000

/**
 * The expression, to be used on texts of up to `longest` characters.
 * @param flags those of `RegExp`, with `u`
 * @throws SyntaxError when it is none; Error in words when a text of that length could keep it busy.
 */
export function compileSafely(source: string, flags: string, longest: number): RegExp {
  const expression = new RegExp(source, flags)
  // Without repetitions there is no more to try than there is to read.
  if (/[*+?{]/.test(source) && work(trimmed(readExpression(source)), { source, flags, longest }) > mostWork) {
    throw new Error(
      'too many repetitions that can take the same letters, as in .*a.*b.*: one text could keep it busy for hours; say what each may not take, as in [^/]+',
    )
  }
  return expression
}

interface Use {
  readonly source: string
  readonly flags: string
  readonly longest: number
}

/** At most so many steps, with all that is tried in vain. */
function work(alternatives: readonly Sequence[], use: Use): number {
  const automaton = automatonOf(alternatives, use.source, use.flags)
  const looks = automaton.looks.map((inside) =>
    work(
      [
        [
          { atom: { kind: 'start' }, min: 1, max: 1 },
          { atom: { kind: 'group', alternatives: inside }, min: 1, max: 1 },
        ],
      ],
      use,
    ),
  )
  const { loops, branches } = new Ambiguity(automaton)
  let steps = branches * Math.max(1, ...looks)
  // As many cuts as there are ways to share the text between the loops.
  for (let loop = 1; loop <= loops; loop++) steps *= use.longest / loop
  return steps
}

/** A repetition of single letters that ends the expression fits at once, whatever follows. */
function trimmed(alternatives: readonly Sequence[]): readonly Sequence[] {
  return alternatives.map((sequence) => {
    const last = sequence.at(-1)
    if (!last) return sequence
    const { atom, min, max } = last
    const rest = sequence.slice(0, -1)
    if (atom.kind === 'group' && min === 1 && max === 1) {
      return [...rest, { atom: { kind: 'group', alternatives: trimmed(atom.alternatives) }, min, max }]
    }
    const letter = atom.kind === 'char' || atom.kind === 'any' || atom.kind === 'class'
    return letter ? [...rest, { atom, min, max: min }] : sequence
  })
}

/**
 * How many ways through an automaton one text can have. Two rounds of one loop over the same letters: exponentially many. Loops
 * that can hand the same letters on to each other: a power of the length (Weber and Seidl, 1991, from whom the criteria are).
 */
class Ambiguity {
  /** The longest chain of loops that share their letters. */
  readonly loops: number
  /** Ways beside those. */
  readonly branches: number
  readonly #automaton: Automaton
  readonly #before: readonly (readonly number[])[]
  /** The component of each place; a step never leads to a component with a higher number. */
  readonly #component: readonly number[]
  #pairs = 0

  constructor(automaton: Automaton) {
    this.#automaton = automaton
    const { steps } = automaton
    this.#before = reversed(steps.map((ways) => [...ways.keys()]))
    this.#component = components(steps)
    const members: number[][] = []
    for (const [place, component] of this.#component.entries()) (members[component] ??= []).push(place)
    const cyclic = members.map((places) => places.some((place) => this.#inside(place).length > 0))
    this.#refuseDoubled()
    this.loops = this.#longestChain(members, cyclic)
    this.branches = this.#branching(members)
  }

  #inside(place: number): number[] {
    return [...this.#next(place).keys()].filter((next) => this.#component[next] === this.#component[place])
  }

  #next(place: number): ReadonlyMap<number, number> {
    return this.#automaton.steps[place] as ReadonlyMap<number, number> // each place has its steps
  }

  /** `(a+)+`: from a letter to the next one in two ways, and round. */
  #refuseDoubled(): void {
    for (const [place, ways] of this.#automaton.steps.entries()) {
      if (this.#inside(place).some((next) => (ways.get(next) ?? 0) > 1)) throw runaway()
    }
  }

  #longestChain(members: readonly (readonly number[])[], cyclic: readonly boolean[]): number {
    const loops = [...members.keys()].filter((component) => cyclic[component])
    const into = new Map(loops.map((loop) => [loop, this.#pairsInto(members[loop] ?? [])]))
    const chain: number[] = members.map((_, component) => (cyclic[component] ? 1 : 0))
    for (let from = members.length - 1; from >= 0; from--) {
      const raise = (to: number, length: number) => (chain[to] = Math.max(chain[to] ?? 0, length))
      const length = chain[from] ?? 0
      if (cyclic[from]) {
        const out = this.#pairsOutOf(members[from] ?? [])
        for (const to of loops) {
          const shared = into.get(to) as ReadonlySet<number> // made for each loop
          if (to > from || !this.#meet(out, shared)) continue
          if (to === from) throw runaway()
          raise(to, length + 1)
        }
      }
      for (const place of members[from] ?? []) {
        for (const next of this.#next(place).keys()) raise(this.#component[next] ?? 0, length)
      }
    }
    return Math.max(0, ...chain)
  }

  /** Two walks over the same letters that begin at one place of the loop, of which the first stays in it. */
  #pairsOutOf(loop: readonly number[]): Set<number> {
    const component = this.#component[loop[0] ?? 0]
    return this.#walk(loop, (a, b) => {
      const found: (readonly [number, number])[] = []
      for (const next of this.#next(a).keys()) {
        if (this.#component[next] !== component) continue
        for (const other of this.#next(b).keys()) if (this.#automaton.overlap(next, other)) found.push([next, other])
      }
      return found
    })
  }

  /** Two walks over the same letters that end at one place of the loop, of which the second was always in it. */
  #pairsInto(loop: readonly number[]): Set<number> {
    const component = this.#component[loop[0] ?? 0]
    return this.#walk(loop, (a, b) => {
      if (!this.#automaton.overlap(a, b)) return []
      const inLoop = (this.#before[b] ?? []).filter((place) => this.#component[place] === component)
      return (this.#before[a] ?? []).flatMap((place) => inLoop.map((other) => [place, other] as const))
    })
  }

  #walk(
    loop: readonly number[],
    follow: (a: number, b: number) => readonly (readonly [number, number])[],
  ): Set<number> {
    const size = this.#automaton.steps.length
    const seen = new Set(loop.map((place) => place * size + place))
    // What is added while a set is walked is walked too.
    for (const pair of seen) {
      if (++this.#pairs > mostPairs) throw new Error('too large an expression to tell how long it could be kept busy')
      for (const [a, b] of follow(Math.floor(pair / size), pair % size)) seen.add(a * size + b)
    }
    return seen
  }

  #meet(out: ReadonlySet<number>, into: ReadonlySet<number>): boolean {
    const size = this.#automaton.steps.length
    for (const pair of out) if (Math.floor(pair / size) !== pair % size && into.has(pair)) return true
    return false
  }

  /** The choices on the way that are made once, not in each round of a loop. */
  #branching(members: readonly (readonly number[])[]): number {
    const branches: number[] = []
    for (const [component, places] of members.entries()) {
      let most = 1
      let after = 1
      for (const place of places) {
        const leaving = [...this.#next(place)].filter(([next]) => this.#component[next] !== component)
        for (const [next] of leaving) {
          const ways = leaving.reduce(
            (count, [other, more]) => (this.#automaton.overlap(next, other) ? count + more : count),
            0,
          )
          most = Math.max(most, ways)
          after = Math.max(after, branches[this.#component[next] ?? 0] ?? 1)
        }
      }
      branches.push(most * after)
    }
    return branches[this.#component[0] ?? 0] ?? 1
  }
}

/** Tarjan's strongly connected components. */
function components(steps: Automaton['steps']): number[] {
  const component: number[] = Array.from({ length: steps.length }, () => -1)
  const index: number[] = []
  const low: number[] = []
  const stack: number[] = []
  let visited = 0
  let count = 0
  const visit = (place: number): void => {
    index[place] = low[place] = visited++
    stack.push(place)
    for (const next of steps[place]?.keys() ?? []) {
      if (index[next] === undefined) visit(next)
      if (component[next] === -1) low[place] = Math.min(low[place] ?? 0, low[next] ?? 0)
    }
    if (low[place] !== index[place]) return
    let member: number | undefined
    do {
      member = stack.pop()
      if (member !== undefined) component[member] = count
    } while (member !== place)
    count++
  }
  visit(0)
  for (const place of steps.keys()) if (index[place] === undefined) visit(place)
  return component
}

function reversed(next: readonly (readonly number[])[]): number[][] {
  const before: number[][] = next.map(() => [])
  for (const [place, places] of next.entries()) for (const each of places) before[each]?.push(place)
  return before
}

function runaway(): Error {
  return new Error(
    'a repetition that can take the same letters in two ways, as in (a+)+ or (a|a)*: one text could keep it busy for hours',
  )
}

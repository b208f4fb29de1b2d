/** Regular expressions on addresses, taken apart far enough to warn about an open end. */
import { readExpression, type Atom, type Sequence } from '../../src/routing/expression.ts'

/** What an expression says about the addresses it takes. */
export interface Expression {
  /** The domain of every address that matches; undefined when it cannot be told. */
  readonly domain: string | undefined
  /** It takes every address of `domain`. */
  readonly wholeDomain: boolean
  /** An address that it matches and that its author may not have meant. */
  readonly surprise: string | undefined
}

/** Looks at an expression that `RegExp` has accepted with the flags `iu`. */
export function examine(source: string, matches: (address: string) => boolean): Expression {
  const alternatives = readExpression(source)
  const only = alternatives.length === 1 ? alternatives[0] : undefined
  const tail = only && literalTail(only)
  return {
    domain: tail?.domain,
    wholeDomain: tail?.whole ?? false,
    surprise: alternatives.map((sequence) => surprise(sequence, matches)).find((address) => address !== undefined),
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
  if (atom.kind !== 'class') return ''
  const set = new RegExp(`^(?:${atom.source})$`, 'iu')
  return letters.find((letter) => set.test(letter)) ?? ''
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
    if (atom.kind === 'end' || atom.kind === 'assertion' || atom.kind === 'look') continue
    const plain = (atom.kind === 'char' && atom.char !== '@') || atom.kind === 'any'
    if (!plain || min !== 1 || max !== 1) break
    written = sampleOf(atom) + written
  }
  return written.toLowerCase()
}

/** What a set is asked for, to find one that it takes. */
const letters = [...Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index)), 'é', 'я', '漢']

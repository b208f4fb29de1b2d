/** "Did you mean": the known word that a misspelt one is closest to. */

/** `; did you mean "address"?`, or nothing when no word is close. */
export function didYouMean(found: string, known: Iterable<string>): string {
  const word = closest(found, known)
  return word === undefined ? '' : `; did you mean ${JSON.stringify(word)}?`
}

/** What YAML takes for text, and somebody meant for more; behind a mistake in that text. */
export function slip(text: string, expected: 'a map' | 'a value'): string {
  if (/[\u2018-\u201f]/.test(text)) return '; quotes are " or \', not those of a printed text'
  const [variable] = /^\$[A-Za-z_]\w*/.exec(text) ?? []
  if (variable !== undefined) return `; a variable is written \${${variable.slice(1)}}`
  const [, key] = (expected === 'a map' && /^([A-Za-z]\w*):(?!\/\/)/.exec(text)) || []
  return key === undefined ? '' : `; behind the colon of a key there is a space: "${key}: …"`
}

function closest(found: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  // A third of the letters, but never all of them.
  let least = Math.min(Math.max(1, Math.floor(found.length / 3)), 3, found.length - 1) + 1
  for (const word of known) {
    if (Math.abs(word.length - found.length) >= least) continue
    const changes = distance(found.toLowerCase(), word.toLowerCase())
    if (changes < least) [best, least] = [word, changes]
  }
  return best
}

/** How many letters to change, add, drop or swap with the next (the optimal string alignment distance). */
function distance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      current.push(
        Math.min(
          cell(last, column) + 1,
          cell(current, column - 1) + 1,
          cell(last, column - 1) + (same ? 0 : 1),
          swapped ? cell(before, column - 2) + 1 : Infinity,
        ),
      )
    }
    ;[before, last] = [last, current]
  }
  return cell(last, b.length)
}

const cell = (row: readonly number[], column: number): number => row[column] ?? Infinity

/** Reads application/x-www-form-urlencoded strictly: what a signature covers must have exactly one meaning. */
import { isAscii } from 'node:buffer'

/** The names and values of a form; a name stands once. */
export interface Parameters {
  get(name: string): string | undefined
  /** In the order of the wire. */
  [Symbol.iterator](): Iterator<readonly [name: string, value: string]>
  /** Names and values in the order of their names and without a separator. */
  readonly joined: string
}

/** What forms have in common that have the same names in the same order. */
class Names {
  /** In the order of the wire, decoded. */
  readonly all: readonly string[]
  /** As they stand there: `From=`, and all but the first with the sign between them, `&To=`. */
  readonly written: readonly string[]
  readonly places = new Map<string, number>()
  /** Their places in the order of the names. */
  readonly sorted: readonly number[]

  /** @throws Error in words for a name that stands twice. */
  constructor(all: readonly string[], written: readonly string[]) {
    this.all = all
    this.written = written
    for (const [place, name] of all.entries()) {
      if (this.places.has(name)) throw new Error(`the parameter ${JSON.stringify(name)} stands twice`)
      this.places.set(name, place)
    }
    this.sorted = all.toSorted().map((name) => this.places.get(name) as number) // each has one
  }
}

class Form implements Parameters {
  readonly #names: Names
  readonly #values: readonly string[]

  constructor(names: Names, values: readonly string[]) {
    this.#names = names
    this.#values = values
  }

  get(name: string): string | undefined {
    const place = this.#names.places.get(name)
    return place === undefined ? undefined : this.#values[place]
  }

  *[Symbol.iterator](): Generator<readonly [name: string, value: string]> {
    for (const [place, name] of this.#names.all.entries()) yield [name, this.#values[place] ?? '']
  }

  get joined(): string {
    const { all, sorted } = this.#names
    let joined = ''
    for (const place of sorted) {
      joined += all[place]
      joined += this.#values[place]
    }
    return joined
  }
}

const empty = new Form(new Names([], []), [])

type Decode = (text: string) => string

/** Reads one form after the other: mostly the next one has the names of the one before, and then nobody looks at them again. */
export class FormReader {
  #names = new Names([], [])

  /**
   * The parameters of a body. Lenient parsers differ in what they make of a repeated name, of `%4` or of bad UTF-8; here each
   * is a refusal.
   * @throws Error in words.
   */
  read(body: Uint8Array): Parameters {
    // Bytes as letters, one each: what is cut here are ASCII signs, which are in no longer UTF-8 sequence.
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
    if (text === '') return empty
    // Every form that a provider writes is ASCII.
    const decode = isAscii(body) ? decodeAscii : decodeBytes
    return this.#readLikeLast(text, decode) ?? this.#readNew(text, decode)
  }

  #readLikeLast(text: string, decode: Decode): Form | undefined {
    const names = this.#names
    const values: string[] = []
    let at = 0
    for (const written of names.written) {
      const begin = at + written.length
      if (text.slice(at, begin) !== written) return undefined // `startsWith` takes twice as long
      const next = text.indexOf('&', begin)
      at = next === -1 ? text.length : next
      values.push(decode(text.slice(begin, at)))
    }
    return at === text.length ? new Form(names, values) : undefined
  }

  #readNew(text: string, decode: Decode): Form {
    const all: string[] = []
    const written: string[] = []
    const values: string[] = []
    for (const pair of text.split('&')) {
      const equals = pair.indexOf('=')
      if (equals < 1) throw new Error('expected name=value between the ampersands')
      const name = pair.slice(0, equals)
      all.push(decode(name))
      written.push(`${written.length === 0 ? '' : '&'}${name}=`)
      values.push(decode(pair.slice(equals + 1)))
    }
    this.#names = new Names(all, written)
    return new Form(this.#names, values)
  }
}

/** As strict as the other, and several times as fast; but it has no words for what it refuses. */
function decodeAscii(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text
  if (!spaced.includes('%')) return spaced
  try {
    return decodeURIComponent(spaced)
  } catch {
    return decodeBytes(text)
  }
}

function decodeBytes(text: string): string {
  if (/%(?![\dA-Fa-f]{2})/.test(text)) throw new Error('expected two hexadecimal digits after each percent sign')
  const bytes = text
    .replaceAll('+', ' ')
    .replaceAll(/%(..)/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
  try {
    return utf8.decode(Buffer.from(bytes, 'latin1'))
  } catch {
    throw new Error('expected UTF-8')
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The keys of a stretch of time, in memory: a table of numbers, so that millions of them cost the garbage collector nothing. */

/** Numbers of a key's digest: no two keys have the same one. */
export const digestWords = 4
/** Of an entry, in memory as on disk: the digest, and as doubles the id, and when it came. */
export const entryBytes = 32
const entryWords = entryBytes / 4
const entryDoubles = entryBytes / 8
const idDouble = 2
const atDouble = 3
const firstSlots = 64

/** The record of a key. */
export interface KnownKey {
  /** Above 0. */
  readonly id: number
  /** When it came last, in milliseconds since 1970. */
  readonly at: number
}

/** Entries one behind the other, as they lie on disk. */
export class KeyEntries {
  readonly #words: Uint32Array<ArrayBuffer>
  readonly #doubles: Float64Array

  constructor(words: Uint32Array<ArrayBuffer>) {
    this.#words = words
    this.#doubles = new Float64Array(words.buffer)
  }

  static empty(count: number): KeyEntries {
    return new KeyEntries(new Uint32Array(count * entryWords))
  }

  /** A copy. Of what is damaged so that quick_check does not see it: what looks like entries. */
  static of(bytes: Uint8Array): KeyEntries {
    return new KeyEntries(new Uint32Array(bytes.slice(0, bytes.byteLength - (bytes.byteLength % entryBytes)).buffer))
  }

  get count(): number {
    return this.#words.length / entryWords
  }

  /** The first ones. */
  bytes(count: number): Uint8Array {
    return new Uint8Array(this.#words.buffer, 0, count * entryBytes)
  }

  /** The same with as much room again. */
  grown(): KeyEntries {
    const words = new Uint32Array(2 * this.#words.length)
    words.set(this.#words)
    return new KeyEntries(words)
  }

  /** 0: nothing is there; below: a key that nothing is known by. */
  id(number: number): number {
    return this.#doubles[number * entryDoubles + idDouble] ?? 0
  }

  at(number: number): number {
    return this.#doubles[number * entryDoubles + atDouble] ?? 0
  }

  /** A number of the digest, the first is 0. */
  word(number: number, which: number): number {
    return this.#words[number * entryWords + which] ?? 0
  }

  set(number: number, known: KnownKey): void {
    this.#doubles[number * entryDoubles + idDouble] = known.id
    this.#doubles[number * entryDoubles + atDouble] = known.at
  }

  setWord(number: number, which: number, word: number): void {
    this.#words[number * entryWords + which] = word
  }

  copy(number: number, from: KeyEntries, other: number): void {
    const start = other * entryWords
    for (let word = 0; word < entryWords; word++)
      this.#words[number * entryWords + word] = from.#words[start + word] ?? 0
  }

  /** Whether both have the same digest. */
  isSame(number: number, from: KeyEntries, other: number): boolean {
    const one = this.#words
    const two = from.#words
    const a = number * entryWords
    const b = other * entryWords
    return one[a] === two[b] && one[a + 1] === two[b + 1] && one[a + 2] === two[b + 2] && one[a + 3] === two[b + 3]
  }
}

export class KeySegment {
  /** When the first one came, in milliseconds since 1970. */
  readonly begin: number
  /** When the last one came. */
  end: number
  /** On disk: this row has the last of them. */
  lastRow = 0
  /** How many were put, each time counted. */
  entries = 0
  #used = 0
  #slots = KeyEntries.empty(firstSlots)

  constructor(begin: number) {
    this.begin = begin
    this.end = begin
  }

  find(from: KeyEntries, number: number): KnownKey | undefined {
    const slot = this.#slot(from, number)
    const id = this.#slots.id(slot)
    return id <= 0 ? undefined : { id, at: this.#slots.at(slot) }
  }

  /** In the place of what was known by it before. */
  put(from: KeyEntries, number: number): void {
    this.entries++
    this.end = Math.max(this.end, from.at(number))
    // With more than two thirds in use it takes long to find that something is not there.
    if (this.#used * 3 >= this.#slots.count * 2) this.#grow()
    this.#set(from, number)
  }

  /** The one that was put last is what is said here. */
  takeBack(from: KeyEntries, number: number): void {
    this.entries--
    this.#set(from, number)
  }

  #set(from: KeyEntries, number: number): void {
    const slot = this.#slot(from, number)
    if (this.#slots.id(slot) === 0) this.#used++
    this.#slots.copy(slot, from, number)
  }

  /** Where it is, or where it belongs. Any part of a digest is as good as random. */
  #slot(from: KeyEntries, number: number): number {
    const slots = this.#slots
    const mask = slots.count - 1
    let slot = from.word(number, 0) & mask
    while (slots.id(slot) !== 0 && !slots.isSame(slot, from, number)) slot = (slot + 1) & mask
    return slot
  }

  #grow(): void {
    const before = this.#slots
    this.#slots = KeyEntries.empty(2 * before.count)
    this.#used = 0
    for (let slot = 0; slot < before.count; slot++) if (before.id(slot) !== 0) this.#set(before, slot)
  }
}

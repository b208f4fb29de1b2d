/** Record ids in the order in which they came: what each is above the one before it, so that most take one byte or two. */

const firstBytes = 16
/** Of each byte: seven bits of a number, and whether more follow. */
const radix = 128

export class Ids {
  #bytes = new Uint8Array(firstBytes)
  /** What is there is between these two. */
  #from = 0
  #to = 0
  #length = 0
  /** The one that was taken out last, and the one that came last. */
  #before = 0
  #last = 0

  get length(): number {
    return this.#length
  }

  push(id: number): void {
    // Mostly they ascend; one that a person has tried again may not.
    const step = id - this.#last
    let left = step >= 0 ? 2 * step : -2 * step - 1
    while (left >= radix) {
      this.#put((left % radix) + radix)
      left = Math.floor(left / radix)
    }
    this.#put(left)
    this.#last = id
    this.#length++
  }

  /** The first ones; they stay. */
  first(count: number): number[] {
    const ids: number[] = []
    this.#walk(count, (id) => ids.push(id))
    return ids
  }

  /** Takes the first ones out. */
  drop(count: number): void {
    this.#from = this.#walk(count, (id) => (this.#before = id))
    this.#length = Math.max(this.#length - count, 0)
    if (this.#length > 0) return
    this.#bytes = new Uint8Array(firstBytes)
    this.#from = this.#to = 0
  }

  has(wanted: number): boolean {
    let found = false
    this.#walk(this.#length, (id) => (found ||= id === wanted))
    return found
  }

  /** Tells of the first ones; answers where they end. */
  #walk(count: number, each: (id: number) => void): number {
    let at = this.#from
    let id = this.#before
    for (let left = Math.min(count, this.#length); left > 0; left--) {
      let code = 0
      let byte = radix
      for (let weight = 1; byte >= radix; weight *= radix) {
        byte = this.#bytes[at++] ?? 0
        code += (byte % radix) * weight
      }
      id += code % 2 === 0 ? code / 2 : -(code + 1) / 2
      each(id)
    }
    return at
  }

  #put(byte: number): void {
    if (this.#to === this.#bytes.length) this.#makeRoom()
    this.#bytes[this.#to++] = byte
  }

  /** What is left moves to the front: of memory of the same size when most of it is free. */
  #makeRoom(): void {
    const left = this.#bytes.subarray(this.#from, this.#to)
    const bytes = new Uint8Array(Math.max(2 * left.length, firstBytes))
    bytes.set(left)
    this.#bytes = bytes
    this.#from = 0
    this.#to = left.length
  }
}
